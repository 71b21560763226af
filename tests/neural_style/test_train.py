"""The loop calls everything in the seed's order, ends as it should, and leaves the process as it was."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from neural_style.errors import DatasetError, DeviceError, PluginError, SettingError
from neural_style.plugins import Plugin
from neural_style.train import DataModule, Model, Trainer
from tests.neural_style.training import ListData, RecordingModel, RecordingPlugin, ShuffledData, TinyModel, trainer_with


def all_of(hook: str, argument: str = "") -> list[str]:
    """A hook of each plug-in, and then the model's."""
    return [f"{who}.{hook}({argument})" for who in ("one", "two", "model")]


def batch_of(phase: str, step: str, batch: str) -> list[str]:
    processed = [f"one.process_{phase}_batch({batch})", f"two.process_{phase}_batch({batch}+one)"]
    return [*processed, *all_of(f"on_{phase}_batch_start"), f"model.{step}()", *all_of(f"on_{phase}_batch_end")]


BETWEEN = ["one.between_steps()", "two.between_steps()"]


def recorded(data: ListData, **arguments: Any) -> tuple[Trainer, RecordingModel]:
    calls: list[str] = []
    trainer = trainer_with(RecordingPlugin("one", calls), RecordingPlugin("two", calls), **arguments)
    return trainer, RecordingModel(calls)


def test_training_calls_every_hook_in_the_order_of_the_seed() -> None:
    trainer, model = recorded(ListData([]), max_epochs=2)
    trainer.fit(model, ListData(["a", "b"]))
    epoch = [
        *all_of("on_training_epoch_start"),
        *batch_of("training", "train_step", "a"),
        *BETWEEN,
        *batch_of("training", "train_step", "b"),
        *BETWEEN,
        *all_of("on_training_epoch_end"),
        *BETWEEN,
    ]
    start = [*all_of("setup"), *all_of("on_training_start"), "model.train()"]
    assert model.calls == [*start, *epoch, *epoch, *all_of("on_training_end")]
    assert model.batches == ["a+one+two", "b+one+two"] * 2


def test_validation_calls_every_hook_in_the_order_of_the_seed() -> None:
    trainer, model = recorded(ListData([]), max_epochs=4, validate_every=2)
    trainer.fit(model, ListData(["a"], validation=["v", "w"]))
    first, last = (model.calls.index(f"one.on_validation_{edge}(0)") for edge in ("start", "end"))
    assert model.calls[first - 4 : last + 6] == [
        *all_of("on_training_epoch_end"),
        "model.eval()",
        *all_of("on_validation_start", "0"),
        *batch_of("validation", "valid_step", "v"),
        *batch_of("validation", "valid_step", "w"),
        *all_of("on_validation_end", "0"),
        "model.train()",
        *BETWEEN,
    ]
    cycles = [call for call in model.calls if call.startswith("model.on_validation_end")]
    assert cycles == ["model.on_validation_end(0)", "model.on_validation_end(1)"]
    assert model.batches.count("w+one+two") == 2


def test_testing_calls_every_hook_in_the_order_of_the_seed() -> None:
    trainer, model = recorded(ListData([]), max_epochs=1)
    trainer.test(model, ListData([], testing=["t", "u"]))
    assert model.calls == [
        *("one.setup()", "two.setup()", "model.setup(fast_init=True)"),
        *all_of("on_testing_start"),
        "model.eval()",
        *batch_of("testing", "test_step", "t"),
        *batch_of("testing", "test_step", "u"),
        *all_of("on_testing_end"),
    ]


def test_a_model_is_tested_as_it_was_trained() -> None:
    trainer, model = recorded(ListData([]), max_epochs=1)
    data = ListData(["a"], testing=["t"])
    trainer.fit(model, data)
    trainer.test(model, data)
    assert model.calls.count("model.setup()") == 1
    assert "model.setup(fast_init=True)" not in model.calls
    assert data.num_torn_down == 2


def test_steps_are_counted_before_the_two_ends() -> None:
    class Looks(Plugin):
        def on_training_batch_start(self) -> None:
            seen.append(self.trainer.state.step)

        def on_training_batch_end(self) -> None:
            seen.append(self.trainer.state.step)

    seen: list[int] = []
    trainer_with(Looks("looks"), max_steps=2).fit(Model(), ListData("abc"))
    assert seen == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "steps"), [({"max_steps": 5}, 5), ({"max_epochs": 2}, 6), ({"max_epochs": 1, "max_steps": 5}, 3)]
)
def test_a_run_ends_after_its_steps_or_its_epochs(arguments: dict[str, int], steps: int) -> None:
    trainer, model = recorded(ListData([]), **arguments)
    trainer.fit(model, ListData("abc"))
    assert (trainer.state.step, len(model.batches)) == (steps, steps)
    assert model.calls[-3:] == all_of("on_training_end")
    assert model.calls.count("model.on_training_epoch_start()") == model.calls.count("model.on_training_epoch_end()")


