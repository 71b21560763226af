"""One of several processes that train together; a test starts them as torchrun would."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neural_style.distributed import unwrapped
from neural_style.errors import NeuralStyleError
from neural_style.plugins import CheckpointPlugin, FinitePlugin, Plugin, ProgressPlugin, SamplesPlugin
from neural_style.plugins import checkpoint as checkpoint_module
from neural_style.train import DataModule, Model
from tests.neural_style.training import trainer_with

GLOBAL_BATCH = 8


class SlicedData(DataModule):
    """Of each step's batch every process takes its part."""

    def train_loader(self) -> Iterable[torch.Tensor]:
        pictures = torch.randn(5 * GLOBAL_BATCH, 4, generator=torch.Generator().manual_seed(3))
        return [whole.chunk(self.trainer.world_size)[self.rank] for whole in pictures.split(GLOBAL_BATCH)]


class PlainModel(Model):
    """Learns without any random number, and tells the others what it came to."""

    net: nn.Module

    def setup(self, fast_init: bool = False) -> None:
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        if self.rank == 1:
            nn.init.zeros_(net[0].weight)  # type: ignore[arg-type]  # what process 0 has is what counts
        self.net = self.trainer.wrap(net)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)

    def train_step(self, batch: torch.Tensor) -> None:
        loss = (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.metrics["loss"] = loss.detach()

    def on_training_end(self) -> None:
        if self.is_distributed and self.rank == 0:
            assert self.trainer.queue is not None
            self.trainer.queue.put({"accuracy": 0.75, "loss": self.metrics["loss"]})
            self.trainer.queue.put("second")


class DivergesInOne(PlainModel):
    """The last process alone sees a loss that is no number."""

    def train_step(self, batch: torch.Tensor) -> None:
        super().train_step(batch)
        if self.rank == 1 and self.trainer.state.step == 3:
            self.metrics["loss"] = torch.tensor(float("nan"))


def train(folder: Path, *, max_steps: int, model: Model | None = None) -> dict[str, Any]:
    """Train, and return what there is to compare."""
    written: list[str] = []
    checkpoint_module.write_checkpoint = _noting(checkpoint_module.write_checkpoint, written)
    sampled: list[int] = []
    samples = SamplesPlugin(lambda model, step: sampled.append(step), every_steps=2)
    plugins: list[Plugin] = [CheckpointPlugin(folder, every_steps=2), FinitePlugin(), samples, ProgressPlugin()]
    trainer = trainer_with(*plugins, max_steps=max_steps)
    model = model or PlainModel()
    trainer.fit(model, SlicedData())
    queue, net = trainer.queue, getattr(model, "net")  # noqa: B009 -- of either model
    return {
        "place": (trainer.rank, trainer.local_rank, trainer.world_size, trainer.is_distributed),
        "kind": type(net).__name__,
        "weights": unwrapped(net).state_dict(),
        "written": written,
        "sampled": sampled,
        "told": None if queue is None else [queue.get(), queue.get(), queue.empty()],
    }


def _noting(write: Any, written: list[str]) -> Any:
    def note(path: Path, **arguments: Any) -> None:
        written.append(path.name)
        write(path, **arguments)

    return note


def train_in_child(folder: Path, out: Path, max_steps: int, kind: str) -> None:
    """Train, and write what it came to, an error of ours included."""
    model = DivergesInOne() if kind == "diverges" else None
    try:
        result = train(folder, max_steps=max_steps, model=model)
    except NeuralStyleError as err:
        result = {"error": type(err).__name__, "text": str(err)}
    torch.save(result, out)
