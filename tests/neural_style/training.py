"""Small runs to train in tests: a model that writes down what is called, and one that really learns."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from neural_style.plugins import Plugin
from neural_style.train import DataModule, Model, Trainer, TrainState

HOOKS = (
    *("setup", "on_training_start", "on_training_epoch_start", "on_training_batch_start", "on_training_batch_end"),
    *("on_training_epoch_end", "on_training_end", "on_validation_start", "on_validation_batch_start"),
    *("on_validation_batch_end", "on_validation_end", "on_testing_start", "on_testing_batch_start"),
    *("on_testing_batch_end", "on_testing_end"),
)
MODEL_HOOKS = (*HOOKS, "train", "eval", "train_step", "valid_step", "test_step")
PLUGIN_HOOKS = (*HOOKS, "between_steps")
PROCESSES = ("process_training_batch", "process_validation_batch", "process_testing_batch")


class Alone:
    """As much of a trainer as a style model needs."""

    is_distributed = False
    rank = 0

    def __init__(self, step: int = 0, *, device: str = "cpu") -> None:
        self.state = TrainState(step=step)
        self.device = torch.device(device)

    @staticmethod
    def wrap(net: nn.Module) -> nn.Module:
        return net


def losses_of(model: Model, batch: Any, *, steps: int) -> list[float]:
    """Train on one batch again and again, and give the loss of each step."""
    losses = []
    for _ in range(steps):
        model.train_step(batch)
        losses.append(model.metrics["loss"].item())
    return losses


class RecordingModel(Model):
    """Writes its name and each hook into a list."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__("recording")
        self.calls = calls
        self.batches: list[Any] = []


class RecordingPlugin(Plugin):
    """Does the same, and adds its number to each batch."""

    def __init__(self, plug_id: str, calls: list[str]) -> None:
        super().__init__(plug_id)
        self.calls = calls


def _recorded(name: str) -> Any:
    def hook(self: Any, *arguments: Any, **keywords: Any) -> None:
        who = self.plug_id if isinstance(self, Plugin) else "model"
        if name.endswith("_step"):
            self.batches.append(arguments[0])
            arguments = ()
        said = [str(argument) for argument in arguments] + [f"{key}={value}" for key, value in keywords.items()]
        self.calls.append(f"{who}.{name}({', '.join(said)})")

    return hook


def _recorded_process(name: str) -> Any:
    def process(self: RecordingPlugin, batch: str) -> str:
        self.calls.append(f"{self.plug_id}.{name}({batch})")
        return f"{batch}+{self.plug_id}"

    return process


for _name in MODEL_HOOKS:
    setattr(RecordingModel, _name, _recorded(_name))
for _name in PLUGIN_HOOKS:
    setattr(RecordingPlugin, _name, _recorded(_name))
for _name in PROCESSES:
    setattr(RecordingPlugin, _name, _recorded_process(_name))


class ListData(DataModule):
    """Batches from lists."""

    def __init__(
        self, training: Iterable[Any], validation: list[Any] | None = None, testing: list[Any] | None = None
    ) -> None:
        self.training, self.validation, self.testing = training, validation, testing
        self.num_torn_down = 0

    def train_loader(self) -> Iterable[Any]:
        return self.training

    def valid_loader(self) -> Iterable[Any] | None:
        return self.validation

    def test_loader(self) -> Iterable[Any] | None:
        return self.testing

    def teardown(self) -> None:
        self.num_torn_down += 1


class TinyModel(Model):
    """Learns with dropout, and with numbers of every generator that a resumed run has to find as they were."""

    net: nn.Module
    optimizer: torch.optim.Optimizer

    def setup(self, fast_init: bool = False) -> None:
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 1)).to(self.device)
        self.net = self.trainer.wrap(self.net)
        if not fast_init:
            self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)

    def train_step(self, batch: Any) -> None:
        batch = batch.to(self.device)
        noise = random.random() + float(np.random.rand())
        loss = (self.net(batch + 0.1 * noise) - batch.sum(1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.metrics["loss"] = loss.detach()


class ShuffledData(DataModule):
    """A plain `DataLoader`, in a new order each epoch."""

    def __init__(self, num_pictures: int = 22, batch_size: int = 4) -> None:
        self.pictures = torch.randn(num_pictures, 4, generator=torch.Generator().manual_seed(3))
        self.batch_size = batch_size

    def train_loader(self) -> Iterable[Any]:
        return DataLoader(self.pictures, batch_size=self.batch_size, shuffle=True)  # type: ignore[arg-type]


class CountingPlugin(Plugin):
    """Has a state: what it has seen of the batches."""

    plugin_id = "counting"

    def __init__(self) -> None:
        super().__init__(self.plugin_id)
        self.num_batches, self.total = 0, torch.zeros(())

    def on_training_start(self) -> None:
        torch.rand(3)  # which a resumed run draws once more than an unbroken one

    def on_training_epoch_start(self) -> None:
        torch.rand(3)

    def process_training_batch(self, batch: torch.Tensor) -> torch.Tensor:
        self.num_batches += 1
        self.total = self.total + batch.sum()
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"num_batches": self.num_batches, "total": self.total}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.num_batches, self.total = state["num_batches"], state["total"]


def trainer_with(*plugins: Plugin, **arguments: Any) -> Trainer:
    """A trainer on the CPU with these plug-ins."""
    trainer = Trainer(**{"device": "cpu", "threads": 1, **arguments})
    for plugin in plugins:
        plugin.configure_trainer(trainer)
    return trainer
