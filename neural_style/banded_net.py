"""The published net, computed in bands: any picture in any memory, and the same numbers as all at once.

Axes: H height, W width, C channels; maps are ``(H, W, C)``. Range ``_255``: 0-255.

Instance norm takes its statistics over the whole picture, so pieces styled by themselves would not match. Here each
layer runs over the whole picture, band by band, before the next one begins. What is kept in between is a matter of
memory (`memory_plan`): with all maps kept nothing is computed twice; else the ends of the net, whose maps are large and
whose layers are cheap, are computed again when their rows are needed, and only quarter-size maps are kept, in memory or
in files. The bands keep what passes between two operations in the processor's cache, so this is the fast way, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .allocator import give_back
from .banded_layers import (
    Layer,
    Normed,
    affine_of,
    enlarging,
    last,
    plainly_enlarging,
    plainly_last,
    scaled,
    strided,
)
from .folding import unfolded
from .map_store import FeatureMap, MapStore
from .memory_plan import BandPlan, Kept
from .moments import Moments
from .pixels import PixelSource
from .transformer_net import TransformerNet

_Affine = tuple[Tensor, Tensor]

# Multiplications of a layer for a pixel of the picture, relative to each other; what the progress is told by.
_WORK = {"conv1": 8, "conv2": 5, "conv3": 5, "res": 9, "deconv1": 8, "deconv2": 8, "deconv3": 10}


class BandedNet:
    """A net whose weights never change, ready to style.

    Args:
        net: The published net, on its device.
        front: The dtype of the first two layers. In bfloat16 they would spoil smooth pictures: 37 dB instead of 47.
        rest: The dtype of all others.
        plain: Whether the layers that enlarge, and the last, are computed as the published net does it, in float32,
            instead of rearranged. That takes longer and makes a difference where a map is flat, as of a picture of one
            colour: the norm takes flat for flat only if rounding, too, is the same at every position.
    """

    def __init__(
        self,
        net: TransformerNet,
        *,
        front: torch.dtype = torch.float32,
        rest: torch.dtype = torch.float32,
        plain: bool = False,
    ) -> None:
        self._net = net
        self.device = net.conv1.conv2d.weight.device
        self.channels = net.conv1.conv2d.out_channels
        self._conv1 = strided(net.conv1, dtype=front)
        self._conv2 = strided(net.conv2, dtype=front)
        self._conv3 = strided(net.conv3, dtype=rest)
        blocks = (net.res1, net.res2, net.res3, net.res4, net.res5)
        self._blocks = [(strided(block.conv1, dtype=rest), strided(block.conv2, dtype=rest), block) for block in blocks]
        self._up1: Layer
        self._up2: Layer
        self._last: Layer
        if plain:
            self._up1, self._up2 = plainly_enlarging(net.deconv1), plainly_enlarging(net.deconv2)
            self._last = plainly_last(net.deconv3)
        else:
            self._up1 = enlarging(net.deconv1, dtype=rest, fold=False)
            self._up2 = enlarging(net.deconv2, dtype=rest, fold=True)
            self._last = last(net.deconv3, dtype=rest)
        self._is_plain = plain

    def style(
        self,
        source: PixelSource,
        put: Callable[[int, Tensor], None],
        plan: BandPlan,
        *,
        folder: Path | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Style a picture.

        Args:
            source: At least 8 pixels a side; its rows may be tensors on the net's device, too.
            put: Is called with the first row and the rows ``(n, W', 3)`` of each band of the result, float32, about
                0-255, from the top down; height and width are those of the picture, rounded up to a multiple of four.
            plan: What is kept, and how tall bands are.
            folder: For files, where the plan wants some.
            on_progress: Is told what part is done, 0 to 1.

        Raises:
            OutputError: the disk has not enough space.
        """
        net, kept = self._net, plan.kept
        # The plain layers enlarge maps as such, which takes up to twice as much a row (measured).
        band_rows = max(1, plan.band_rows // 2) if self._is_plain else plan.band_rows
        bands = _Bands(band_rows, on_progress, recomputes=kept)
        memory = MapStore(device=self.device)
        with MapStore(device=self.device, folder=folder if kept is Kept.ON_DISK else None) as store:
            picture = _Pixels(source, device=self.device)
            full = memory if kept is Kept.ALL else None
            half = memory if kept <= Kept.HALF_SIZE else None
            first = _normed(self._conv1, picture, net.in1, full)
            first.measure(bands.over(first.height, scale=4, work="conv1"))
            second = _normed(self._conv2, first, net.in2, half)
            second.measure(bands.over(second.height, scale=2, work="conv2"))
            if half is not None:
                first.kept = None
            middle = self._middle(second, store, bands)
            middle.finish(band_rows)
            del first, second
            up1 = _normed(self._up1, middle, net.in4, half)
            up1.measure(bands.over(up1.height, scale=2, work="deconv1"))
            if half is not None:
                middle.forget()
            up2 = _normed(self._up2, up1, net.in5, full)
            scale, pixels = (4, 1) if self._is_plain else (2, 2)
            up2.measure(bands.over(up2.height, scale=scale, work="deconv2"))
            for top, bottom in bands.over(up2.height, scale=scale, work="deconv3"):
                rows_HWC = self._last.rows(up2, top, bottom)
                put(pixels * top, (rows_HWC if self._is_plain else _unfolded(rows_HWC)).float())

    def _middle(self, second: Normed, store: MapStore, bands: _Bands) -> _Trunk:
        net = self._net
        height, width = self._conv3.output_size(second)
        shape, dtype = (height, width, self._conv3.channels), self._conv3.dtype
        trunk = _Trunk(store.new(shape, dtype=dtype), store.new(shape, dtype=dtype), shape, device=self.device)
        third = Normed(layer=self._conv3, before=second, norm=net.in3, kept=trunk.features)
        third.measure(bands.over(height, scale=1, work="conv3"))
        trunk.begin(third.affine)
        for conv1, conv2, block in self._blocks:
            inner = trunk.convolve_features(conv1, bands.over(height, scale=1, work="res"), block.in1)
            trunk.convolve_raw(conv2, inner, bands.over(height, scale=1, work="res"), block.in2)
        return trunk


class _Trunk:
    """The quarter-size maps between the ends: features, and the raw output of the layer that runs.

    Both layers of a block write their raw output over what they do not need any more, so two maps are enough.
    """

    def __init__(
        self, features: FeatureMap, raw: FeatureMap, shape_HWC: tuple[int, int, int], *, device: torch.device
    ) -> None:
        self.features: FeatureMap | None = features
        self._raw: FeatureMap | None = raw
        self.height, self.width, self.channels = shape_HWC
        self.device = device
        self._pending: Callable[[int, int], Tensor] | None = None
        self._updated = 0

    def fill(self, out_HWC: Tensor, top: int, bottom: int) -> None:
        """See `Features.fill`."""
        self.update(bottom)
        assert self.features is not None
        out_HWC.copy_(self.features.rows(top, bottom))

    def begin(self, affine: _Affine) -> None:
        """Turn what lies there from a raw map into features, as they are asked for."""

        def normalised(top: int, bottom: int) -> Tensor:
            assert self.features is not None
            raw_HWC = self.features.rows(top, bottom)
            return scaled(raw_HWC, affine, torch.empty_like(raw_HWC)).relu_()

        self._pending, self._updated = normalised, 0

    def update(self, bottom: int) -> None:
        """Bring the features up to date, as far as `bottom`."""
        if self._pending is None or bottom <= self._updated:
            return
        assert self.features is not None
        self.features.put(self._updated, self._pending(self._updated, bottom))
        self._updated = bottom

    def convolve_features(
        self, layer: Layer, bands: Iterator[tuple[int, int]], norm: torch.nn.InstanceNorm2d
    ) -> _Affine:
        """Run a block's first layer; returns its norm."""
        moments = Moments(self.channels, device=self.device)
        assert self._raw is not None
        for top, bottom in bands:
            raw_HWC = layer.rows(self, top, bottom)
            moments.add(raw_HWC.view(-1, self.channels))
            self._raw.put(top, raw_HWC)
        return affine_of(moments, norm)

    def convolve_raw(
        self, layer: Layer, inner: _Affine, bands: Iterator[tuple[int, int]], norm: torch.nn.InstanceNorm2d
    ) -> None:
        """Run a block's second layer, and have its output added to the features as they are asked for."""
        moments = Moments(self.channels, device=self.device)
        assert self._raw is not None
        before = _Overwritten(self._raw, inner, (self.height, self.width, self.channels), device=self.device)
        for top, bottom in bands:
            raw_HWC = layer.rows(before, top, bottom)
            before.keep_row(bottom - 1)
            moments.add(raw_HWC.view(-1, self.channels))
            self._raw.put(top, raw_HWC)
        affine = affine_of(moments, norm)

        def added(top: int, bottom: int) -> Tensor:
            assert self.features is not None and self._raw is not None  # noqa: PT018 -- neither is forgotten yet
            raw_HWC = self._raw.rows(top, bottom)
            return scaled(raw_HWC, affine, torch.empty_like(raw_HWC)).add_(self.features.rows(top, bottom))

        self._pending, self._updated = added, 0

    def finish(self, band_rows: int) -> None:
        """Bring all features up to date; nothing will be convolved here any more."""
        for bottom in range(band_rows, self.height + band_rows, band_rows):
            self.update(min(bottom, self.height))
        self._raw = self._pending = None

    def forget(self) -> None:
        """Free the features; they will not be asked for any more."""
        self.features = None


class _Overwritten:
    """A raw map that is read while its rows are overwritten: the row above those that are read was kept before."""

    def __init__(
        self, raw: FeatureMap, affine: _Affine, shape_HWC: tuple[int, int, int], *, device: torch.device
    ) -> None:
        self._raw, self._affine = raw, affine
        self.height, self.width, self.channels = shape_HWC
        self.device = device
        self._row_1WC: Tensor | None = None
        self._row = -1

    def keep_row(self, row: int) -> None:
        """Copy a row that is about to be overwritten and will be asked for again."""
        self._row_1WC, self._row = self._raw.rows(row, row + 1).clone(), row

    def fill(self, out_HWC: Tensor, top: int, bottom: int) -> None:
        """See `Features.fill`."""
        if top == self._row and self._row_1WC is not None:
            scaled(self._row_1WC, self._affine, out_HWC[:1])
            scaled(self._raw.rows(top + 1, bottom), self._affine, out_HWC[1:])
        else:
            scaled(self._raw.rows(top, bottom), self._affine, out_HWC)
        out_HWC.relu_()


class _Pixels:
    """A picture as features."""

    channels = 3

    def __init__(self, source: PixelSource, *, device: torch.device) -> None:
        self._source = source
        self.height, self.width, self.device = source.height, source.width, device

    def fill(self, out_HWC: Tensor, top: int, bottom: int) -> None:
        """See `Features.fill`."""
        rows_HW3: Any = self._source.rows(top, bottom)
        if not isinstance(rows_HW3, Tensor):
            rows_HW3 = torch.from_numpy(np.require(rows_HW3, requirements=["C", "W"])).to(self.device)
        out_HWC.copy_(rows_HW3)


class _Bands:
    """The bands of each layer, and how much is done when each is."""

    def __init__(self, band_rows: int, on_progress: Callable[[float], None] | None, *, recomputes: Kept) -> None:
        self._band_rows, self._on_progress = band_rows, on_progress
        work = dict(_WORK)
        if recomputes >= Kept.HALF_SIZE:
            work["conv2"] += work["conv1"]
            work["deconv3"] += work["deconv2"]
        if recomputes >= Kept.QUARTER_SIZE:
            work["conv3"] += work["conv2"]
            work["deconv2"] += work["deconv1"]
            work["deconv3"] += work["deconv1"]
        self._work = work
        self._tidies = recomputes is not Kept.ALL
        self._all = sum(work.values()) + 9 * work["res"]
        self._done = 0.0

    def over(self, height: int, *, scale: int, work: str) -> Iterator[tuple[int, int]]:
        """Yield the first row and the one after the last of each band.

        Args:
            height: Of the map.
            scale: How many times larger than the quarter-size maps it is.
            work: The layer.
        """
        rows = scale * self._band_rows
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            yield top, bottom
            self._done += self._work[work] * (bottom - top) / height
            if self._on_progress is not None:
                self._on_progress(min(1.0, self._done / self._all))
        if self._tidies:  # the next layer's buffers have other sizes, and would come on top of what lies about
            give_back()


def _unfolded(rows_HWC: Tensor) -> Tensor:
    return unfolded(rows_HWC.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


def _normed(
    layer: Layer, before: Normed | _Pixels | _Trunk, norm: torch.nn.InstanceNorm2d, store: MapStore | None
) -> Normed:
    """Make a layer's output, kept in `store` or computed again each time."""
    made = Normed(layer=layer, before=before, norm=norm, kept=None)
    if store is not None:
        made.kept = store.new((made.height, made.width, made.channels), dtype=layer.dtype)
    return made
