"""The published net's layers, each able to give any rows of its output.

Axes: H height, W width, C channels; maps are ``(H, W, C)``, contiguous. Range ``_255``: 0-255.

A layer's raw output is what its convolution gives, before its norm: the norm needs the mean and variance of the whole
map. So each layer is run once over all its rows to measure them; from then on whoever needs rows of it gets them
normalised. Where the raw map was not kept they are computed again, with what they are computed from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from .engines.rewriting import MERGED_ROWS
from .folding import PLACES, folded_both, four_kernels, mirrored
from .map_store import FeatureMap
from .moments import Moments
from .onednn import FrozenConv
from .transformer_net import ConvLayer, UpsampleConvLayer


class Features(Protocol):
    """What a layer is computed from.

    Attributes:
        height: In rows.
        width: In positions.
        channels: Of a position.
        device: Where they are computed.
    """

    height: int
    width: int
    channels: int
    device: torch.device

    def fill(self, out_HWC: Tensor, top: int, bottom: int) -> None:
        """Write the rows from ``top`` to ``bottom``, normalised, into a part of a map of any dtype."""
        ...


@dataclass(kw_only=True)
class Layer:
    """A convolution and what its input needs.

    Attributes:
        conv: It takes a map with its border.
        border: In positions of its input.
        stride: Of the convolution.
        reflect: Whether the border mirrors the map; else its outermost positions are repeated.
        dtype: Of its input, weights and output.
    """

    conv: FrozenConv
    border: int
    channels: int
    dtype: torch.dtype
    stride: int = 1
    reflect: bool = True

    def output_size(self, before: Features) -> tuple[int, int]:
        """Return the height and width that it gives."""
        return -(-before.height // self.stride), -(-before.width // self.stride)

    def rows(self, before: Features, top: int, bottom: int) -> Tensor:
        """Compute rows of the raw output."""
        return self._convolved(self._bordered(before, top * self.stride, (bottom - 1) * self.stride + 1))

    def _bordered(self, before: Features, top: int, bottom: int) -> Tensor:
        """Return rows of the input with a border at each side."""
        border, height, width = self.border, before.height, before.width
        first, last = max(top - border, 0), min(bottom + border, height)
        shape = (bottom - top + 2 * border, width + 2 * border, before.channels)
        out_HWC = torch.empty(shape, dtype=self.dtype, device=before.device)
        start = first - (top - border)
        inside_HWC = out_HWC[start : start + last - first]
        before.fill(inside_HWC[:, border : border + width], first, last)
        for at in range(border):
            left, right = (border - at, at + 1) if self.reflect else (0, 0)
            inside_HWC[:, at] = inside_HWC[:, border + left]
            inside_HWC[:, border + width + at] = inside_HWC[:, border + width - 1 - right]
        for row in (*range(top - border, first), *range(last, bottom + border)):
            source = min(max(row, 0), height - 1)
            if self.reflect:
                source = -row if row < 0 else 2 * (height - 1) - row
            out_HWC[row - top + border] = out_HWC[source - top + border]
        return out_HWC

    def _convolved(self, bordered_HWC: Tensor) -> Tensor:
        out_1CHW = self.conv(bordered_HWC.permute(2, 0, 1)[None])
        return out_1CHW[0].permute(1, 2, 0).contiguous()  # it is, unless a backend (MPS before macOS 15) gives planes


@dataclass(kw_only=True)
class UpLayer(Layer):
    """Enlarges and convolves.

    Attributes:
        fold: Whether its output is folded.
    """

    fold: bool

    def output_size(self, before: Features) -> tuple[int, int]:
        """Return the height and width that it gives, in positions of its output."""
        return (before.height, before.width) if self.fold else (2 * before.height, 2 * before.width)

    def rows(self, before: Features, top: int, bottom: int) -> Tensor:
        """Compute rows of the raw output."""
        if self.fold:
            return self._enlarged(before, top, bottom)
        first = top // 2
        rows_HWC = self._enlarged(before, first, -(-bottom // 2))
        return rows_HWC[top - 2 * first : bottom - 2 * first]

    def _enlarged(self, before: Features, top: int, bottom: int) -> Tensor:
        """Compute what rows of the input become: as many folded rows, or twice as many."""
        four_HWC = self._convolved(self._bordered(before, top, bottom))
        height, width = four_HWC.shape[0] - 1, four_HWC.shape[1] - 1
        four_HW22C = four_HWC.reshape(height + 1, width + 1, 2, 2, self.channels)
        if self.fold:
            out = four_HWC.new_empty(height, width, 2, 2, self.channels)
            together = out
        else:
            out = four_HWC.new_empty(height, 2, width, 2, self.channels)
            together = out.transpose(1, 2)
        for row, column in PLACES:
            together[:, :, row, column] = four_HW22C[row : row + height, column : column + width, row, column]
        return out.flatten(2) if self.fold else out.view(2 * height, 2 * width, self.channels)


class PlainUpLayer(Layer):
    """Enlarges by repeating positions, then convolves, as the published net does it."""

    def output_size(self, before: Features) -> tuple[int, int]:
        """Return the height and width that it gives."""
        return 2 * before.height, 2 * before.width

    def rows(self, before: Features, top: int, bottom: int) -> Tensor:
        """Compute rows of the raw output."""
        first = top // 2
        small_HWC = self._bordered(before, first, -(-bottom // 2))
        large_HWC = small_HWC.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)[1:-1, 1:-1].contiguous()
        return self._convolved(large_HWC)[top - 2 * first : bottom - 2 * first]


class LastLayer(Layer):
    """Takes folded rows, gives folded rows of the picture: ``(H, W, 12)``, red, green, blue of four pixels."""

    def _bordered(self, before: Features, top: int, bottom: int) -> Tensor:
        """Return rows of the input with a border of two positions, four pixels that mirror the map."""
        height, width = before.height, before.width
        first, last = max(top - 2, 0), min(bottom + 2, height)
        shape = (bottom - top + 4, width + 4, before.channels)
        out_HWC = torch.empty(shape, dtype=self.dtype, device=before.device)
        out_HW22C = out_HWC.view(*shape[:2], 2, 2, before.channels // 4)
        start = first - (top - 2)
        inside = slice(start, start + last - first)
        before.fill(out_HWC[inside, 2:-2], first, last)
        for at, column, source, source_column in mirrored(width):
            out_HW22C[inside, at, :, column] = out_HW22C[inside, source + 2, :, source_column]
        for at, row, source, source_row in mirrored(height):
            if top <= at < bottom + 4:
                out_HW22C[at - top, :, row] = out_HW22C[source + 2 - top, :, source_row]
        return out_HWC


@dataclass(kw_only=True)
class Normed:
    """A layer's output as features: measured, normalised, negative numbers cut off.

    Attributes:
        layer: What computes it.
        before: What it is computed from.
        norm: Its instance norm.
        kept: Where its raw rows are kept; None: they are computed again.
    """

    layer: Layer
    before: Features
    norm: nn.InstanceNorm2d
    kept: FeatureMap | None
    _affine: tuple[Tensor, Tensor] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.height, self.width = self.layer.output_size(self.before)
        self.folds = 4 if isinstance(self.layer, UpLayer) and self.layer.fold else 1
        self.channels = self.folds * self.layer.channels
        self.device = self.before.device

    @property
    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of the norm."""
        assert self._affine is not None
        return self._affine

    def measure(self, bands: Iterator[tuple[int, int]]) -> None:
        """Compute all rows, band by band, and keep them if they are kept."""
        moments = Moments(self.layer.channels, device=self.device)
        for top, bottom in bands:
            raw_HWC = self.layer.rows(self.before, top, bottom)
            moments.add(raw_HWC.view(-1, self.layer.channels))
            if self.kept is not None:
                self.kept.put(top, raw_HWC)
        self._affine = affine_of(moments, self.norm, repeats=self.folds)

    def fill(self, out_HWC: Tensor, top: int, bottom: int) -> None:
        """See `Features.fill`."""
        raw_HWC = self.layer.rows(self.before, top, bottom) if self.kept is None else self.kept.rows(top, bottom)
        scaled(raw_HWC, self.affine, out_HWC).relu_()


