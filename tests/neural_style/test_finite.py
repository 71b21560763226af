"""A run that leaves the finite numbers fails, and nothing of it is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from neural_style.errors import DivergedError, PluginError, SettingError
from neural_style.plugins import CheckpointPlugin, FinitePlugin
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


def test_it_asks_for_at_least_one_step() -> None:
    with pytest.raises(SettingError, match="every_steps wants at least 1, found 0"):
        FinitePlugin(every_steps=0)


def test_errors_of_divergence_are_arithmetic_errors() -> None:
    assert issubclass(DivergedError, ArithmeticError)
