"""Train a small style for some steps, alone or as one of two processes, and write the losses and weights down.

The place among others is the environment's, as torchrun sets it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural_style import painted_model
from neural_style.painted_model import PaintedStyleModel
from neural_style.plugins import Plugin, SchedulePlugin
from neural_style.style_model import StyleModel
from neural_style.train import Trainer
from neural_style.train_config import TrainConfig, config_for
from neural_style.vgg import random_vgg16
from tests.neural_style.training import ListData

NUM_STEPS, NUM_PICTURES = 20, 4
PX = {"vgg16": 32, "random": 64, "painted": 64}
GIVEN = {"vgg16": {"learning_rate": 1e-3}, "random": {"learning_rate": 1e-6}, "painted": {}}
"""``painted`` is a real run, whose first steps recolour; ``random`` gives the whole loss its turn. There a change of
the weights by a millionth turns the gradient by some thousandths: at the rate of a real run one process does not follow
itself for long when the order of the pictures in a batch is another."""


class Losses(Plugin):
    """Keeps each of the losses of every step."""

    def __init__(self) -> None:
        super().__init__("losses")
        self.seen: list[dict[str, float]] = []

    def on_training_batch_end(self) -> None:
        self.seen.append({name: value.item() for name, value in self.trainer.model.metrics.items()})


def model_of(kind: str) -> StyleModel | PaintedStyleModel:
    style = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    given = {"steps": NUM_STEPS, "widths": (4, 8, 16), "image_px": PX[kind], "batch_size": NUM_PICTURES}
    given |= GIVEN[kind]
    if kind == "vgg16":
        return StyleModel(TrainConfig(**given), style_rgb_HW3=style, vgg=random_vgg16())
    if kind == "random":
        painted_model._FIRST_STEPS = 5
    config = config_for({"features": "random", "style_px": 32, **given})
    return PaintedStyleModel(config, style_rgb_HW3=style)


def train(kind: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    trainer = Trainer(max_steps=NUM_STEPS, device="cpu")
    share = NUM_PICTURES // trainer.world_size
    batches = [
        torch.rand((NUM_PICTURES, 3, PX[kind], PX[kind]), generator=torch.Generator().manual_seed(number)).mul(255)[
            trainer.rank * share : (trainer.rank + 1) * share
        ]
        for number in range(NUM_STEPS)
    ]
    model, losses = model_of(kind), Losses()
    losses.configure_trainer(trainer)
    if kind == "painted":
        SchedulePlugin("cosine", warmup_steps=20, total_steps=600, final=0.05).configure_trainer(trainer)
    trainer.fit(model, ListData(batches))
    trainer.close()
    momenta = [state["exp_avg"].flatten() for state in model.optimizer.state_dict()["state"].values()]
    return {"losses": losses.seen, "weights": model.transformer.state_dict(), "momenta": torch.cat(momenta)}


def train_in_child(kind: str, out: Path) -> None:
    torch.save(train(kind), out)
