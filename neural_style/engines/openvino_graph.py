"""The published net as an OpenVINO graph, made from plain arrays.

No convolution before a norm has a bias: the norm would take it out again. Norms compute what MVN does, and it is not
used: it adds up in float32 from one end to the other, which is 55 to 61 dB at 2000 x 3000 pixels. Sums of 4 x 4, of
8 x 8 of these, and of what is left err a hundred times less.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset1
from openvino import opset13 as ops

from .openvino_precision import name_as_kept
from .rewriting import doubled_kernel, enlarging_kernel

Weights = Mapping[str, NDArray[np.float32]]

NORMS_OF_BODY = ("in3", *(f"res{block}.in{norm}" for block in range(1, 6) for norm in (1, 2)), "in4", "in5")
"""All but the first two."""

_EPSILON = 1e-5
_SMALLEST_SIDE_PX = 8


class GraphBuilder:
    """Puts the net's layers together.

    Args:
        weights: the 62 arrays of the published net, at any width.
        by_mvn: norms that MVN is to compute, where less than float32 is wanted and there are not too many pixels.
        is_plain: builds the net as it was published, for pictures of one colour. Each map of such a picture is one
            number in each channel, and a norm divides by nearly nothing what differs from it. So the same products are
            added up in the same order for every pixel, and each map is measured from its first pixel: nothing differs.
    """

    def __init__(self, weights: Weights, *, by_mvn: Collection[str] = (), is_plain: bool = False) -> None:
        self._weights, self._by_mvn, self._is_plain = weights, by_mvn, is_plain

    def build(self) -> Any:
        """Return an `openvino.Model` for pictures ``(1, 3, H, W)``, 0-255, H and W from 8 up.

        Its output has H and W rounded up to a multiple of four, about 0-255. The layers at full and half size before
        the third convolution, and all norms that MVN does not compute, are named as those `openvino_precision` keeps.
        """
        side = ov.Dimension(_SMALLEST_SIDE_PX, -1)
        rgb_13HW = ops.parameter(ov.PartialShape([1, 3, side, side]), np.float32, name="rgb")
        features = ops.relu(self._normed(self._convolved(rgb_13HW, "conv1"), "in1"))
        features = ops.relu(self._normed(self._convolved(features, "conv2", stride=2), "in2"))
        name_as_kept(rgb_13HW, features)
        features = self._normed_and_cut(self._convolved(features, "conv3", stride=2), "in3")
        for name in ("res1", "res2", "res3", "res4", "res5"):
            inner = self._normed_and_cut(self._convolved(features, f"{name}.conv1"), f"{name}.in1")
            inner = self._normed(self._convolved(inner, f"{name}.conv2"), f"{name}.in2")
            features = ops.add(inner, features)
        for name, norm in (("deconv1", "in4"), ("deconv2", "in5")):
            features = self._normed_and_cut(self._enlarged(features, name), norm)
        return ov.Model([self._last(features)], [rgb_13HW], "net")

    def _convolved(self, features: Any, name: str, *, stride: int = 1) -> Any:
        kernel = self._weights[f"{name}.conv2d.weight"]
        return _convolution(_bordered(features, kernel.shape[-1] // 2), kernel, stride=stride)

    def _enlarged(self, features: Any, name: str) -> Any:
        if self._is_plain:
            return self._convolved(_twice_as_large(features), name)
        kernel = _constant(enlarging_kernel(self._weights[f"{name}.conv2d.weight"]))
        bordered = _bordered(features, 1, mode="edge")
        return ops.convolution_backprop_data(bordered, kernel, [2, 2], pads_begin=[3, 3], pads_end=[3, 3])

    def _last(self, features: Any) -> Any:
        weight, bias = self._weights["deconv3.conv2d.weight"], self._weights["deconv3.conv2d.bias"]
        bordered = _bordered(features, weight.shape[-1] // 2)
        if self._is_plain:
            return ops.add(_convolution(bordered, weight, stride=1), _a_channel(bias))
        out = _convolution(bordered, doubled_kernel(weight), stride=2)
        return ops.depth_to_space(ops.add(out, _a_channel(np.repeat(bias, 4))), "depth_first", 2)

    def _normed_and_cut(self, features: Any, name: str) -> Any:
        out = ops.relu(self._normed(features, name))
        if name not in self._by_mvn:
            name_as_kept(features, out)
        return out

    def _normed(self, features: Any, name: str) -> Any:
        gain, offset = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        if self._is_plain:
            features = _from_first_pixel(features)
        if name not in self._by_mvn:
            return _exactly_normed(features, gain, offset)
        normed = ops.mvn(features, _constant(np.array([2, 3])), True, _EPSILON, "inside_sqrt")
        return ops.add(ops.multiply(normed, _a_channel(gain)), _a_channel(offset))


def _constant(numbers: Any) -> Any:
    return ops.constant(np.ascontiguousarray(numbers))


def _a_channel(numbers: NDArray[np.float32]) -> Any:
    return _constant(numbers.reshape(1, -1, 1, 1))


def _bordered(features: Any, border_px: int, *, mode: str = "reflect") -> Any:
    borders = _constant(np.array([0, 0, border_px, border_px]))
    # The newer kind loses what `openvino_precision` marks.
    return opset1.pad(features, borders, borders, mode)


def _convolution(features: Any, kernel: NDArray[np.float32], *, stride: int) -> Any:
    return ops.convolution(features, _constant(kernel), [stride, stride], [0, 0], [0, 0], [1, 1])


def _twice_as_large(features: Any) -> Any:
    scales, axes = _constant(np.array([2, 2], np.float32)), _constant(np.array([2, 3]))
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return ops.interpolate(features, scales, "nearest", "scales", axes=axes, **modes)


def _from_first_pixel(features: Any) -> Any:
    start, stop, step, axes = (_constant(np.array(each)) for each in ([0, 0], [1, 1], [1, 1], [2, 3]))
    return ops.subtract(features, ops.slice(features, start, stop, step, axes))


def _exactly_normed(features: Any, gain: NDArray[np.float32], offset: NDArray[np.float32]) -> Any:
    """Add the norm, in operations that keep the marks of `openvino_precision` (-0.5 twice does so, -1 does not)."""
    width = len(gain)
    sides = ops.gather(ops.shape_of(features), _constant(np.array([2, 3])), _constant(np.array(0)))
    count = ops.convert(ops.reduce_prod(sides, _constant(np.array(0)), False), "f32")
    root = _power(count, -0.5)
    mean = _as_map(ops.multiply(ops.multiply(_total(features, width), root), root), width)
    squares = _total(ops.squared_difference(features, mean), width)
    squares = ops.add(squares, ops.multiply(count, _constant(np.float32(_EPSILON))))
    factor = ops.multiply(ops.multiply(_a_channel(gain), _power(count, 0.5)), _power(squares, -0.5))
    centred = ops.add(features, _as_map(mean, width, factor=-1))
    return ops.add(ops.multiply(centred, _as_map(factor, width)), _a_channel(offset))


def _power(numbers: Any, exponent: float) -> Any:
    return ops.power(numbers, _constant(np.float32(exponent)))


def _total(features: Any, width: int) -> Any:
    """Add up each channel, shape ``(1, C, 1, 1)``."""
    return ops.reduce_sum(_tiled(_tiled(features, width, 4), width, 8), _constant(np.array([2, 3])), True)


def _tiled(features: Any, width: int, side: int, *, factor: float = 1) -> Any:
    """Add up each square of so many pixels a side, beyond the border nothing, times a factor."""
    ones = _constant(np.full((width, 1, 1, side, side), factor, np.float32))
    return ops.group_convolution(features, ones, [side, side], [0, 0], [side - 1, side - 1], [1, 1])


def _as_map(numbers: Any, width: int, *, factor: float = 1) -> Any:
    """Return what came, or its multiple, from a convolution by one.

    What a convolution makes lies channels last, as the maps do. Of numbers that lie otherwise OpenVINO 2026.4 concludes
    that the map they are combined with had better lie so, too, and turns all maps round twice: 50 ms at 512 x 512.
    """
    return _tiled(numbers, width, 1, factor=factor)
