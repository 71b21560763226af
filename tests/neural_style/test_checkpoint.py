"""A run that is broken off at any moment goes on to the same weights; a checkpoint is whole, ours, or refused."""

from __future__ import annotations

import copy
import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from neural_style import checkpoint_file
from neural_style.errors import CheckpointError, OutputError, SettingError
from neural_style.plugins import CheckpointPlugin, CurvePlugin, Plugin
from neural_style.train import Model
from tests.neural_style.comparing import assert_equal
from tests.neural_style.kills import KILLED, Kill, run_child
from tests.neural_style.training import ListData, RecordingModel, ShuffledData, TinyModel, trainer_with
from tests.neural_style.training_child import MAX_STEPS, train, train_in_child


class BreaksOff(Plugin):
    """Ends the run after a step, as a kill would."""

    def __init__(self, step: int) -> None:
        super().__init__("breaks-off")
        self.step = step

    def on_training_batch_end(self) -> None:
        if self.trainer.state.step == self.step:
            raise KeyboardInterrupt(f"after step {self.step}")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the run comes to when nothing happens to it."""
    return train(tmp_path_factory.mktemp("unbroken"))


def fit(folder: Path, *plugins: Plugin, max_steps: int = 6, **arguments: Any) -> TinyModel:
    model = TinyModel()
    checkpoint = CheckpointPlugin(folder, **{"every_steps": 2, **arguments})
    trainer_with(*plugins, checkpoint, max_steps=max_steps).fit(model, ShuffledData())
    return model


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def checkpoint_of(step: int) -> str:
    return f"model.step-{step:010}.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3, 5, 6, 7, 12, 13, 59])
def test_a_broken_run_goes_on_to_the_same_weights(
    tmp_path: Path, unbroken: dict[str, Any], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenModel(TinyModel):
        def train_step(self, batch: Any) -> None:
            super().train_step(batch)
            if self.trainer.state.step == step:
                raise KeyboardInterrupt(f"in step {step}")

    monkeypatch.setattr("tests.neural_style.training_child.TinyModel", BrokenModel)
    with pytest.raises(KeyboardInterrupt, match=f"in step {step}"):
        train(tmp_path)
    monkeypatch.undo()
    random.seed(step)  # whatever state the new process begins with
    torch.manual_seed(step)
    assert_equal(train(tmp_path), unbroken)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    out, dice = tmp_path / "result", random.Random(20161008)
    for step in sorted(dice.sample(range(1, MAX_STEPS - 10), 10)):
        kill = Kill(step, dice.uniform(0, 0.005))  # anywhere in the step, the writing of a checkpoint included
        status, _ = run_child(train_in_child, tmp_path / "run", out, kill=kill)
        assert (status, out.exists()) == (KILLED, False), kill
    assert run_child(train_in_child, tmp_path / "run", out)[0] == 0
    assert_equal(torch.load(out, weights_only=True), unbroken)


def test_a_finished_run_is_finished(tmp_path: Path) -> None:
    fit(tmp_path)
    model = RecordingModel([])
    trainer = trainer_with(CheckpointPlugin(tmp_path, every_steps=2), max_steps=6)
    model.save_name, model.load_state_dict = "model", lambda state: None  # type: ignore[method-assign]
    trainer.fit(model, ListData([]))
    assert model.calls == ["model.setup()", "model.on_training_start()", "model.train()", "model.on_training_end()"]
    assert trainer.state.step == 6


@pytest.mark.slow
def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    expected = fit(tmp_path / "long", max_steps=13)
    fit(tmp_path / "short", max_steps=5)
    assert_equal(fit(tmp_path / "short", max_steps=13).net.state_dict(), expected.net.state_dict())


def test_a_run_that_was_ended_stays_ended(tmp_path: Path) -> None:
    class StopsAfterValidation(Plugin):
        def should_training_stop(self) -> bool:
            return self.trainer.state.validation_cycle == 1

    steps = []
    for _ in range(2):
        trainer = trainer_with(
            StopsAfterValidation("stops"), CheckpointPlugin(tmp_path), max_epochs=9, validate_every=1
        )
        trainer.fit(Model(), ListData("ab", validation=["v"]))
        steps.append((trainer.state.step, trainer.state.validation_cycle))
    assert steps == [(2, 1), (2, 1)]


def test_the_last_checkpoint_has_the_last_validation(tmp_path: Path) -> None:
    class Validated(Model):
        def on_validation_end(self, validation_cycle: int) -> None:
            self.metrics["accuracy"] = 0.5

    curve = CurvePlugin()
    trainer = trainer_with(curve, CheckpointPlugin(tmp_path), max_steps=2, validate_every=1)
    trainer.fit(Validated(), ListData("ab", validation=["v"]))
    found = checkpoint_file.read_checkpoint(tmp_path / checkpoint_of(2))["trainer"]
    assert found["run"]["validation_cycle"] == 1
    assert found["plugins"]["curve"]["notes"] == curve.notes == [{"step": 2, "accuracy": 0.5}]


def test_the_last_two_checkpoints_stay(tmp_path: Path) -> None:
    (tmp_path / "model.step-0000000099.ckpt.txt").write_text("not ours")
    (tmp_path / "another.step-0000000001.ckpt").write_text("another run's")
    fit(tmp_path, max_steps=7)
    assert names(tmp_path) == [
        "another.step-0000000001.ckpt",
        checkpoint_of(6),
        checkpoint_of(7),
        "model.step-0000000099.ckpt.txt",
    ]


def test_a_checkpoint_holds_the_run_after_all_hooks_of_its_step(tmp_path: Path) -> None:
    class LateModel(TinyModel):
        def on_training_batch_end(self) -> None:
            self.late = self.trainer.state.step

        def state_dict(self) -> dict[str, Any]:
            return {"late": self.late}

    trainer_with(CheckpointPlugin(tmp_path), max_steps=3).fit(LateModel(), ShuffledData())
    found = checkpoint_file.read_checkpoint(tmp_path / checkpoint_of(3))
    assert found["trainer"]["model"] == {"late": 3}


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"initial_") if b"initial_" in data else len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def write_code(path: Path) -> None:
    torch.save({"format": 1, "fingerprint": "", "trainer": Path("x")}, path)


def write_something_else(path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, path)


DAMAGES = [cut, flip_a_byte, empty, write_code, write_something_else]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fit(tmp_path / "unbroken", max_steps=9)
    fit(tmp_path / "run")
    damage(tmp_path / "run" / checkpoint_of(6))
    caplog.clear()
    assert_equal(fit(tmp_path / "run", max_steps=9).net.state_dict(), expected.net.state_dict())
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert f"{checkpoint_of(6)}: " in warning.getMessage()
    assert warning.getMessage().endswith("; looking for the checkpoint before it")
    assert names(tmp_path / "run") == [checkpoint_of(8), checkpoint_of(9)]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_where_no_checkpoint_is_whole_the_run_is_refused(tmp_path: Path, damage: Any) -> None:
    fit(tmp_path)
    for name in names(tmp_path):
        damage(tmp_path / name)
    before = names(tmp_path)
    with pytest.raises(CheckpointError, match=r"none of the 2 checkpoints of 'model' can be read .*; remove them"):
        fit(tmp_path)
    assert names(tmp_path) == before


def test_what_is_damaged_and_newer_does_not_push_out_what_is_whole(tmp_path: Path) -> None:
    fit(tmp_path, max_steps=4)
    (tmp_path / checkpoint_of(100)).write_bytes(b"damaged")
    fit(tmp_path, max_steps=5)
    assert names(tmp_path) == [checkpoint_of(4), checkpoint_of(5)]


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"format": 1, "fingerprint": "", "trainer": Runs()}, tmp_path / "x")
    with pytest.raises(CheckpointError, match="x: holds code or objects beside plain data, and was not run"):
        checkpoint_file.read_checkpoint(tmp_path / "x")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(("old", "new"), [("abc", "def"), ("abc", ""), ("", "def")])
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, old: str, new: str) -> None:
    fit(tmp_path, fingerprint=old)
    words = rf"another configuration \({old or 'unnamed'}, this run is {new or 'unnamed'}\); use another folder"
    with pytest.raises(CheckpointError, match=words):
        fit(tmp_path, fingerprint=new)
    fit(tmp_path, fingerprint=new, resume=False)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    class Other(Model):
        def setup(self, fast_init: bool = False) -> None:
            self.net = torch.nn.Linear(1, 1)

    fit(tmp_path)
    trainer = trainer_with(CheckpointPlugin(tmp_path), max_steps=9)
    with pytest.raises(CheckpointError, match=r"0006\.ckpt: does not fit this run's model and plug-ins"):
        trainer.fit(Other(), ListData("a"))


def test_a_checkpoint_of_another_plugin_is_refused(tmp_path: Path) -> None:
    class Remembers(Plugin):
        def state_dict(self) -> dict[str, Any]:
            return {"x": 1}

    fit(tmp_path, Remembers("remembers"))
    with pytest.raises(CheckpointError, match=r"0006\.ckpt: the run had a plug-in 'remembers', which this one has not"):
        fit(tmp_path, max_steps=9)


def test_a_checkpoint_of_more_processes_is_refused(tmp_path: Path) -> None:
    fit(tmp_path)
    path = tmp_path / checkpoint_of(6)
    state = checkpoint_file.read_checkpoint(path)["trainer"]
    state["random"] *= 2
    checkpoint_file.write_checkpoint(path, fingerprint="", trainer=state)
    with pytest.raises(CheckpointError, match="a run of 2 processes cannot go on with 1; start as many"):
        fit(tmp_path, max_steps=9)


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(path: Path, data: Any) -> int:
        if "0006" in path.name:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OutputError, match=r"0006\.ckpt: could not be written: No space left on device"):
        fit(tmp_path)
    assert names(tmp_path) == [checkpoint_of(2), checkpoint_of(4)]
    monkeypatch.undo()
    assert_equal(fit(tmp_path).net.state_dict(), fit(tmp_path / "unbroken").net.state_dict())


@pytest.mark.slow
def test_what_is_tested_is_the_last_checkpoint(tmp_path: Path) -> None:
    expected = fit(tmp_path).net.state_dict()
    model = TinyModel()
    trainer_with(CheckpointPlugin(tmp_path), max_steps=1).test(model, ListData([], testing=["t"]))
    assert_equal(model.net.state_dict(), expected)


def test_another_model_is_tested_by_its_own_checkpoint_after_training_too(tmp_path: Path) -> None:
    """And what was trained is tested as it is, before and after that."""
    expected = fit(tmp_path).net.state_dict()
    trained, other, data = TinyModel("trained"), TinyModel(), ShuffledData()
    trainer = trainer_with(CheckpointPlugin(tmp_path, every_steps=99), max_steps=3)
    trainer.fit(trained, data)
    weights = copy.deepcopy(trained.net.state_dict())
    (tmp_path / "trained.step-0000000003.ckpt").unlink()
    for model in (trained, other, trained):
        trainer.test(model, ListData([], testing=["t"]))
    assert_equal(other.net.state_dict(), expected)
    assert_equal(trained.net.state_dict(), weights)


def test_a_model_that_is_tested_without_a_checkpoint_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = trainer_with(CheckpointPlugin(tmp_path), max_steps=1)
    trainer.test(TinyModel("stray"), ListData([], testing=["t"]))
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: no checkpoint of 'stray'; its first weights are tested, which nothing has trained"
    ]


@pytest.mark.parametrize("save_name", ["../model", "a/b", "", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, save_name: str) -> None:
    model = Model(save_name)
    trainer = trainer_with(CheckpointPlugin(tmp_path / "run"), max_steps=1)
    with pytest.raises(CheckpointError, match="cannot name checkpoints: it wants to be a plain file name"):
        trainer.fit(model, ListData("a"))


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file: could not be listed for checkpoints: Not a directory"):
        fit(tmp_path / "file")


@pytest.mark.parametrize("name", ["every_steps", "keep"])
def test_numbers_are_checked(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} wants at least 1, found 0"):
        CheckpointPlugin(tmp_path, **{name: 0})  # type: ignore[arg-type]
