"""What models of a style share: one net, judged picture by picture, by losses that are means over a batch.

Axes: B batch, H height, W width. ``_255`` is 0-255.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .distributed import unwrapped
from .errors import SettingError
from .model import Model
from .perceptual import Losses
from .side_by_side import SideBySide
from .train_config import TrainConfig
from .training_net import TrainingNet
from .transformer_net import TransformerNet


class PictureModel(Model, ABC):
    """Trains a `TransformerNet`; who derives from it says how pictures are judged.

    On the CPU each picture of a batch is computed by itself, in a thread of its own where there are several: its
    features fit into the caches, and threads with a picture each seldom wait for each other. A GPU takes all at once.

    Args:
        config: Everything that changes the weights.
        save_name: As in `Model`.

    Attributes:
        metrics: ``loss``, and its parts ``content_loss``, ``style_loss`` and ``total_variation_loss``, of the last
            step; with ``valid_`` or ``test_`` before their names, the means over all pictures of a validation or test.
    """

    _least_px: ClassVar[int] = 16
    _longest_gradient: ClassVar[float | None] = None
    """Norm to which a longer gradient is cut; None leaves it."""

    def __init__(self, config: TrainConfig, *, save_name: str) -> None:
        super().__init__(save_name)
        self.config = config
        self._num_seen = 0
        self._sums: Losses

    @abstractmethod
    def _gradient(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor, *, num_pictures: int) -> tuple[Losses, Tensor]:
        """Judge some pictures of a batch of so many.

        Returns:
            Their share of the batch's losses, without a gradient, and their sum's gradient at `out_255_B3HW`, which
            has none either.
        """

    @abstractmethod
    def _losses(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor) -> Losses:
        """Return what validation and testing measure: means over these pictures."""

    def _before_batch(self, batch: Tensor, *, learns: bool) -> None:  # noqa: B027 - as hooks are
        """Prepare what all pictures of a batch are judged with, be it to learn or to measure."""

    @property
    def transformer(self) -> TransformerNet:
        """What is trained; its state is what a weight file holds."""
        training_net: TrainingNet = unwrapped(self.net)
        return training_net.net

    def _set_up(self, net: TransformerNet, *, dtype: torch.dtype, fast_init: bool, compiled: bool = False) -> None:
        """Take the net to the device, and make its optimiser."""
        training_net: nn.Module = TrainingNet(net, dtype=dtype).to(self.device)
        if compiled:
            training_net.compile()
        self.net = self.trainer.wrap(training_net)
        self._side_by_side = SideBySide(1 if compiled else self.config.batch_size)
        if not fast_init:
            self._trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
            for parameter in self._trained:
                parameter.grad = torch.zeros_like(parameter)
            self.optimizer = torch.optim.Adam(self._trained, self.config.learning_rate, fused=True)

    def teardown(self) -> None:
        """End the threads."""
        if hasattr(self, "_side_by_side"):
            self._side_by_side.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the net's weights and the optimiser's state."""
        return {"net": self.transformer.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.transformer.load_state_dict(state["net"])
        if hasattr(self, "optimizer"):
            self.optimizer.load_state_dict(state["optimizer"])

    def train_step(self, batch: Tensor) -> None:
        """Learn from a batch ``(B, 3, H, W)`` of 0-255, however many pictures it has: the last may be smaller."""
        parts = self._parts(batch)
        self._before_batch(batch, learns=True)
        self.optimizer.zero_grad(set_to_none=False)
        judged = partial(self._judged, num_pictures=len(batch))
        # What the last part's backward pass finds in the gradients is averaged over all processes with its own.
        num_alone = len(parts) - self.is_distributed
        losses = Losses.none(self.device)
        for found, slopes in self._side_by_side.map(judged, parts[:num_alone]):
            losses = losses.plus(found)
            for parameter, slope in zip(self._trained, slopes, strict=True):
                assert parameter.grad is not None
                parameter.grad += slope
        for part_255_B3HW in parts[num_alone:]:
            out_255_B3HW = self.net(part_255_B3HW)
            found, slope_B3HW = self._gradient(out_255_B3HW.detach(), part_255_B3HW, num_pictures=len(batch))
            out_255_B3HW.backward(slope_B3HW)
            losses = losses.plus(found)
        if self._longest_gradient is not None:
            nn.utils.clip_grad_norm_(self._trained, self._longest_gradient)
        self.optimizer.step()
        self._report(losses, "")

    def _judged(self, part_255_B3HW: Tensor, *, num_pictures: int) -> tuple[Losses, tuple[Tensor, ...]]:
        """Return the losses of some of a batch's pictures, and their gradients at the weights."""
        out_255_B3HW = unwrapped(self.net)(part_255_B3HW)
        losses, slope_B3HW = self._gradient(out_255_B3HW.detach(), part_255_B3HW, num_pictures=num_pictures)
        return losses, torch.autograd.grad(out_255_B3HW, self._trained, slope_B3HW)

    def on_validation_start(self, validation_cycle: int) -> None:
        """Begin a mean."""
        self._begin_mean()

    def valid_step(self, batch: Tensor) -> None:
        """Judge a batch."""
        self._judge_only(batch, "valid_")

    def on_testing_start(self) -> None:
        """Begin a mean."""
        self._begin_mean()

    def test_step(self, batch: Tensor) -> None:
        """Judge a batch."""
        self._judge_only(batch, "test_")

    def _judge_only(self, batch: Tensor, prefix: str) -> None:
        """Add a batch to the means over pictures."""
        parts = self._parts(batch)
        self._before_batch(batch, learns=False)
        for num_pictures, losses in self._side_by_side.map(self._seen, parts):
            self._sums = self._sums.plus(losses.times(num_pictures))
            self._num_seen += num_pictures
        self._report(self._sums.times(1 / self._num_seen), prefix)

    @torch.no_grad()
    def _seen(self, part_255_B3HW: Tensor) -> tuple[int, Losses]:
        return len(part_255_B3HW), self._losses(unwrapped(self.net)(part_255_B3HW), part_255_B3HW)

    def _begin_mean(self) -> None:
        self._num_seen, self._sums = 0, Losses.none(self.device)

    def _report(self, losses: Losses, prefix: str) -> None:
        self.metrics[f"{prefix}loss"] = losses.total
        for name, value in losses._asdict().items():
            self.metrics[f"{prefix}{name}_loss"] = value

    def _parts(self, batch_255_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Split a batch into what is computed at once: on the CPU one picture, on a GPU all."""
        height_px, width_px = batch_255_B3HW.shape[2:]
        if height_px % 4 or width_px % 4 or min(height_px, width_px) < self._least_px:
            raise SettingError(
                f"pictures to learn from: wanted a multiple of 4, {self._least_px} or more, for height and width, "
                f"found {width_px} x {height_px} pixels; crop them to another size"
            )
        moved = batch_255_B3HW.to(self.device, torch.float32, non_blocking=True)
        return torch.split(moved, 1 if self.device.type == "cpu" else len(moved))
