"""The parts of a painting, as a judge sees them: a sky is compared with what is sky-like in it, not with all of it.

Axes: N parts, B batch, C channels, H height, W width. Ranges: ``_01`` is 0-1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from .losses import gram_matrix
from .random_features import RandomFeatures

_MAX_ALONG = 5
"""Parts along a side at most; they overlap where there is not room for as many."""
_ALIGNED_PX = 4
"""Parts begin at multiples of what one place of the judge's last layer covers."""
_SMALL = 8
"""How much smaller pictures are when their contrast is compared: strokes are not to count."""


class StylePatches:
    """Square parts of a painting.

    The judge sees the painting once, as a whole, and what it saw is cut: so a part has no borders of its own.

    Args:
        judge: what sees.
        painting_01_13HW: 16 pixels a side or more.
        side_px: of a part, at most; the painting's own side is another limit.

    Attributes:
        taps: of each layer, all parts, ``(N, C, H, W)``.
        grams: of each layer, all parts, ``(N, C, C)``.
    """

    @torch.no_grad()
    def __init__(self, judge: RandomFeatures, painting_01_13HW: Tensor, *, side_px: int) -> None:
        height_px, width_px = painting_01_13HW.shape[2:]
        side_px = min(side_px, height_px, width_px) // _ALIGNED_PX * _ALIGNED_PX
        places = [
            (top, left) for top in _places(height_px, side_px=side_px) for left in _places(width_px, side_px=side_px)
        ]
        seen = judge(painting_01_13HW)
        self.taps = [_cut(tap, places, side_px=side_px, every_px=round(height_px / tap.shape[2])) for tap in seen]
        self.grams = [gram_matrix(tap) for tap in self.taps]
        self._looks_NL = _look(_cut(painting_01_13HW, places, side_px=side_px, every_px=1))

    def nearest(self, wanted_01_B3HW: Tensor) -> Tensor:
        """Return for each picture the number of the part that is most like it in colour and contrast: ``(B,)``."""
        # Not cdist: its way over products is another one for other sizes of a batch.
        apart_BNL = (_look(wanted_01_B3HW)[:, None] - self._looks_NL).square()
        return apart_BNL.sum(dim=2).argmin(dim=1)


def _places(length_px: int, *, side_px: int) -> list[int]:
    """Return where parts begin along a side: evenly from its beginning to its end, overlapping by half or more."""
    room_px = length_px - side_px
    number = min(_MAX_ALONG, 1 + -(-2 * room_px // side_px))
    return sorted({room_px * each // max(number - 1, 1) // _ALIGNED_PX * _ALIGNED_PX for each in range(number)})


def _cut(picture_1CHW: Tensor, places: list[tuple[int, int]], *, side_px: int, every_px: int) -> Tensor:
    side = side_px // every_px
    parts = [
        picture_1CHW[0, :, top // every_px : top // every_px + side, left // every_px : left // every_px + side]
        for top, left in places
    ]
    return torch.stack(parts)


def _look(rgb_01_B3HW: Tensor) -> Tensor:
    """Return mean and deviation of each colour."""
    small_B3HW = F.avg_pool2d(rgb_01_B3HW, min(_SMALL, *rgb_01_B3HW.shape[2:]))
    return torch.cat([rgb_01_B3HW.mean(dim=(2, 3)), small_B3HW.std(dim=(2, 3), correction=0)], dim=1)
