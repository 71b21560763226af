"""The published losses and their gradient at the styled picture, written out instead of recorded by autograd.

Axes: B batch, C channels, H height, W width, P = H * W. Ranges: ``_255`` is 0-255.

VGG16 is never trained, so all that is wanted is the gradient at its input. Written out, each layer's gradient takes the
place of the one before, ReLU is part of its convolution, and the gradient of a Gram matrix, which is symmetric, is one
product instead of two.

Source: Johnson et al. 2016, arXiv:1603.08155; weights and layers as in pytorch/examples ``fast_neural_style``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .losses import total_variation
from .onednn import FrozenConv, add_products, inner_products, products
from .vgg import IMAGENET_MEAN, IMAGENET_STD, TAPS, Vgg16

_CONTENT_PLACE = TAPS.index("relu2_2")
_aten = torch.ops.aten


class Losses(NamedTuple):
    """0-d float32 tensors, weighted and ready to be added."""

    content: Tensor
    style: Tensor
    total_variation: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.content + self.style + self.total_variation

    @classmethod
    def none(cls, device: torch.device) -> Losses:
        """Begin a sum."""
        return cls(*(torch.zeros((), device=device) for _ in cls._fields))

    def plus(self, other: Losses) -> Losses:
        """Add loss by loss."""
        return Losses(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def times(self, factor: float) -> Losses:
        """Multiply each."""
        return Losses(*(each * factor for each in self))


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """See `neural_style.train_config.TrainConfig`."""

    content: float
    style: float
    total_variation: float = 0.0


class PerceptualLoss:
    """What a styled picture is judged by; holds the style's Gram matrices, computed once.

    Args:
        vgg: The network that judges, on the device where it will.
        style_255_13HW: The style picture on that device, 16 pixels a side or more.
        weights: Of the parts.
        dtype: Of VGG16's arithmetic; Gram matrices and losses are float32 in any case.
    """

    def __init__(
        self, vgg: Vgg16, style_255_13HW: Tensor, *, weights: LossWeights, dtype: torch.dtype = torch.float32
    ) -> None:
        self.weights = weights
        self._mean_255_311 = torch.tensor(IMAGENET_MEAN).mul(255).view(3, 1, 1).to(style_255_13HW.device)
        self._dtype, self._blocks = torch.float32, _blocks_of(vgg, torch.float32)
        with torch.no_grad():
            self._style_grams_CC = [each[0] for each in map(_grams, self._taps(style_255_13HW))]
        if dtype != torch.float32:
            self._dtype, self._blocks = dtype, _blocks_of(vgg, dtype)

    @torch.no_grad()
    def losses(self, out_255_B3HW: Tensor, content_255_B3HW: Tensor) -> Losses:
        """Judge styled pictures against the pictures they were made from, without a gradient."""
        wanted_BCHW = self._content(content_255_B3HW)
        content = style = out_255_B3HW.new_zeros((), dtype=torch.float32)
        for place, tap_BCHW in enumerate(self._taps(out_255_B3HW)):
            if place == _CONTENT_PLACE:
                content, *_ = self._content_loss(tap_BCHW, wanted_BCHW, len(out_255_B3HW))
            style = style + self._style_loss(place, tap_BCHW, len(out_255_B3HW))[0]
        return Losses(content, style, self.weights.total_variation * total_variation(out_255_B3HW))

    @torch.no_grad()
    def gradient(
        self, out_255_B3HW: Tensor, content_255_B3HW: Tensor, *, num_pictures: int | None = None
    ) -> tuple[Losses, Tensor]:
        """Judge, and say how the sum of the losses grows with each value of the styled pictures.

        Args:
            out_255_B3HW: Styled pictures; any values, 0-255 is what VGG16 knows.
            content_255_B3HW: What they were made from.
            num_pictures: Of the batch that these are a part of, where they are: losses are means over it, so those of
                its parts add up.

        Returns:
            The losses, and their sum's gradient at `out_255_B3HW`, float32, of its shape.
        """
        num_pictures = num_pictures or len(out_255_B3HW)
        wanted_BCHW = self._content(content_255_B3HW)
        blocks = list(self._run(out_255_B3HW))
        content = style = out_255_B3HW.new_zeros((), dtype=torch.float32)
        slope_BCHW: Tensor | None = None
        while blocks:
            place, (outputs, sources) = len(blocks) - 1, blocks.pop()
            tap_BCHW = outputs[-1]
            loss, pull_BCC = self._style_loss(place, tap_BCHW, num_pictures)
            style = style + loss
            slope_BCHW = _pulled(tap_BCHW, pull_BCC, plus_BCHW=slope_BCHW)
            if place == _CONTENT_PLACE:
                content, apart_BCHW, scale = self._content_loss(tap_BCHW, wanted_BCHW, num_pictures)
                slope_BCHW.add_(apart_BCHW, alpha=scale)
            for layer in reversed(self._blocks[place]):
                slope_BCHW = layer.back(_masked(slope_BCHW, outputs.pop()))
            if blocks:
                slope_BCHW = _unpooled(slope_BCHW, blocks[-1].outputs[-1], sources)
        assert slope_BCHW is not None
        variation, variation_slope_B3HW = self._variation(out_255_B3HW, share=len(out_255_B3HW) / num_pictures)
        return Losses(content, style, variation), slope_BCHW.float() + variation_slope_B3HW

    def _taps(self, rgb_255_B3HW: Tensor) -> Iterator[Tensor]:
        """Run VGG16 and keep nothing on the way: a large painting's features take gigabytes."""
        features_BCHW = self._prepared(rgb_255_B3HW)
        for place, block in enumerate(self._blocks):
            if place:
                features_BCHW = nn.functional.max_pool2d(features_BCHW, 2)
            for layer in block:
                features_BCHW = layer.there(features_BCHW)
            yield features_BCHW

    def _prepared(self, rgb_255_B3HW: Tensor) -> Tensor:
        return (rgb_255_B3HW - self._mean_255_311).to(self._dtype, memory_format=torch.channels_last)

    def _run(self, rgb_255_B3HW: Tensor) -> Iterator[_Passed]:
        """Run VGG16 block by block, and give all that the way back needs."""
        features_BCHW = self._prepared(rgb_255_B3HW)
        sources = None
        for place, block in enumerate(self._blocks):
            if place:
                features_BCHW, sources = _aten.max_pool2d_with_indices(features_BCHW, [2, 2])
            outputs = []
            for layer in block:
                features_BCHW = layer.there(features_BCHW)
                outputs.append(features_BCHW)
            yield _Passed(outputs, sources)

    def _content(self, rgb_255_B3HW: Tensor) -> Tensor:
        return next(islice(self._taps(rgb_255_B3HW), _CONTENT_PLACE, None))

    def _content_loss(self, tap_BCHW: Tensor, wanted_BCHW: Tensor, num_pictures: int) -> tuple[Tensor, Tensor, float]:
        """Return the weighted loss, and two things whose product is its gradient at the tap."""
        scale = self.weights.content / (num_pictures * tap_BCHW[0].numel())
        apart_BCHW = tap_BCHW - wanted_BCHW
        values = _by_position(apart_BCHW).float().flatten()
        return torch.dot(values, values) * scale, apart_BCHW, 2 * scale

    def _style_loss(self, place: int, tap_BCHW: Tensor, num_pictures: int) -> tuple[Tensor, Tensor]:
        """Return the weighted loss, and the matrix that turns a tap's values into its gradient there."""
        channels, num_values = tap_BCHW.shape[1], tap_BCHW[0].numel()
        apart_BCC = _grams(tap_BCHW) - self._style_grams_CC[place]
        scale = self.weights.style / (num_pictures * channels * channels)
        # d(apart^2) is 2 apart, and each value of a tap is in its Gram matrix twice, as a row's and as a column's.
        return apart_BCC.square().sum() * scale, apart_BCC * (4 * scale / num_values)

    def _variation(self, out_255_B3HW: Tensor, *, share: float) -> tuple[Tensor, Tensor | float]:
        if not self.weights.total_variation:
            return out_255_B3HW.new_zeros((), dtype=torch.float32), 0.0
        with torch.enable_grad():
            out_255_B3HW = out_255_B3HW.detach().requires_grad_()
            loss = total_variation(out_255_B3HW) * (self.weights.total_variation * share)
            (slope_B3HW,) = torch.autograd.grad(loss, out_255_B3HW)
        return loss.detach(), slope_B3HW


