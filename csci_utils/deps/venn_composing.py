"""A picture of sets put together: numbers in their regions, names beside their discs, what is too small in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from csci_utils.deps.discs import Disc, Region
from csci_utils.deps.errors import one_line
from csci_utils.deps.venn_drawing import (
    APART_PX,
    FAINT,
    INK,
    MARGIN_PX,
    Box,
    Line,
    Scene,
    Text,
    Way,
    short,
    text_width_px,
)

Held = TypeVar("Held")

COLOURS = ("#2f6db3", "#d9662b", "#2e8b57")
"""Of the discs in their order; told apart in grey, too, and by most who see fewer colours."""

_DRAWING_PX = (560.0, 420.0)
_LEAST_RADIUS_PX = 4.0
_NUMBER_SIZES_PX = (24, 20, 17, 14)
_NAME_PX, _TITLE_PX, _NOTE_PX = 17, 20, 13
_RING_PX = 5.0


def compose(names: Sequence[str], regions: Mapping[Region, int], discs: Sequence[Disc | None], *, title: str) -> Scene:
    """Put a picture together.

    Every region that holds names bears its number, beside it with a line to it where it is too small; one that is seen
    and holds none bears a 0. Names stand outside. What no disc can show is said below.

    Args:
        names: of the sets.
        regions: how many names each region holds.
        discs: from `arrange`.
        title: above it.
    """
    names = [short(one_line(each)) for each in names]  # a path may hold what neither XML nor a font takes
    placed = _scaled(discs)
    scene = Scene(discs=[(_ring(number, placed), COLOURS[number]) for number in placed])
    outside = Outside(list(placed.values()))
    spots = _spots(placed)
    within = {
        region for region, spot in spots.items() if _write_within(scene, number=regions.get(region, 0), spot=spot)
    }
    for region, num in sorted_regions(regions):
        if num and region in spots and region not in within:
            _write_beside(scene, outside, words=str(num), spot=spots[region])
    for which in placed:
        _write_name(scene, outside, name=names[which], regions=regions, which=which, placed=placed)
    small = [(region, num) for region, num in sorted_regions(regions) if num and region not in within]
    _write_frame(scene, one_line(title), _notes(names, small, placed))
    scene.description = "; ".join(f"{num} {spoken(region, names)}" for region, num in sorted_regions(regions))
    return scene


def sorted_regions(regions: Mapping[Region, Held]) -> list[tuple[Region, Held]]:
    """Give the regions in one order: those of one set first, then of two, then of three."""
    return sorted(regions.items(), key=lambda each: (len(each[0]), sorted(each[0])))


@dataclass(frozen=True)
class _Spot:
    """The best place in a region for its number: the middle of the largest circle that fits in."""

    x: float
    y: float
    clearance_px: float


def _scaled(discs: Sequence[Disc | None]) -> dict[int, Disc]:
    """Bring the discs that there are to the size of the drawing; one too small to be seen becomes a dot."""
    there = {number: each for number, each in enumerate(discs) if each is not None}
    if not there:
        return {}
    left, right = min(each.x - each.r for each in there.values()), max(each.x + each.r for each in there.values())
    top, bottom = min(each.y - each.r for each in there.values()), max(each.y + each.r for each in there.values())
    scale = min(_DRAWING_PX[0] / (right - left), _DRAWING_PX[1] / (bottom - top))
    return {
        number: Disc(each.x * scale, each.y * scale, max(each.r * scale, _LEAST_RADIUS_PX))
        for number, each in there.items()
    }


def _ring(number: int, placed: Mapping[int, Disc]) -> Disc:
    """Draw a disc that lies on an earlier one a little smaller, so that both are seen."""
    disc = placed[number]
    below = sum(
        1
        for other, each in placed.items()
        if other < number and math.dist((each.x, each.y, each.r), (disc.x, disc.y, disc.r)) < _RING_PX
    )
    return replace(disc, r=max(disc.r - below * _RING_PX, _LEAST_RADIUS_PX / 2))


def _spots(placed: Mapping[int, Disc]) -> dict[Region, _Spot]:
    """Find the best place in each region that is there to be seen, on a grid of each disc."""
    found: dict[Region, _Spot] = {}
    for disc in placed.values():
        steps = np.linspace(-1, 1, 121) * disc.r
        xs, ys = (axis.ravel() for axis in np.meshgrid(disc.x + steps, disc.y + steps))
        depths = {number: each.r - np.hypot(xs - each.x, ys - each.y) for number, each in placed.items()}
        clearance = np.min([np.abs(each) for each in depths.values()], axis=0)
        codes = sum((each > 0).astype(np.int64) << number for number, each in depths.items())
        for code in np.unique(codes):
            if code:
                best = int(np.argmax(np.where(codes == code, clearance, -1)))
                region = frozenset(number for number in placed if code >> number & 1)
                spot = _Spot(float(xs[best]), float(ys[best]), float(clearance[best]))
                if spot.clearance_px > max(found[region].clearance_px if region in found else 0.0, 0.5):
                    found[region] = spot
    return found


def _write_within(scene: Scene, *, number: int, spot: _Spot) -> bool:
    """Write a region's number inside if it is large enough, as large as it can be."""
    for size_px in _NUMBER_SIZES_PX:
        text = Text(words=str(number), x=spot.x, y=spot.y, size_px=size_px, colour=INK if number else FAINT)
        if math.hypot(text.box.width, text.box.height * 0.75) / 2 < spot.clearance_px:
            scene.texts.append(text)
            return True
    return False


