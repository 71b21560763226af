"""Metrics lie in event files that TensorBoard itself reads; without TensorBoard a sentence says so."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from neural_style.errors import OutputError, PluginError, SettingError
from neural_style.plugins import CheckpointPlugin, Plugin, TensorBoardPlugin
from neural_style.train import Model
from tests.neural_style.training import ListData, trainer_with


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorBoard's own reader: steps and values of a metric."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    # It sorts a folder's files by their names, which end in a number of the process: of one second 10 comes before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))

    def read(folder: Path, name: str) -> list[tuple[int, float]]:
        accumulator = EventAccumulator(str(folder))
        accumulator.Reload()
        return [(event.step, event.value) for event in accumulator.Scalars(name)]

    return read


class Loses(Model):
    def train_step(self, batch: Any) -> None:
        step = self.trainer.state.step
        self.metrics |= {"loss": torch.tensor(float(step)), "rate": 0.5, "picture": torch.zeros(3), "name": "x"}

    def on_validation_end(self, validation_cycle: int) -> None:
        self.metrics["accuracy"] = 0.25 * (validation_cycle + 1)


@pytest.mark.slow
def test_numbers_are_written_every_so_many_steps(tmp_path: Path, events: Any) -> None:
    plugin = TensorBoardPlugin(tmp_path, every_steps=3)
    trainer_with(plugin, max_steps=8, validate_every=1).fit(Loses("mosaic"), ListData("x" * 4, validation=["v"]))
    assert events(tmp_path / "mosaic", "loss") == [(3, 2.0), (4, 3.0), (6, 5.0), (8, 7.0)]
    assert events(tmp_path / "mosaic", "rate")[0] == (3, 0.5)
    assert events(tmp_path / "mosaic", "accuracy")[0] == (4, 0.25)


@pytest.mark.usefixtures("events")
def test_only_numbers_are_written(tmp_path: Path, events: Any) -> None:
    trainer_with(TensorBoardPlugin(tmp_path), max_steps=1).fit(Loses(), ListData("x"))
    for name in ("picture", "name"):
        with pytest.raises(KeyError, match=name):
            events(tmp_path / "model", name)


def test_a_resumed_run_has_one_curve(tmp_path: Path, events: Any) -> None:
    class BreaksOff(Plugin):
        def on_training_batch_end(self) -> None:
            if self.trainer.state.step == 8:
                raise KeyboardInterrupt("broken off")

    def plugins() -> list[Plugin]:
        return [TensorBoardPlugin(tmp_path / "events", every_steps=1), CheckpointPlugin(tmp_path, every_steps=5)]

    with pytest.raises(KeyboardInterrupt, match="broken off"):
        trainer_with(*plugins(), BreaksOff("breaks-off"), max_steps=10).fit(Loses(), ListData("x" * 99))
    trainer_with(*plugins(), max_steps=10).fit(Loses(), ListData("x" * 99))
    assert events(tmp_path / "events" / "model", "loss") == [(step, step - 1.0) for step in range(1, 11)]


def test_another_run_has_a_curve_of_its_own(tmp_path: Path, events: Any) -> None:
    for max_steps in (4, 3, 2):
        trainer_with(TensorBoardPlugin(tmp_path, every_steps=1), max_steps=max_steps).fit(Loses(), ListData("x" * 99))
    found = {path.name: len(events(path, "loss")) for path in tmp_path.iterdir()}
    assert found == {"model": 4, "model-2": 3, "model-3": 2}


def test_a_run_goes_on_with_its_own_curve_though_another_came_after_it(tmp_path: Path, events: Any) -> None:
    def fit(kept: str, *, max_steps: int) -> None:
        curves = TensorBoardPlugin(tmp_path / "events", every_steps=1, fingerprint=kept)
        plugins = [curves, CheckpointPlugin(tmp_path / kept)]
        trainer_with(*plugins, max_steps=max_steps).fit(Loses(), ListData("x" * 99))

    fit("one", max_steps=3)
    fit("two", max_steps=4)
    fit("one", max_steps=6)
    found = {path.name: len(events(path, "loss")) for path in (tmp_path / "events").iterdir()}
    assert found == {"model": 6, "model-2": 4}


def test_a_full_disk_is_named(tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", fail)
    with pytest.raises(OutputError, match="events: could not be written: No space left on device"):
        trainer_with(TensorBoardPlugin(tmp_path / "events", every_steps=1), max_steps=3).fit(Loses(), ListData("xxx"))


def test_without_tensorboard_a_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(PluginError, match="needs the package tensorboard, which is not installed; install the extra"):
        TensorBoardPlugin(tmp_path)


@pytest.mark.usefixtures("events")
def test_it_asks_for_at_least_one_step(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="every_steps wants at least 1, found 0"):
        TensorBoardPlugin(tmp_path, every_steps=0)
