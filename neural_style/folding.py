"""Maps whose neighbouring pixels lie together, and kernels for them: the published net's second half in less work.

Axes: B batch, C channels, H height, W width, O and I out and in channels, K side of a kernel.

Enlarging, then convolving 3x3, is four 2x2 convolutions of the small map. Their results, one after the other, are the
large map with four neighbouring pixels as one position of four times the channels ("folded"). The last layer takes it
like that: from 32 channels to 3 a 9x9 convolution takes three times as long as 5x5 from 128 to 12, which is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column of the four pixels of a folded position, in their order."""


def four_kernels(weight_OIKK: Tensor, merged_rows: Tensor) -> Tensor:
    """Turn a 3x3 kernel for the enlarged map into four 2x2 kernels for the small one: ``(4 O, I, 2, 2)``.

    Args:
        weight_OIKK: the kernel.
        merged_rows: `engines.rewriting.MERGED_ROWS` as a tensor of its dtype, where it is.
    """
    return torch.einsum("aur,bvs,oirs->aboiuv", merged_rows, merged_rows, weight_OIKK).flatten(0, 2)


def folded(features_BCHW: Tensor) -> Tensor:
    """Make one position of four pixels: their channels one after the other, row by row; in channels-last order."""
    batch, channels, height, width = features_BCHW.shape
    apart = features_BCHW.view(batch, channels, height // 2, 2, width // 2, 2)
    together = apart.permute(0, 2, 4, 3, 5, 1).reshape(batch, height // 2, width // 2, 4 * channels)
    return together.permute(0, 3, 1, 2)


def unfolded(folded_BCHW: Tensor) -> Tensor:
    """Take `folded` back; in channels-last order."""
    batch, channels, height, width = folded_BCHW.shape
    together = parts(folded_BCHW).transpose(2, 3).reshape(batch, 2 * height, 2 * width, channels // 4)
    return together.permute(0, 3, 1, 2)


def folded_both(weight_OIKK: Tensor) -> Tensor:
    """Arrange a kernel of odd size for folded input and output."""
    shifts = [(left, top) for top in (0, 1) for left in (0, 1)]
    return torch.cat([folded(functional.pad(weight_OIKK, [x, 1 - x, y, 1 - y])) for x, y in shifts])


def parts(folded_BCHW: Tensor) -> Tensor:
    """View a folded map as ``(B, H, W, 2, 2, C)``."""
    batch, channels, height, width = folded_BCHW.shape
    return folded_BCHW.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, channels // 4)


def whole(parts_BHW22C: Tensor) -> Tensor:
    """Take `parts` back."""
    return parts_BHW22C.flatten(3).permute(0, 3, 1, 2)


def mirrored(num_positions: int) -> Iterator[tuple[int, int, int, int]]:
    """Tell what a border of four reflected pixels, which are two folded positions, is filled with.

    Yields:
        For each row outside, by position in the map with its border and parity, the position and parity of the row
        that it mirrors, by position in the map without one.
    """
    last = 2 * num_positions - 1
    for at in (0, 1, num_positions + 2, num_positions + 3):
        for parity in (0, 1):
            row = 2 * (at - 2) + parity
            source = -row if row < 0 else 2 * last - row
            yield at, parity, source // 2, source % 2
