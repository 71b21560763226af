"""A run that leaves the finite numbers fails, and nothing of it is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from neural_style.errors import DivergedError, PluginError, SettingError
from neural_style.plugins import CheckpointPlugin, FinitePlugin, Plugin
from neural_style.plugins import finite as finite_module
from neural_style.plugins.readback import Readback
from neural_style.train import Model
from tests.neural_style.training import ListData, trainer_with


class Loses(Model):
    """Its loss is no number at one step."""

    def __init__(self, step: int, loss: Any) -> None:
        super().__init__()
        self.step, self.loss = step, loss

    def train_step(self, batch: Any) -> None:
        is_bad = self.trainer.state.step + 1 == self.step
        self.metrics["loss"] = self.loss if is_bad else torch.ones(())


BAD = [torch.tensor(float("nan")), torch.tensor([1.0, float("inf")]), float("-inf")]


@pytest.mark.parametrize("loss", BAD, ids=["nan", "one-of-two", "number"])
def test_a_loss_that_is_no_number_ends_the_run(loss: Any) -> None:
    trainer = trainer_with(FinitePlugin(every_steps=2), max_steps=20)
    with pytest.raises(DivergedError, match="loss is not finite after step 7: .* use a lower learning rate"):
        trainer.fit(Loses(7, loss), ListData("x" * 20))
    assert trainer.state.step == 8


def test_a_run_that_stays_finite_goes_on() -> None:
    trainer = trainer_with(FinitePlugin(), max_steps=25)
    trainer.fit(Loses(99, 0.0), ListData("x" * 25))
    assert trainer.state.step == 25


class Late(Readback):
    """A device that never gets done in time."""

    def take(self, *, wait: bool = False) -> torch.Tensor | None:
        return super().take() if wait else None


@pytest.mark.parametrize("order", ["checkpoint-first", "finite-first"])
def test_nothing_is_saved_after_it(tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite_module, "Readback", Late)
    plugins = [CheckpointPlugin(tmp_path, every_steps=4), FinitePlugin()]
    trainer = trainer_with(*(plugins if order == "checkpoint-first" else plugins[::-1]), max_steps=20)
    with pytest.raises(DivergedError, match="not finite after step 7"):
        trainer.fit(Loses(7, BAD[0]), ListData("x" * 20))
    assert [path.name for path in tmp_path.iterdir()] == ["model.step-0000000004.ckpt"]


def test_the_end_looks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite_module, "Readback", Late)
    with pytest.raises(DivergedError, match="not finite after step 20"):
        trainer_with(FinitePlugin(), max_steps=20).fit(Loses(20, BAD[0]), ListData("x" * 20))


def test_weights_that_the_last_step_broke_are_seen() -> None:
    class Breaks(Loses):
        def setup(self, fast_init: bool = False) -> None:
            self.net = torch.nn.Linear(2, 2)

        def train_step(self, batch: Any) -> None:
            super().train_step(batch)
            if self.trainer.state.step == 4:
                torch.nn.init.constant_(self.net.bias, float("inf"))

    with pytest.raises(DivergedError, match="not finite after step 5"):
        trainer_with(FinitePlugin(), max_steps=5).fit(Breaks(99, 0.0), ListData("x" * 5))


def test_the_metric_is_named() -> None:
    trainer_with(FinitePlugin("loss"), max_steps=1).fit(Loses(9, 0.0), ListData("x"))
    with pytest.raises(PluginError, match=r"looks at metrics\['total'\], which the model has not set"):
        trainer_with(FinitePlugin("total"), max_steps=1).fit(Loses(9, 0.0), ListData("x"))


class Tells(Model):
    """Its loss is what it is told, step by step; then the last of that."""

    def __init__(self, *losses: float, changes_at: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.losses, self.loss_changes_at = losses, changes_at

    def train_step(self, batch: Any) -> None:
        step = min(self.trainer.state.step, len(self.losses) - 1)
        self.metrics["loss"] = torch.tensor(self.losses[step])


def told_step(model: Model, *plugins: Plugin, max_steps: int = 40, growth: float | None = 10) -> str | None:
    """Train, and return the sentence with which that ends, if it does."""
    trainer = trainer_with(FinitePlugin(every_steps=3, most_growth=growth), *plugins, max_steps=max_steps)
    try:
        trainer.fit(model, ListData("x" * 99))
    except DivergedError as err:
        return str(err)
    return None


def test_a_loss_that_grows_out_of_measure_ends_the_run() -> None:
    sentence = "the loss is more than 10 times as high as at first: training has diverged, and nothing of it is kept; "
    assert told_step(Tells(2.0, 1.0, 50.0)) == f"after step 7 {sentence}use a lower learning rate"  # 21.6 then


@pytest.mark.parametrize(
    "losses",
    [(1.0, 5.0, 9.0), (1.0, 80.0, 1.0), (1.0, 0.1, 2.0, 0.01), (0.0, 5.0), (-1.0, 5.0)],
    ids=["some", "one-step", "up-and-down", "from-nothing", "from-below"],
)
def test_a_loss_that_grows_a_little_or_for_a_moment_does_not(losses: tuple[float, ...]) -> None:
    assert told_step(Tells(*losses)) is None


def test_growth_is_looked_at_where_it_is_asked_for() -> None:
    assert told_step(Tells(1.0, 1e9), growth=None) is None


def test_a_loss_of_other_parts_is_compared_with_its_own_first() -> None:
    low, high = [1.0] * 4, [60.0] * 4
    assert told_step(Tells(*low, *high)) is not None
    assert told_step(Tells(*low, *high, changes_at=(4,))) is None
    assert "after step 9 " in (told_step(Tells(*low, *high, 1e9, changes_at=(4,))) or "")


def test_a_grown_loss_is_seen_before_a_save_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite_module, "Readback", Late)
    assert "after step 3 " in (told_step(Tells(1.0, 1.0, 1e9), CheckpointPlugin(tmp_path, every_steps=4)) or "")
    assert list(tmp_path.iterdir()) == []
    assert "after step 3 " in (told_step(Tells(1.0, 1.0, 1e9), max_steps=3) or "")


@pytest.mark.parametrize("order", ["checkpoint-first", "finite-first"])
def test_a_resumed_run_compares_with_what_came_before(tmp_path: Path, order: str) -> None:
    """With the first loss, and with the smoothed one, on which the step hangs."""

    class Stopped(Tells):
        def on_training_batch_end(self) -> None:
            if self.trainer.state.step == 7 and not stopped:
                stopped.append(True)
                raise KeyboardInterrupt("broken off")

    def fit(model: Model, folder: Path) -> None:
        plugins = [CheckpointPlugin(folder, every_steps=4), FinitePlugin(every_steps=1, most_growth=10)]
        plugins = plugins if order == "checkpoint-first" else plugins[::-1]
        trainer_with(*plugins, max_steps=40).fit(model, ListData("x" * 99))

    stopped: list[bool] = []
    losses = [1.0, *[18.0] * 99]
    with pytest.raises(DivergedError) as unbroken:
        fit(Tells(*losses), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="broken off"):
        fit(Stopped(*losses), tmp_path / "broken")
    with pytest.raises(DivergedError) as resumed:
        fit(Stopped(*losses), tmp_path / "broken")
    assert str(resumed.value) == str(unbroken.value)
    assert "after step 9 " in str(resumed.value)


def test_growth_is_more_than_none() -> None:
    with pytest.raises(SettingError, match="most_growth wants more than 1, found 1"):
        FinitePlugin(most_growth=1)


def test_it_asks_for_at_least_one_step() -> None:
    with pytest.raises(SettingError, match="every_steps wants at least 1, found 0"):
        FinitePlugin(every_steps=0)


def test_errors_of_divergence_are_arithmetic_errors() -> None:
    assert issubclass(DivergedError, ArithmeticError)
