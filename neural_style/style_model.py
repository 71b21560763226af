"""A style, learned as the published script learns it: the first model of the trainer.

Axes: B batch, H height, W width. ``_255`` is 0-255.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .devices import arithmetic
from .painting import as_judged
from .perceptual import Losses, LossWeights, PerceptualLoss
from .picture_model import PictureModel
from .train_config import TrainConfig
from .transformer_net import TransformerNet
from .vgg import Vgg16


class StyleModel(PictureModel):
    """Trains a `TransformerNet` to paint like one picture.

    Args:
        config: Everything that changes the weights.
        style_rgb_HW3: The picture, 8 bits a channel.
        vgg: The network that judges.
        compiled: Have `torch.compile` fuse what it can, which costs some time at the first steps.
        save_name: As in `Model`.

    Attributes:
        metrics: As in `PictureModel`.

    Raises:
        PictureError: the style picture is of a size or shape that cannot be judged.
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
        super().__init__(config, save_name=save_name)
        self._style_255_HW3 = as_judged(style_rgb_HW3, config)
        self._vgg = vgg
        self._compiled = compiled

    def setup(self, fast_init: bool = False) -> None:
        """Make the net from the seed, as the published script does, and look at the style picture, once."""
        dtype = arithmetic(self.config.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            net = TransformerNet(self.config.widths)
        self._set_up(net, dtype=dtype, fast_init=fast_init, compiled=self._compiled)
        style_255_13HW = torch.from_numpy(self._style_255_HW3.astype(np.float32)).permute(2, 0, 1)[None]
        self._judge = PerceptualLoss(
            self._vgg.to(self.device), style_255_13HW.to(self.device), weights=self._weights(), dtype=dtype
        )

    def _gradient(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor, *, num_pictures: int) -> tuple[Losses, Tensor]:
        return self._judge.gradient(out_255_B3HW, content_255_B3HW, num_pictures=num_pictures)

    def _losses(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor) -> Losses:
        return self._judge.losses(out_255_B3HW, content_255_B3HW)

    def _weights(self) -> LossWeights:
        config = self.config
        return LossWeights(
            content=config.content_weight, style=config.style_weight, total_variation=config.total_variation_weight
        )
