"""A run in a process of its own, which a test may kill at any moment."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from neural_style.distributed import unwrapped
from neural_style.plugins import CheckpointPlugin, FinitePlugin, Plugin, SchedulePlugin
from tests.neural_style.training import CountingPlugin, ShuffledData, TinyModel, trainer_with

MAX_STEPS = 60


class TellsPlugin(Plugin):
    """Tells the test of each step, and gives it time to hear of it."""

    def __init__(self, steps: Connection) -> None:
        super().__init__("tells")
        self.steps = steps

    def on_training_batch_end(self) -> None:
        self.steps.send(self.trainer.state.step)
        time.sleep(0.005)


def train(folder: Path, *others: Plugin) -> dict[str, Any]:
    """Train to the end from whatever lies in the folder, and return all that it came to."""
    counting, model = CountingPlugin(), TinyModel()
    plugins: list[Plugin] = [counting, CheckpointPlugin(folder, every_steps=3, fingerprint="tiny"), FinitePlugin()]
    plugins.append(SchedulePlugin(warmup_steps=5, final=0.05))
    trainer = trainer_with(*plugins, *others, max_steps=MAX_STEPS)
    trainer.fit(model, ShuffledData())
    return {
        "weights": unwrapped(model.net).state_dict(),
        "optimizer": model.optimizer.state_dict(),
        "counting": counting.state_dict(),
        "step": trainer.state.step,
    }


def train_in_child(folder: Path, out: Path, steps: Connection) -> None:
    """Train, and write what it came to."""
    torch.save(train(folder, TellsPlugin(steps)), out)