def _write_beside(scene: Scene, outside: Outside, *, words: str, spot: _Spot) -> None:
    size_px = _NUMBER_SIZES_PX[-1]
    x, y = (sum(getattr(each, axis) for each in outside.discs) / len(outside.discs) for axis in ("x", "y"))
    box, way = outside.place(
        Disc(spot.x, spot.y, 0.0),
        width=text_width_px(words, size_px),
        height=size_px * 1.2,
        towards=math.atan2(spot.y - y, spot.x - x),
    )
    scene.texts.append(Text(words=words, x=box.x, y=box.y, size_px=size_px))
    scene.lines.append(Line(way=way))


def _write_name(
    scene: Scene, outside: Outside, *, name: str, regions: Mapping[Region, int], which: int, placed: Mapping[int, Disc]
) -> None:
    """Write the name of a set and how many names it has, with a line to its disc unless they touch."""
    total = sum(num for region, num in regions.items() if which in region)
    words, below = name, f"{total} in all"
    width = max(text_width_px(words, _NAME_PX), text_width_px(below, _NOTE_PX))
    height = _NAME_PX * 1.2 + _NOTE_PX * 1.3
    box, way = outside.place(placed[which], width=width, height=height, towards=_away(which, placed))
    top, bottom = box.y - height / 2 + _NAME_PX * 0.6, box.y + height / 2 - _NOTE_PX * 0.65
    scene.texts.append(Text(words=words, x=box.x, y=top, size_px=_NAME_PX, colour=COLOURS[which]))
    scene.texts.append(Text(words=below, x=box.x, y=bottom, size_px=_NOTE_PX, colour=FAINT))
    if math.dist(*way) > 2 * APART_PX:
        scene.lines.append(Line(way=way, colour=COLOURS[which]))


def _away(which: int, placed: Mapping[int, Disc]) -> float:
    """Give the direction in which a disc's name is best put: away from the others, else one of its own."""
    disc = placed[which]
    others = [each for number, each in placed.items() if number != which]
    dx = sum(disc.x - each.x for each in others)
    dy = sum(disc.y - each.y for each in others)
    if math.hypot(dx, dy) > disc.r / 10:
        return math.atan2(dy, dx)
    return math.radians((-150, -30, 90)[which])


def _notes(names: Sequence[str], small: Sequence[tuple[Region, int]], placed: Mapping[int, Disc]) -> Iterator[str]:
    if len(placed) == 3:
        yield "Areas are as near to the numbers as three circles can come."
    elif placed:
        yield "Areas are in proportion to the numbers."
    yield from (f"Small: {num} {spoken(region, names)}" for region, num in small)
    yield from (f"{name}: empty" for number, name in enumerate(names) if number not in placed)


def spoken(region: Region, names: Sequence[str]) -> str:
    """Say which names a region holds: those `only in a`, or `only in a and b`, or `in all`."""
    if len(region) == len(names):
        return "in all"
    return f"only in {' and '.join(names[each] for each in sorted(region))}"


def _write_frame(scene: Scene, title: str, notes: Iterator[str]) -> None:
    """Write the title above and the notes below all that there is."""
    drawn = scene.box if scene.discs else Box(0.0, 0.0, 0.0, 2 * MARGIN_PX)
    top, bottom = drawn.y - drawn.height / 2, drawn.y + drawn.height / 2
    scene.texts.append(Text(words=short(title, 60), x=drawn.x, y=top, size_px=_TITLE_PX))
    for number, words in enumerate(notes):
        y = bottom + number * _NOTE_PX * 1.5
        scene.texts.append(Text(words=words, x=drawn.x, y=y, size_px=_NOTE_PX, colour=FAINT))


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
