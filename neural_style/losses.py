"""What a styled picture is judged by, as plain functions of tensors.

Axes: B batch, C channels, H height, W width, P = H * W.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gram_matrix(features_BCHW: Tensor) -> Tensor:
    """Correlate every channel of a feature map with every other, ignoring position.

    Args:
        features_BCHW: floating point, any range. Nothing is copied when it lies in channels-last order.

    Returns:
        Shape ``(B, C, C)``, symmetric, float32 or wider. Divided by ``C * H * W``, so that layers of different size
        can share one style weight.

    Raises:
        ValueError: the tensor is not 4-D.

    Source: Johnson et al. 2016, arXiv:1603.08155, section 3.2.
    """
    if features_BCHW.ndim != 4:
        raise ValueError(f"features_BCHW: wanted 4 axes, found the shape {tuple(features_BCHW.shape)}")
    # The sum runs over a whole picture: bfloat16 would keep two of its digits.
    wide_BCHW = features_BCHW.to(torch.promote_types(features_BCHW.dtype, torch.float32))
    with torch.autocast(features_BCHW.device.type, enabled=False):
        return _flat(wide_BCHW) / wide_BCHW[0].numel()


def _flat(features_BCHW: Tensor) -> Tensor:
    if features_BCHW.is_contiguous(memory_format=torch.channels_last):
        features_BPC = features_BCHW.permute(0, 2, 3, 1).flatten(1, 2)
        return features_BPC.transpose(1, 2) @ features_BPC
    features_BCP = features_BCHW.flatten(2)
    return features_BCP @ features_BCP.transpose(1, 2)


def total_variation(image_BCHW: Tensor) -> Tensor:
    """Return how much neighbouring values differ: the mean over rows plus the mean over columns, in the picture's unit.

    A 0-d tensor, float32 or wider; a side of one pixel has no neighbours and counts as 0.
    """
    wide_BCHW = image_BCHW.to(torch.promote_types(image_BCHW.dtype, torch.float32))
    down = (wide_BCHW[:, :, 1:] - wide_BCHW[:, :, :-1]).abs()
    across = (wide_BCHW[..., 1:] - wide_BCHW[..., :-1]).abs()
    return sum((part.mean() for part in (down, across) if part.numel()), wide_BCHW.new_zeros(()))
