"""Convolutions and matrix products by oneDNN, called as torch's own compiler calls it; plain torch on other devices.

Axes: B batch, C channels, H height, W width, N K M sides of matrices.

Plain torch brings a layer's weights into oneDNN's order in every call, which takes up to a fifth of a call's time for
one picture, and hands float32 products to MKL, which on AMD's processors runs at less than half of oneDNN's speed.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

_ONE = [1, 1]
_PACKED_SHAPES = 8
_NUM_SLICES = 16
_WORTH_A_COPY = 128  # columns from which oneDNN's product and the copy that it needs take less time than MKL's


class FrozenConv:
    """A convolution whose weights never change.

    Args:
        weight: Shape ``(out, in, height, width)``.
        bias: Shape ``(out,)``, or None.
        relu: Whether negative outputs become 0.
        stride: In both directions.
        border: Zeros around the map, pixels; None: so many that an odd kernel of stride 1 keeps the map's size.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        relu: bool = False,
        stride: int = 1,
        border: int | None = None,
    ) -> None:
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = bias
        self._border = [side // 2 if border is None else border for side in weight.shape[2:]]
        self._stride = [stride, stride]
        self._relu = relu
        self._packed: dict[torch.Size, Tensor] = {}

    def __call__(self, features_BCHW: Tensor) -> Tensor:
        """Convolve a batch in channels-last order; weights are packed at the first batch of each shape."""
        if not is_used(features_BCHW):
            out = nn.functional.conv2d(
                features_BCHW, self._weight, self._bias, stride=self._stride, padding=self._border
            )
            return out.relu_() if self._relu else out
        packed = self._packed.get(features_BCHW.shape)
        if packed is None:
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, self._border, self._stride, _ONE, 1, list(features_BCHW.shape)
            )
            if len(self._packed) == _PACKED_SHAPES:
                self._packed = {}
            self._packed[features_BCHW.shape] = packed
        attribute = "relu" if self._relu else "none"
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features_BCHW, packed, self._bias, self._border, self._stride, _ONE, 1, attribute, [], ""
        )
        return found


def products(left_BNK: Tensor, right_BKM: Tensor) -> Tensor:
    """Multiply matrices of one dtype, pair by pair; no gradient is recorded."""
    if left_BNK.dtype != torch.float32 or not is_used(left_BNK):
        return left_BNK @ right_BKM
    return _stacked([_linear(left, right.t()) for left, right in zip(left_BNK, right_BKM, strict=True)])


def add_products(sums_BNM: Tensor, left_BNK: Tensor, right_BKM: Tensor) -> None:
    """Multiply as `products` does, and add to what is there."""
    if left_BNK.dtype != torch.float32 or not is_used(left_BNK):
        sums_BNM.baddbmm_(left_BNK, right_BKM)
    else:
        sums_BNM += products(left_BNK, right_BKM)


def inner_products(values_BPC: Tensor) -> Tensor:
    """Multiply every column of a matrix with every other: ``(B, C, C)``, float32; no gradient is recorded.

    A product of bfloat16 is rounded to bfloat16, whatever it was summed in. So only slices are multiplied like that,
    and the sum over them is float32: its error is a quarter of a whole product's.
    """
    batch, num_rows, num_columns = values_BPC.shape
    is_long = num_rows >= _NUM_SLICES * num_columns  # else the slices' products are more than what they are made from
    if values_BPC.dtype != torch.float32 and is_long and num_rows % _NUM_SLICES == 0:
        slices_BSRC = values_BPC.view(batch, _NUM_SLICES, -1, num_columns)
        return (slices_BSRC.transpose(2, 3) @ slices_BSRC).sum(1, dtype=torch.float32)
    values_BPC = values_BPC.float()
    if num_columns < _WORTH_A_COPY or not is_used(values_BPC):
        return values_BPC.transpose(1, 2) @ values_BPC
    return _stacked([_linear(rows, rows) for rows in values_BPC.transpose(1, 2).contiguous()])


def _linear(left_NK: Tensor, right_MK: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left_NK, right_MK, None, "none", [], "")
    return found


def _stacked(matrices: list[Tensor]) -> Tensor:
    return matrices[0][None] if len(matrices) == 1 else torch.stack(matrices)


def is_used(tensor: Tensor) -> bool:
    """Tell whether oneDNN is there for such a tensor."""
    return tensor.device.type == "cpu" and _is_there()


@cache
def _is_there() -> bool:
    """The operations are not promised by torch's documentation, so a torch without them must do."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise", "_linear_pointwise")
    return bool(torch._C._has_mkldnn) and all(hasattr(torch.ops.mkldnn, name) for name in names)