@pytest.mark.parametrize("who", ["plug-in", "model"])
def test_plugin_and_model_may_end_the_run(who: str) -> None:
    class Stops(Plugin):
        def should_training_stop(self) -> bool:
            return who == "plug-in" and self.trainer.state.step == 2

    class StoppingModel(RecordingModel):
        def should_training_stop(self) -> bool:
            return who == "model" and self.trainer.state.step == 2

    model = StoppingModel([])
    trainer = trainer_with(Stops("stops"), Plugin("other"), max_epochs=9)
    trainer.fit(model, ListData("abc"))
    assert model.batches == ["a", "b"]
    assert model.calls[-2:] == ["model.on_training_epoch_end()", "model.on_training_end()"]
    assert trainer.state.stopped


def test_a_validation_may_end_the_run() -> None:
    class StopsAfterValidation(Plugin):
        def should_training_stop(self) -> bool:
            return self.trainer.state.validation_cycle == 2

    model = RecordingModel([])
    trainer_with(StopsAfterValidation("stops"), max_epochs=9, validate_every=1).fit(model, ListData("a", validation=[]))
    assert model.batches == ["a", "a"]


@pytest.mark.parametrize(("max_steps", "last"), [(1, "a"), (2, "b")], ids=["within-an-epoch", "at-its-end"])
def test_the_last_step_is_saved_after_the_validation_that_follows_it(max_steps: int, last: str) -> None:
    trainer, model = recorded(ListData([]), max_steps=max_steps, validate_every=1)
    trainer.fit(model, ListData(["a", "b"], validation=["v"]))
    assert model.calls[model.calls.index(f"one.process_training_batch({last})") :] == [
        *batch_of("training", "train_step", last),
        *all_of("on_training_epoch_end"),
        "model.eval()",
        *all_of("on_validation_start", "0"),
        *batch_of("validation", "valid_step", "v"),
        *all_of("on_validation_end", "0"),
        "model.train()",
        *BETWEEN,
        *all_of("on_training_end"),
    ]


def test_a_registered_exception_leaves_after_the_hooks_of_the_end() -> None:
    class PrunedError(Exception):
        pass

    class PrunedModel(RecordingModel):
        def on_validation_end(self, validation_cycle: int) -> None:
            raise PrunedError("no hope")

    calls: list[str] = []
    trainer = trainer_with(RecordingPlugin("one", calls), max_epochs=3, validate_every=1)
    trainer.register_exception(PrunedError)
    data = ListData("a", validation=["v"])
    with pytest.raises(PrunedError, match="no hope"):
        trainer.fit(PrunedModel(calls), data)
    assert calls[-2:] == ["one.on_training_end()", "model.on_training_end()"]
    assert calls.count("model.train_step()") == 1
    assert data.num_torn_down == 1


@pytest.mark.parametrize("fault", [ValueError("broken"), KeyboardInterrupt("stop")], ids=["error", "ctrl-c"])
def test_another_exception_leaves_at_once(fault: BaseException) -> None:
    class BrokenModel(RecordingModel):
        def train_step(self, batch: Any) -> None:
            raise fault

    class Closed(Plugin):
        num_torn_down = 0

        def teardown(self) -> None:
            self.num_torn_down += 1

    model, data, plugin = BrokenModel([]), ListData("a"), Closed("closed")
    with pytest.raises(type(fault), match=str(fault)):
        trainer_with(plugin, max_epochs=1).fit(model, data)
    assert model.calls[-1] == "model.on_training_batch_start()"
    assert (data.num_torn_down, plugin.num_torn_down) == (1, 1)


@pytest.mark.parametrize("fault", [None, ValueError("broken")], ids=["end", "error"])
def test_a_model_is_torn_down_first_however_the_run_ends(fault: Exception | None) -> None:
    """While plug-ins and data are still there."""

    class Closes(Model):
        def train_step(self, batch: Any) -> None:
            if fault is not None:
                raise fault

        def teardown(self) -> None:
            closed.append("model")

    class Closed(Plugin):
        def teardown(self) -> None:
            closed.append("plug-in")

    closed: list[str] = []
    trainer = trainer_with(Closed("closed"), max_steps=1)
    with nullcontext() if fault is None else pytest.raises(ValueError, match="broken"):
        trainer.fit(Closes(), ListData("a"))
    assert closed == ["model", "plug-in"]


