"""A style learned without any download: the judge is `RandomFeatures`, and content is kept by luminance and colour.

Axes: B batch, H height, W width. Ranges: ``_255`` is 0-255, ``_01`` is 0-1.

It learns strokes and palette of a painting well and knows nothing of things; a style that VGG16 judges is the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from .distributed import unwrapped
from .losses import total_variation
from .model import Model
from .palette import Palette
from .random_features import (
    RandomFeatures,
    local_correlation,
    out_of_range,
    relative_gram_error,
    sliced_wasserstein,
)
from .style_model import arithmetic
from .style_patches import StylePatches
from .train_config import TrainConfig
from .training_net import TrainingNet
from .transformer_net import TransformerNet

_STYLE_PX = 400
"""Short side of the style picture while it is looked at: its strokes are to be as wide as the filters see."""
_NUM_POSITIONS = 4096
_FIRST_STEPS = 60
"""Steps that only learn to give the picture back in the style's colours, from which the rest is learned faster."""
_LAST_LAYER = 60.0
"""By how much the last layer's first weights are raised, so that the first pictures have contrast."""
_COARSE = 1.0
_OUT_OF_RANGE = 1.0
_LONGEST_GRADIENT = 5.0


class _Losses(NamedTuple):
    style: Tensor
    content: Tensor
    total_variation: Tensor


class PaintedStyleModel(Model):
    """Trains a `TransformerNet` to paint like one picture, judged by random features.

    Args:
        config: Everything that changes the weights; its weights of style, content and total variation are those of
            this model's own losses, all of which are about 0 to 1.
        style_rgb_HW3: The picture, 8 bits a channel.
        save_name: As in `Model`.

    Attributes:
        metrics: ``loss``, and its weighted parts ``content_loss``, ``style_loss`` and ``total_variation_loss``, of the
            last step.
    """

    def __init__(
        self, config: TrainConfig, *, style_rgb_HW3: NDArray[np.uint8], save_name: str = "style"
    ) -> None:  # fmt: skip
        super().__init__(save_name)
        self.config = config
        self._style_rgb_HW3 = style_rgb_HW3

    @property
    def transformer(self) -> TransformerNet:
        """What is trained; its state is what a weight file holds."""
        training_net: TrainingNet = unwrapped(self.net)
        return training_net.net

    def setup(self, fast_init: bool = False) -> None:
        """Make the net from the seed, and look at the style picture, once."""
        dtype = arithmetic(self.config.precision, self.device)
        painting_01 = self._style().to(self.device)
        self._palette = Palette(painting_01)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            net = TransformerNet(self.config.widths)
        with torch.no_grad():
            net.deconv3.conv2d.weight.mul_(_LAST_LAYER)
            net.deconv3.conv2d.bias.copy_(self._palette.mean_3 * 255)  # type: ignore[union-attr]
        self.net = self.trainer.wrap(TrainingNet(net, dtype=dtype).to(self.device))
        self._judge = RandomFeatures(painting_01.cpu(), seed=self.config.seed)
        self._judge.to(self.device).to(memory_format=torch.channels_last)
        self._patches = StylePatches(self._judge, painting_01, side_px=self.config.image_px)
        if not fast_init:
            trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
            self.optimizer = torch.optim.Adam(trained, self.config.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the net's weights and the optimiser's state."""
        return {"net": self.transformer.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.transformer.load_state_dict(state["net"])
        if hasattr(self, "optimizer"):
            self.optimizer.load_state_dict(state["optimizer"])

    def train_step(self, batch: Tensor) -> None:
        """Learn from a batch ``(B, 3, H, W)`` of 0-255; sides are multiples of four, 56 or more."""
        content_255 = batch.to(self.device, torch.float32, non_blocking=True)
        content_01 = content_255 / 255
        target_01 = self._palette.recoloured(content_01)
        out_01 = self.net(content_255) / 255
        if self.trainer.state.step < _FIRST_STEPS:
            zero = out_01.new_zeros(())
            losses = _Losses(zero, 10 * F.mse_loss(out_01, target_01), zero)
        else:
            losses = self._losses(out_01, content_01=content_01, target_01=target_01)
        loss = losses.style + losses.content + losses.total_variation
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        torch.nn.utils.clip_grad_norm_(self.transformer.parameters(), _LONGEST_GRADIENT)
        self.optimizer.step()
        self.metrics["loss"] = loss.detach()
        for name, value in losses._asdict().items():
            self.metrics[f"{name}_loss"] = value.detach()

    def _losses(self, out_01: Tensor, *, content_01: Tensor, target_01: Tensor) -> _Losses:
        config = self.config
        content = 1 - local_correlation(out_01, content_01)
        for scale in (4, 8):
            apart = F.mse_loss(F.avg_pool2d(out_01, scale), F.avg_pool2d(target_01, scale))
            content = content + _COARSE * apart
        return _Losses(
            style=config.style_weight * self._style_loss(out_01, target_01),
            content=config.content_weight * content,
            total_variation=config.total_variation_weight * total_variation(out_01)
            + _OUT_OF_RANGE * out_of_range(out_01),
        )

    def _style_loss(self, out_01: Tensor, target_01: Tensor) -> Tensor:
        """Judge texture; what is drawn comes from the step's own seed, whichever process draws it."""
        random = torch.Generator().manual_seed((self.config.seed * 1_000_003 + self.trainer.state.step) % 2**63)
        nearest_B = self._patches.nearest(target_01)
        found = out_01.new_zeros(())
        for tap, style_tap, gram in zip(self._judge(out_01), self._patches.taps, self._patches.grams, strict=True):
            apart = sliced_wasserstein(tap, style_tap[nearest_B], num_positions=_NUM_POSITIONS, random=random)
            found = found + 0.5 * relative_gram_error(tap, gram[nearest_B]) + 0.5 * apart
        return found / len(self._patches.taps)

    def _style(self) -> Tensor:
        """Return the style picture as ``(1, 3, H, W)``, 0-1, its short side brought to the size it is looked at."""
        picture = Image.fromarray(self._style_rgb_HW3)
        scale = (self.config.style_px or _STYLE_PX) / min(picture.size)
        width, height = (max(round(side * scale), 1) for side in picture.size)
        small = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), dtype=np.float32)
        return torch.from_numpy(small / 255).permute(2, 0, 1)[None]
