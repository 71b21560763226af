"""Free places for words around discs, near what they are about, with a free way for a line to each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from csci_utils.deps.discs import Disc
from csci_utils.deps.venn_scene import APART_PX, Box, Way


class Outside:
    """Finds free places around what is drawn, with a free way for a line to each."""

    def __init__(self, discs: Sequence[Disc]) -> None:
        self.discs = discs
        self.boxes: list[Box] = []
        self.ways: list[Way] = []

    def place(self, disc: Disc, *, width: float, height: float, towards: float) -> tuple[Box, Way]:
        """Find the place nearest to a disc, if possible in the direction `towards`, and the way from it to the edge."""
        turns = sorted((2 * math.pi * step / 48 for step in range(48)), key=lambda turn: min(turn, 2 * math.pi - turn))
        for distance, turn in itertools.product(np.arange(APART_PX, 4000.0, 6.0), turns):
            dx, dy = math.cos(towards + turn), math.sin(towards + turn)
            x = disc.x + dx * (disc.r + float(distance) + width / 2)
            y = disc.y + dy * (disc.r + float(distance) + height / 2)
            box = Box(x, y, width, height)
            way = _way(box, disc)
            if self._is_free(box, way):
                break
        self.boxes.append(box)
        self.ways.append(way)
        return box, way

    def _is_free(self, box: Box, way: Way) -> bool:
        return (
            not any(map(box.meets, self.discs))
            and not any(map(box.overlaps, self.boxes))
            and not any(crosses(way, each) for each in self.boxes)
            and not any(crosses(each, box) for each in self.ways)
        )


def _way(box: Box, disc: Disc) -> Way:
    """Give the ends of a line from a box to the edge of a disc, or to its middle where that is a point."""
    start = box.nearest(disc.x, disc.y)
    share = disc.r / (math.dist(start, (disc.x, disc.y)) or 1.0)
    return start, (disc.x + (start[0] - disc.x) * share, disc.y + (start[1] - disc.y) * share)


def crosses(way: Way, box: Box) -> bool:
    """Tell whether a line comes closer to a box than is good to read."""
    (x1, y1), (x2, y2) = way
    steps = max(int(math.dist(*way) / 2), 1)
    points = ((x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps) for step in range(steps + 1))
    return any(abs(x - box.x) < box.width / 2 + 2 and abs(y - box.y) < box.height / 2 for x, y in points)
