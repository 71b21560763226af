"""A style, learned as the published script learns it: the first model of the trainer.

Axes: B batch, H height, W width. ``_255`` is 0-255.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from .distributed import unwrapped
from .errors import PictureError, SettingError
from .model import Model
from .perceptual import Losses, LossWeights, PerceptualLoss
from .side_by_side import SideBySide
from .train_config import TrainConfig
from .training_net import TrainingNet
from .transformer_net import TransformerNet
from .vgg import Vgg16

_LEAST_STYLE_PX = 16


class StyleModel(Model):
    """Trains a `TransformerNet` to paint like one picture.

    Args:
        config: Everything that changes the weights.
        style_rgb_HW3: The picture, 8 bits a channel.
        vgg: The network that judges.
        compiled: Have `torch.compile` fuse what it can, which costs some time at the first steps.
        save_name: As in `Model`.

    Attributes:
        metrics: ``loss``, and its parts ``content_loss``, ``style_loss`` and ``total_variation_loss``, of the last
            step; with ``valid_`` or ``test_`` before their names, the means over all pictures of a validation or test.

    Raises:
        PictureError: the style picture is too small to be judged.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        style_rgb_HW3: NDArray[np.uint8],
        vgg: Vgg16,
        compiled: bool = False,
        save_name: str = "style",
    ) -> None:
        super().__init__(save_name)
        height, width = style_rgb_HW3.shape[:2]
        if config.style_px is None and min(height, width) < _LEAST_STYLE_PX:
            raise PictureError(
                f"the style picture: wanted {_LEAST_STYLE_PX} pixels a side or more, found {width} x {height}"
            )
        self.config = config
        self._style_rgb_HW3 = style_rgb_HW3
        self._vgg = vgg
        self._compiled = compiled
        self._num_seen = 0
        self._sums: Losses

    @property
    def transformer(self) -> TransformerNet:
        """What is trained; its state is what a weight file holds."""
        training_net: TrainingNet = unwrapped(self.net)
        return training_net.net

    def setup(self, fast_init: bool = False) -> None:
        """Make the net from the seed, as the published script does, and look at the style picture, once."""
        dtype = arithmetic(self.config.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            net = TransformerNet(self.config.widths)
        training_net: nn.Module = TrainingNet(net, dtype=dtype).to(self.device)
        if self._compiled:
            training_net.compile()
        self.net = self.trainer.wrap(training_net)
        self._judge = PerceptualLoss(
            self._vgg.to(self.device), self._style().to(self.device), weights=self._weights(), dtype=dtype
        )
        self._side_by_side = SideBySide(1 if self._compiled else self.config.batch_size)
        if not fast_init:
            self._trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
            for parameter in self._trained:
                parameter.grad = torch.zeros_like(parameter)
            self.optimizer = torch.optim.Adam(self._trained, self.config.learning_rate, fused=True)

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
        self.optimizer.zero_grad(set_to_none=False)
        parts = self._parts(batch)
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
            found, slope_B3HW = self._judge.gradient(out_255_B3HW.detach(), part_255_B3HW, num_pictures=len(batch))
            out_255_B3HW.backward(slope_B3HW)
            losses = losses.plus(found)
        self.optimizer.step()
        self._report(losses, "")

    def _judged(self, part_255_B3HW: Tensor, *, num_pictures: int) -> tuple[Losses, tuple[Tensor, ...]]:
        """Return the losses of some of a batch's pictures, and their gradients at the weights."""
        out_255_B3HW = unwrapped(self.net)(part_255_B3HW)
        losses, slope_B3HW = self._judge.gradient(out_255_B3HW.detach(), part_255_B3HW, num_pictures=num_pictures)
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
        for num_pictures, losses in self._side_by_side.map(self._seen, self._parts(batch)):
            self._sums = self._sums.plus(losses.times(num_pictures))
            self._num_seen += num_pictures
        self._report(self._sums.times(1 / self._num_seen), prefix)

    @torch.no_grad()
    def _seen(self, part_255_B3HW: Tensor) -> tuple[int, Losses]:
        return len(part_255_B3HW), self._judge.losses(unwrapped(self.net)(part_255_B3HW), part_255_B3HW)

    def _begin_mean(self) -> None:
        self._num_seen, self._sums = 0, Losses.none(self.device)

    def _report(self, losses: Losses, prefix: str) -> None:
        self.metrics[f"{prefix}loss"] = losses.total
        for name, value in losses._asdict().items():
            self.metrics[f"{prefix}{name}_loss"] = value

    def _parts(self, batch_255_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Split a batch into what is computed at once.

        On the CPU that is one picture, whose features fit into the caches; a GPU wants many.
        """
        if batch_255_B3HW.shape[2] % 4 or batch_255_B3HW.shape[3] % 4:
            raise SettingError(
                "pictures to learn from: wanted a multiple of 4 for height and width, found "
                f"{batch_255_B3HW.shape[3]} x {batch_255_B3HW.shape[2]} pixels; crop them"
            )
        moved = batch_255_B3HW.to(self.device, torch.float32, non_blocking=True)
        return torch.split(moved, 1 if self.device.type == "cpu" else len(moved))

    def _weights(self) -> LossWeights:
        config = self.config
        return LossWeights(
            content=config.content_weight, style=config.style_weight, total_variation=config.total_variation_weight
        )

    def _style(self) -> Tensor:
        """Return the style picture as ``(1, 3, H, W)``, 0-255, brought to its size as the published script does it."""
        rgb_HW3 = self._style_rgb_HW3
        if self.config.style_px is not None:
            size = (self.config.style_px, self.config.style_px)
            rgb_HW3 = np.asarray(Image.fromarray(rgb_HW3).resize(size, Image.Resampling.LANCZOS))
        return torch.from_numpy(rgb_HW3.astype(np.float32)).permute(2, 0, 1)[None]


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype that a configuration asks for, or float32 where the device has no bfloat16 of its own."""
    has_bf16 = False
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        abilities = torch.cpu.get_capabilities()
        has_bf16 = any(abilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if precision == "bf16" and has_bf16 else torch.float32