def affine_of(moments: Moments, norm: nn.InstanceNorm2d, *, repeats: int = 1) -> tuple[Tensor, Tensor]:
    """Return a norm's scale and shift, for folded maps as often as there are pixels in a position."""
    scale, shift = moments.scale_and_shift(norm.weight, norm.bias, eps=norm.eps)
    return scale.repeat(repeats), shift.repeat(repeats)


def scaled(raw_HWC: Tensor, affine: tuple[Tensor, Tensor], out_HWC: Tensor) -> Tensor:
    """Write ``raw * scale + shift``, computed in float32."""
    scale, shift = affine
    return torch.addcmul(shift, raw_HWC, scale, out=out_HWC)


def strided(layer: ConvLayer, *, dtype: torch.dtype) -> Layer:
    """Take one of the layers without enlarging; its bias goes, since the norm takes it away again."""
    conv = layer.conv2d
    stride, border = conv.stride[0], conv.kernel_size[0] // 2
    frozen = FrozenConv(conv.weight.to(dtype), stride=stride, border=0)
    return Layer(conv=frozen, border=border, stride=stride, channels=conv.out_channels, dtype=dtype)


def plainly_enlarging(layer: UpsampleConvLayer) -> PlainUpLayer:
    """Take one of the layers that enlarge, as it is, in float32."""
    frozen = FrozenConv(layer.conv2d.weight, border=0)
    return PlainUpLayer(conv=frozen, border=1, channels=layer.conv2d.out_channels, dtype=torch.float32, reflect=False)


def plainly_last(layer: ConvLayer) -> Layer:
    """Take the last layer, as it is, in float32: it gives ``(H, W, 3)``."""
    frozen = FrozenConv(layer.conv2d.weight, layer.conv2d.bias, border=0)
    return Layer(conv=frozen, border=layer.conv2d.kernel_size[0] // 2, channels=3, dtype=torch.float32)


def enlarging(layer: UpsampleConvLayer, *, dtype: torch.dtype, fold: bool) -> UpLayer:
    """Take one of the layers that enlarge."""
    weight = layer.conv2d.weight
    four = four_kernels(weight, torch.tensor(MERGED_ROWS, device=weight.device))
    frozen = FrozenConv(four.to(dtype), border=0)
    return UpLayer(conv=frozen, border=1, channels=len(weight), dtype=dtype, reflect=False, fold=fold)


def last(layer: ConvLayer, *, dtype: torch.dtype) -> LastLayer:
    """Take the last layer."""
    conv = layer.conv2d
    assert conv.bias is not None
    frozen = FrozenConv(folded_both(conv.weight).to(dtype), conv.bias.repeat(4).to(dtype), border=0)
    return LastLayer(conv=frozen, border=2, channels=12, dtype=dtype)
