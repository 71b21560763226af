"""A run in a process of its own, which a test may kill at any moment, or start several times as one distributed run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from neural_style.distributed import unwrapped
from neural_style.plugins import CheckpointPlugin, FinitePlugin, Plugin, SchedulePlugin
from tests.neural_style.training import CountingPlugin, ShuffledData, TinyModel, trainer_with

MAX_STEPS = 40


class SlowlyPlugin(Plugin):
    """Says each step aloud, and gives the test time to hear it."""

    def on_training_batch_end(self) -> None:
        sys.stdout.write(f"{self.trainer.state.step}\n")
        sys.stdout.flush()
        time.sleep(0.005)


def train(folder: Path, *, slowly: bool = False) -> dict[str, Any]:
    """Train to the end from whatever lies in the folder, and return all that it came to."""
    counting, model = CountingPlugin(), TinyModel()
    plugins: list[Plugin] = [counting, CheckpointPlugin(folder, every_steps=3, fingerprint="tiny"), FinitePlugin()]
    plugins.append(SchedulePlugin(warmup_steps=5, final=0.05))
    if slowly:
        plugins.append(SlowlyPlugin("slowly"))
    trainer = trainer_with(*plugins, max_steps=MAX_STEPS)
    trainer.fit(model, ShuffledData())
    return {
        "weights": unwrapped(model.net).state_dict(),
        "optimizer": model.optimizer.state_dict(),
        "counting": counting.state_dict(),
        "step": trainer.state.step,
    }


def main() -> None:
    """Train, and write what it came to."""
    result = train(Path(sys.argv[1]), slowly=True)
    torch.save(result, sys.argv[2])


if __name__ == "__main__":
    main()
