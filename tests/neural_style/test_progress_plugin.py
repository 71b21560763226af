"""A bar with metrics on a terminal, nothing anywhere else."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from neural_style.plugins import Plugin, ProgressPlugin
from neural_style.train import Model
from tests.neural_style.training import ListData, trainer_with


class Loses(Model):
    def train_step(self, batch: Any) -> None:
        step = self.trainer.state.step
        self.metrics |= {"loss": torch.tensor(1000.0 - step), "rate": 0.5, "picture": torch.zeros(3), "name": "x"}


def shown(*, max_steps: int = 7, **arguments: Any) -> str:
    stream = io.StringIO()
    plugin = ProgressPlugin(file=stream, **arguments)
    trainer_with(plugin, max_steps=max_steps).fit(Loses("mosaic"), ListData("x" * 7))
    return stream.getvalue()


def test_the_bar_shows_steps_and_loss() -> None:
    last = shown().rstrip().rpartition("\r")[2]
    assert last.startswith("mosaic: 100%")
    assert "7/7" in last
    assert "loss=994" in last


def test_metrics_that_are_one_number_can_be_shown() -> None:
    last = shown(metrics=("rate", "picture", "name", "missing")).rstrip().rpartition("\r")[2]
    assert "rate=0.5" in last
    assert not any(word in last for word in ("picture", "name", "missing"))


def test_nothing_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    trainer_with(ProgressPlugin(), max_steps=2).fit(Loses(), ListData("x" * 2))
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_begins_where_it_was() -> None:
    class Resumes(Plugin):
        def on_training_start(self) -> None:
            self.trainer.state.step = 4

    stream = io.StringIO()
    trainer = trainer_with(ProgressPlugin(file=stream), Resumes("resumes"), max_steps=6)
    trainer.fit(Loses(), ListData("x" * 7))
    assert "6/6" in stream.getvalue()
    assert "1/6" not in stream.getvalue()


def test_the_bar_is_closed_when_the_run_fails() -> None:
    class Fails(Loses):
        def on_training_batch_end(self) -> None:
            raise ValueError("broken")

    stream = io.StringIO()
    plugin = ProgressPlugin(file=stream)
    with pytest.raises(ValueError, match="broken"):
        trainer_with(plugin, max_steps=2).fit(Fails(), ListData("xx"))
    assert stream.getvalue().endswith("\n")