class _Layer(NamedTuple):
    """A convolution and its ReLU, and the convolution that takes a gradient back through it."""

    there: FrozenConv
    back: FrozenConv


class _Passed(NamedTuple):
    """What a block of VGG16 gave, and from where the pool before it took its values."""

    outputs: list[Tensor]
    sources: Tensor | None


def _blocks_of(vgg: Vgg16, dtype: torch.dtype) -> list[list[_Layer]]:
    """Take VGG16 apart at its pools; its first layer then divides by ImageNet's deviation, on the scale 0-255."""
    blocks: list[list[_Layer]] = [[]]
    for layer in vgg.features:
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
        elif isinstance(layer, nn.Conv2d):
            weight = layer.weight
            if weight.shape[1] == 3:
                weight = weight / weight.new_tensor(IMAGENET_STD).mul(255).view(3, 1, 1)
            assert layer.bias is not None
            blocks[-1].append(
                _Layer(
                    there=FrozenConv(weight.detach().to(dtype), layer.bias.detach().to(dtype), relu=True),
                    back=FrozenConv(weight.detach().transpose(0, 1).flip(2, 3).to(dtype)),
                )
            )
    return blocks


def _by_position(features_BCHW: Tensor) -> Tensor:
    """View a batch in channels-last order as ``(B, P, C)``."""
    return features_BCHW.permute(0, 2, 3, 1).flatten(1, 2)


def _grams(tap_BCHW: Tensor) -> Tensor:
    """Return Gram matrices, ``(B, C, C)``, float32; see `neural_style.losses.gram_matrix`."""
    return inner_products(_by_position(tap_BCHW)) / tap_BCHW[0].numel()


def _pulled(tap_BCHW: Tensor, pull_BCC: Tensor, *, plus_BCHW: Tensor | None) -> Tensor:
    """Multiply every position's values with a matrix, and add in place what is given to be added to."""
    values_BPC, pull_BCC = _by_position(tap_BCHW), pull_BCC.to(tap_BCHW.dtype)
    if plus_BCHW is not None:
        add_products(_by_position(plus_BCHW), values_BPC, pull_BCC)
        return plus_BCHW
    batch, channels, height, width = tap_BCHW.shape
    return products(values_BPC, pull_BCC).view(batch, height, width, channels).permute(0, 3, 1, 2)


def _masked(slope: Tensor, output: Tensor) -> Tensor:
    """Clear in place the gradient where ReLU gave nothing."""
    found: Tensor = _aten.threshold_backward.grad_input(slope, output, 0, grad_input=slope)
    return found


def _unpooled(slope_BCHW: Tensor, before_BCHW: Tensor, sources: Tensor | None) -> Tensor:
    """Lead each gradient back to the place that its maximum came from."""
    found: Tensor = _aten.max_pool2d_with_indices_backward(
        slope_BCHW, before_BCHW, [2, 2], [2, 2], [0, 0], [1, 1], False, sources
    )
    return found
