"""A style learned without any download: the judge is `RandomFeatures`, and content is kept by luminance and colour.

Axes: B batch, H height, W width. Ranges: ``_255`` is 0-255, ``_01`` is 0-1.

It learns strokes and palette of a painting well and knows nothing of things; a style that VGG16 judges is the real one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from .devices import arithmetic
from .losses import total_variation
from .painting import as_judged
from .palette import Palette
from .perceptual import Losses
from .picture_model import PictureModel
from .random_features import (
    Draws,
    RandomFeatures,
    local_correlation,
    out_of_range,
    relative_gram_error,
    sliced_wasserstein,
)
from .style_patches import StylePatches
from .train_config import LEAST_PAINTED_PX, TrainConfig
from .transformer_net import TransformerNet

_NUM_POSITIONS = 4096
_FIRST_STEPS = 60
"""Steps that only learn to give the picture back in the style's colours, from which the rest is learned faster."""
_LAST_LAYER = 60.0
"""By how much the last layer's first weights are raised, so that the first pictures have contrast."""
_FIRST_WEIGHT = 10.0
_COARSE = 8.0
"""Of colours, seen from afar: with less, large things lose theirs to whatever texture is near at hand."""
_OUT_OF_RANGE = 1.0


class PaintedStyleModel(PictureModel):
    """Trains a `TransformerNet` to paint like one picture, judged by random features.

    Training pictures have sides that are multiples of four, 56 or more. Validation and testing measure the whole loss,
    with the same draws each time, whatever the step.

    Args:
        config: Everything that changes the weights; its weights of style, content and total variation are those of
            this model's own losses, all of which are about 0 to 1.
        style_rgb_HW3: The picture, 8 bits a channel.
        save_name: As in `Model`.

    Attributes:
        metrics: As in `PictureModel`.

    Raises:
        PictureError: the style picture is of a size or shape that cannot be judged.
    """

    _least_px = LEAST_PAINTED_PX
    _longest_gradient = 5.0

    def __init__(
        self, config: TrainConfig, *, style_rgb_HW3: NDArray[np.uint8], save_name: str = "style"
    ) -> None:  # fmt: skip
        super().__init__(config, save_name=save_name)
        self._style_255_HW3 = as_judged(style_rgb_HW3, config)
        self._draws: list[Draws]

    @property
    def loss_changes_at(self) -> tuple[int, ...]:  # type: ignore[override]  # nobody sets it
        """Where the whole loss takes the place of the first steps'."""
        return (_FIRST_STEPS,)

    def setup(self, fast_init: bool = False) -> None:
        """Make the net from the seed, and look at the style picture, once."""
        dtype = arithmetic(self.config.precision, self.device)
        style_01_HW3 = self._style_255_HW3.astype(np.float32) / 255
        painting_01 = torch.from_numpy(style_01_HW3).permute(2, 0, 1)[None].to(self.device)
        self._palette = Palette(painting_01)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            net = TransformerNet(self.config.widths)
        with torch.no_grad():
            net.deconv3.conv2d.weight.mul_(_LAST_LAYER)
            net.deconv3.conv2d.bias.copy_(self._palette.mean_3 * 255)  # type: ignore[union-attr]
        self._set_up(net, dtype=dtype, fast_init=fast_init)
        self._judge = RandomFeatures(painting_01.cpu(), seed=self.config.seed)
        self._judge.to(self.device).to(memory_format=torch.channels_last)
        self._patches = StylePatches(self._judge, painting_01, side_px=self.config.image_px)

    def _before_batch(self, batch: Tensor, *, learns: bool) -> None:
        """Draw from the step's own seed, so that every process and every picture of the batch has the same."""
        step = self.trainer.state.step if learns else 0
        random = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) % 2**63)
        self._draws = [
            Draws.drawn(
                channels,
                num_there=style_tap[0, 0].numel(),
                num_here=num_here,
                num_positions=_NUM_POSITIONS,
                random=random,
            ).to(self.device)
            for (channels, num_here), style_tap in zip(
                self._judge.sizes(*batch.shape[2:]), self._patches.taps, strict=True
            )
        ]

    def _gradient(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor, *, num_pictures: int) -> tuple[Losses, Tensor]:
        judge = self._first_losses if self.trainer.state.step < _FIRST_STEPS else self._losses
        with torch.enable_grad():
            out_255_B3HW = out_255_B3HW.detach().requires_grad_()
            losses = judge(out_255_B3HW, content_255_B3HW).times(len(out_255_B3HW) / num_pictures)
            (slope_B3HW,) = torch.autograd.grad(losses.total, out_255_B3HW)
        return Losses(*(each.detach() for each in losses)), slope_B3HW

    def _first_losses(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor) -> Losses:
        """Compare with the pictures in the painting's colours, and nothing else."""
        zero = out_255_B3HW.new_zeros(())
        target_01 = self._palette.recoloured(content_255_B3HW / 255)
        return Losses(_FIRST_WEIGHT * F.mse_loss(out_255_B3HW / 255, target_01), zero, zero)

    def _losses(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor) -> Losses:
        config, out_01, content_01 = self.config, out_255_B3HW / 255, content_255_B3HW / 255
        target_01 = self._palette.recoloured(content_01)
        content = 1 - local_correlation(out_01, content_01)
        for scale in (4, 8):
            apart = F.mse_loss(F.avg_pool2d(out_01, scale), F.avg_pool2d(target_01, scale))
            content = content + _COARSE * apart
        return Losses(
            style=config.style_weight * self._style_loss(out_01, target_01),
            content=config.content_weight * content,
            total_variation=config.total_variation_weight * total_variation(out_01)
            + _OUT_OF_RANGE * out_of_range(out_01),
        )

    def _style_loss(self, out_01: Tensor, target_01: Tensor) -> Tensor:
        """Judge texture, each picture's by the part of the painting that is most like it."""
        nearest_B = self._patches.nearest(target_01)
        found = out_01.new_zeros(())
        layers = zip(self._judge(out_01), self._patches.taps, self._patches.grams, self._draws, strict=True)
        for tap, style_tap, gram, draws in layers:
            apart = sliced_wasserstein(tap, style_tap[nearest_B], draws)
            found = found + 0.5 * relative_gram_error(tap, gram[nearest_B]) + 0.5 * apart
        return found / len(self._patches.taps)