def test_a_loader_is_closed_when_the_run_ends_within_it() -> None:
    def batches() -> Any:
        try:
            yield from "abc"
        finally:
            closed.append(True)

    closed: list[bool] = []
    data = ListData(batches())
    trainer_with(max_steps=1).fit(Model(), data)
    assert closed == [True]


def test_what_belongs_to_the_run_knows_its_trainer() -> None:
    class Looks(Model):
        def train_step(self, batch: Any) -> None:
            assert self.trainer.plugins["foo"] is plugin
            assert data.trainer is self.trainer is trainer
            assert (self.rank, self.is_distributed, self.device.type) == (0, False, "cpu")
            seen.append(batch)

    seen: list[Any] = []
    plugin, data = Plugin("foo"), ListData("a")
    trainer = trainer_with(plugin, max_epochs=1)
    trainer.fit(Looks(), data)
    assert seen == ["a"]
    assert trainer.queue is None
    net = torch.nn.Linear(1, 1)
    assert trainer.wrap(net) is net


@pytest.mark.parametrize("part", [Plugin("alone"), Model(), DataModule()], ids=lambda part: type(part).__name__)
def test_what_belongs_to_no_run_says_so(part: Any) -> None:
    with pytest.raises(PluginError, match=f"{type(part).__name__} belongs to no trainer yet"):
        _ = part.trainer


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        (ListData([]), {}, "the loader gave none"),
        (ListData("a"), {"validate_every": 1}, r"ListData has nothing for validation: its valid_loader\(\) gives None"),
    ],
    ids=["no-batches", "no-validation"],
)
def test_data_that_are_missing_are_named(data: ListData, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        trainer_with(max_steps=1, **arguments).fit(Model(), data)


def test_a_test_without_data_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"nothing for testing: its test_loader\(\) gives None"):
        trainer_with(max_steps=1).test(Model(), ListData("a"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give max_epochs or max_steps"),
        ({"max_steps": 0}, "max_steps wants at least 1, found 0"),
        ({"max_epochs": -1}, "max_epochs wants at least 1, found -1"),
        ({"max_epochs": 1, "threads": 0}, "threads wants at least 1, found 0"),
        ({"max_epochs": 1, "validate_every": 0}, "validate_every wants at least 1, found 0"),
    ],
    ids=str,
)
def test_a_trainer_wants_sensible_numbers(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Trainer(**arguments)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match="the device 'cuda:77' is not there; this machine has: .*cpu"):
        Trainer(max_steps=1, device="cuda:77")


def weights_of(trainer: Trainer) -> list[float]:
    model = TinyModel()
    trainer.fit(model, ShuffledData())
    return [value for parameter in model.net.parameters() for value in parameter.flatten().tolist()]


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first = weights_of(trainer_with(max_steps=9, seed=7))
    torch.rand(5), random.random(), np.random.rand()
    assert weights_of(trainer_with(max_steps=9, seed=7)) == first
    assert weights_of(trainer_with(max_steps=9, seed=8)) != first


def test_a_run_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = float(torch.rand(())), random.random(), float(np.random.rand())
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    weights_of(Trainer(max_steps=2, device="cpu", threads=before[0] + 1))
    assert (float(torch.rand(())), random.random(), float(np.random.rand())) == expected
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    assert after == before


def test_new_memory_is_not_filled_while_a_run_is_deterministic() -> None:
    class Looks(Model):
        def train_step(self, batch: Any) -> None:
            seen.append((torch.are_deterministic_algorithms_enabled(), filling.fill_uninitialized_memory))

    from torch.utils import deterministic as filling

    seen: list[tuple[bool, bool]] = []
    trainer_with(max_steps=1).fit(Looks(), ListData("a"))
    trainer_with(max_steps=1, deterministic=False).fit(Looks(), ListData("a"))
    assert seen == [(True, False), (False, True)]
    assert filling.fill_uninitialized_memory


@pytest.mark.parametrize("setting", ["tf32", "ieee", "none"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_float32_is_float32_on_cuda_too_whatever_was_set_before(setting: str, deterministic: bool) -> None:
    class Looks(Model):
        def train_step(self, batch: Any) -> None:
            seen.append(tuple(each.fp32_precision for each in settings))

    seen: list[tuple[str, ...]] = []
    settings: list[Any] = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    original = [each.fp32_precision for each in settings]
    try:
        for each in settings:
            each.fp32_precision = setting
        before = [each.fp32_precision for each in settings]
        trainer_with(max_steps=1, deterministic=deterministic).fit(Looks(), ListData("a"))
        assert seen == [("ieee", "ieee")]
        assert [each.fp32_precision for each in settings] == before
    finally:
        for each, precision in zip(settings, original, strict=True):
            each.fp32_precision = precision
