"""Two or three discs that overlap as sets do: where each lies so that areas are in proportion to numbers.

Regions are named by the sets that they belong to, `frozenset({0, 2})`: in the first and the third, not in the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

Region = frozenset[int]

_NUM_SAMPLES = 3000
_GAP = 0.12  # between discs that share nothing, of the smaller one's radius
_NESTED = 0.6  # how far a disc lies from the middle of the one that holds it, of what there is


@dataclass(frozen=True)
class Disc:
    """A disc; its area is the number of names in its set until it is scaled.

    Attributes:
        x: of its middle.
        y: the same, downwards.
        r: its radius.
    """

    x: float
    y: float
    r: float


def arrange(regions: Mapping[Region, int], num_sets: int) -> list[Disc | None]:
    """Place a disc for each set; None for an empty one.

    One and two discs are exact. Three are as near as discs can come: the sum over the regions of the squared
    differences of the roots of area and number is least, so that small regions count for something.

    Args:
        regions: how many names each region holds; what is left out holds none.
        num_sets: two or three.
    """
    totals = [sum(num for region, num in regions.items() if each in region) for each in range(num_sets)]
    present = [each for each in range(num_sets) if totals[each]]
    radii = [math.sqrt(totals[each] / math.pi) for each in present]
    apart = {
        (i, j): _distance(radii[i], radii[j], shared=_shared(regions, present[i], present[j]))
        for j in range(len(present))
        for i in range(j)
    }
    discs = _triangle(radii, apart)
    if len(discs) == 3:
        discs = _turned(_nearest(discs, regions))
    placed = dict(zip(present, discs, strict=True))
    return [placed.get(each) for each in range(num_sets)]


def areas(discs: Sequence[Disc]) -> dict[Region, float]:
    """Measure the regions of discs, all of them of some size, by points spread over each disc.

    A region is measured on the smallest of its discs, so that one of a few names is as sharp as one of thousands.
    """
    order = sorted(range(len(discs)), key=lambda each: discs[each].r)
    found = dict.fromkeys(_all_regions(len(discs)), 0.0)
    for rank, which in enumerate(order):
        disc = discs[which]
        xs, ys = disc.x + disc.r * _spread()[0], disc.y + disc.r * _spread()[1]
        inside = [np.hypot(xs - each.x, ys - each.y) <= each.r * (1 + 1e-9) for each in discs]
        codes = sum(hit.astype(np.int64) << number for number, hit in enumerate(inside))
        for smaller in order[:rank]:  # measured already, and finer
            codes = np.where(inside[smaller], 0, codes)
        share = math.pi * disc.r**2 / _NUM_SAMPLES
        for code, num in enumerate(np.bincount(codes)):
            if code and num:
                found[frozenset(each for each in range(len(discs)) if code >> each & 1)] += float(num) * share
    return found


def shared_area(r: float, s: float, *, distance: float) -> float:
    """Give the area that two discs share.

    Source: the two circular segments on either side of the common chord.
    """
    if distance >= r + s:
        return 0.0
    if distance <= abs(r - s):
        return math.pi * min(r, s) ** 2
    left = (distance**2 + r**2 - s**2) / (2 * distance)
    return _segment(r, left) + _segment(s, distance - left)


def _segment(r: float, to_chord: float) -> float:
    inner = min(max(to_chord, -r), r)
    return r**2 * math.acos(inner / r) - inner * math.sqrt(r**2 - inner**2)


def _distance(r: float, s: float, *, shared: float) -> float:
    """Find how far apart two discs must be to share an area, by halving; where that leaves room, a fair distance."""
    if shared <= 0:
        return r + s + _GAP * min(r, s)
    if shared >= math.pi * min(r, s) ** 2 * (1 - 1e-12):
        return _NESTED * abs(r - s)
    near, far = abs(r - s), r + s
    for _ in range(80):
        middle = (near + far) / 2
        near, far = (middle, far) if shared_area(r, s, distance=middle) > shared else (near, middle)
    return (near + far) / 2


def _shared(regions: Mapping[Region, int], one: int, other: int) -> int:
    return sum(num for region, num in regions.items() if {one, other} <= region)


def _triangle(radii: Sequence[float], apart: Mapping[tuple[int, int], float]) -> list[Disc]:
    """Lay the first two on a line and the third below it, as far from either as can be had."""
    discs = [Disc(0.0 if number == 0 else apart[0, 1], 0.0, r) for number, r in enumerate(radii[:2])]
    if len(radii) == 3:
        base, left, right = apart[0, 1], apart[0, 2], apart[1, 2]
        x = (base**2 + left**2 - right**2) / (2 * base) if base > 1e-9 * max(radii) else 0.0
        x = min(max(x, -left), left)
        discs.append(Disc(x, math.sqrt(max(left**2 - x**2, 0.0)), radii[2]))
    return discs


def _nearest(discs: Sequence[Disc], regions: Mapping[Region, int]) -> list[Disc]:
    """Move three discs until no small step brings the areas nearer to the numbers."""
    best = list(discs)
    error = _error(best, regions)
    step = max(each.r for each in discs) / 2
    finest = step / 200
    while step > finest:
        moved = False
        for candidate in _moves(best, step):
            if (tried := _error(candidate, regions)) < error * (1 - 1e-6):
                best, error, moved = candidate, tried, True
        step = step if moved else step / 2
    return best


def _moves(discs: Sequence[Disc], step: float) -> Iterator[list[Disc]]:
    for which in range(len(discs)):
        for dx, dy in ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)):
            moved = replace(discs[which], x=discs[which].x + dx, y=discs[which].y + dy)
            yield [moved if number == which else each for number, each in enumerate(discs)]


def _error(discs: Sequence[Disc], regions: Mapping[Region, int]) -> float:
    return sum((math.sqrt(area) - math.sqrt(regions.get(region, 0))) ** 2 for region, area in areas(discs).items())


def _turned(discs: Sequence[Disc]) -> list[Disc]:
    """Turn and mirror all together: the first on the left of the second, on one height, the third below."""
    first, second, third = discs
    angle = math.atan2(second.y - first.y, second.x - first.x)
    cos, sin = math.cos(-angle), math.sin(-angle)
    turned = [
        Disc(
            (each.x - first.x) * cos - (each.y - first.y) * sin,
            (each.x - first.x) * sin + (each.y - first.y) * cos,
            each.r,
        )
        for each in (first, second, third)
    ]
    return turned if turned[2].y >= 0 else [replace(each, y=-each.y) for each in turned]


def _all_regions(num_discs: int) -> Iterator[Region]:
    for code in range(1, 1 << num_discs):
        yield frozenset(each for each in range(num_discs) if code >> each & 1)


@cache
def _spread() -> tuple[Any, Any]:
    """Spread points evenly over the unit disc.

    Source: H. Vogel 1979, "A better way to construct the sunflower head".
    """
    numbers = np.arange(_NUM_SAMPLES) + 0.5
    radius, angle = np.sqrt(numbers / _NUM_SAMPLES), numbers * math.pi * (3 - math.sqrt(5))
    return radius * np.cos(angle), radius * np.sin(angle)
