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


class FrozenConv:
    """A convolution of stride 1 whose weights never change, with a border of zeros.

    Args:
        weight: Shape ``(out, in, height, width)``, odd height and width.
        bias: Shape ``(out,)``, or None.
        relu: Whether negative outputs become 0.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> None:
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = bias
        self._border = [side // 2 for side in weight.shape[2:]]
        self._relu = relu
        self._packed: dict[torch.Size, Tensor] = {}

    def __call__(self, features_BCHW: Tensor) -> Tensor:
        """Convolve a batch in channels-last order; weights are packed at the first batch of each shape."""
        if not is_used(features_BCHW):
            out = nn.functional.conv2d(features_BCHW, self._weight, self._bias, padding=self._border)
            return out.relu_() if self._relu else out
        packed = self._packed.get(features_BCHW.shape)
        if packed is None:
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, self._border, _ONE, _ONE, 1, list(features_BCHW.shape)
            )
            self._packed = {features_BCHW.shape: packed}
        attribute = "relu" if self._relu else "none"
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features_BCHW, packed, self._bias, self._border, _ONE, _ONE, 1, attribute, [], ""
        )
        return found


def products(left_BNK: Tensor, right_BKM: Tensor) -> Tensor:
    """Multiply matrices of one dtype, pair by pair; no gradient is recorded."""
    if left_BNK.dtype != torch.float32 or not is_used(left_BNK):
        return left_BNK @ right_BKM
    pairs = zip(left_BNK, right_BKM, strict=True)
    found = [torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "") for left, right in pairs]
    return found[0][None] if len(found) == 1 else torch.stack(found)


def is_used(tensor: Tensor) -> bool:
    """Tell whether oneDNN is there for such a tensor."""
    return tensor.device.type == "cpu" and _is_there()


@cache
def _is_there() -> bool:
    """The operations are not promised by torch's documentation, so a torch without them must do."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise", "_linear_pointwise")
    return bool(torch._C._has_mkldnn) and all(hasattr(torch.ops.mkldnn, name) for name in names)
