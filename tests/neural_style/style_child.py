"""Train a small style for some steps, alone or as one of two processes, and write the losses and weights down.

`python -m tests.neural_style.style_child OUT`; the place among others is the environment's, as torchrun sets it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural_style.plugins import Plugin
from neural_style.style_model import StyleModel
from neural_style.train import Trainer
from neural_style.train_config import TrainConfig
from neural_style.vgg import random_vgg16
from tests.neural_style.training import ListData

NUM_STEPS, NUM_PICTURES = 20, 4


class Losses(Plugin):
    def __init__(self) -> None:
        super().__init__("losses")
        self.seen: list[float] = []

    def on_training_batch_end(self) -> None:
        self.seen.append(self.trainer.model.metrics["loss"].item())


def train() -> dict[str, Any]:
    torch.set_num_threads(1)
    trainer = Trainer(max_steps=NUM_STEPS, device="cpu")
    share = NUM_PICTURES // trainer.world_size
    batches = [
        torch.rand((NUM_PICTURES, 3, 32, 32), generator=torch.Generator().manual_seed(number)).mul(255)[
            trainer.rank * share : (trainer.rank + 1) * share
        ]
        for number in range(NUM_STEPS)
    ]
    style = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    config = TrainConfig(steps=NUM_STEPS, widths=(4, 8, 16), image_px=32, batch_size=NUM_PICTURES)
    model = StyleModel(config, style_rgb_HW3=style, vgg=random_vgg16())
    losses = Losses()
    losses.configure_trainer(trainer)
    trainer.fit(model, ListData(batches))
    trainer.close()
    return {"losses": losses.seen, "weights": model.transformer.state_dict()}


if __name__ == "__main__":
    torch.save(train(), Path(sys.argv[1]))
