"""`train_style` in a process of its own, which a test may kill at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from neural_style.train_config import TrainConfig, config_for
from neural_style.train_style import Where, train_style
from tests.neural_style.kills import Death, dying

CONFIGS: Mapping[str, TrainConfig] = {
    # 60 of its steps only recolour; the rest has the whole loss.
    "random": config_for({"features": "random", "steps": 90, "image_px": 64, "style_px": 64, "widths": (4, 4, 8)}),
    "vgg16": TrainConfig(epochs=12, batch_size=2, image_px=16, style_px=32, widths=(4, 4, 8)),
}
EVERY_STEPS = 7
"""From one checkpoint to the next: no multiple of an epoch's steps."""


def train_in_child(kind: str, inputs: Path, folder: Path, death: Death | None, steps: Connection) -> None:
    """Train into a folder, from the checkpoints that lie there, and write down what `train_style` returned.

    Args:
        kind: Which of `CONFIGS`.
        inputs: Holds ``pictures``, ``painting.png`` and ``vgg16.pth``.
        folder: Gets ``style.pth``, ``kept`` and ``trained``.
        death: Where this process kills itself, if it does.
        steps: Is told of each step.
    """
    where = Where(
        device="cpu",
        threads=2,  # so that pictures are learned from side by side
        loaders=2,
        checkpoint_folder=folder / "kept",
        checkpoint_every=EVERY_STEPS,
        note_every=4,
        progress=False,
    )
    with dying(death):
        trained = train_style(
            CONFIGS[kind],
            style=inputs / "painting.png",
            dataset=inputs / "pictures",
            output=folder / "style.pth",
            vgg=inputs / "vgg16.pth",
            where=where,
            on_step=lambda step, _total: steps.send(step),
        )
    torch.save(asdict(trained), folder / "trained")
