"""What a picture of sets is made of, in pixels: discs, words, and lines between them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

from csci_utils.deps.discs import Disc

INK, FAINT = "#222222", "#777777"

MARGIN_PX = 28.0
APART_PX = 6.0
"""How far what is written stays from all else, at least."""

_LONGEST_NAME = 34

Way = tuple[tuple[float, float], tuple[float, float]]
"""The two ends of a line."""


@dataclass(frozen=True)
class Box:
    """A rectangle around its middle."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Tell whether another one comes closer than is good to read."""
        return (
            abs(self.x - other.x) < (self.width + other.width) / 2 + APART_PX
            and abs(self.y - other.y) < (self.height + other.height) / 2 + APART_PX
        )

    def meets(self, disc: Disc) -> bool:
        """Tell whether a disc comes closer than is good to read."""
        return math.dist(self.nearest(disc.x, disc.y), (disc.x, disc.y)) < disc.r + APART_PX

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Give the point of the box that is nearest to another one."""
        half_width, half_height = self.width / 2, self.height / 2
        return (
            min(max(x, self.x - half_width), self.x + half_width),
            min(max(y, self.y - half_height), self.y + half_height),
        )


@dataclass(frozen=True, kw_only=True)
class Text:
    """Words on one line, around a middle."""

    words: str
    x: float
    y: float
    size_px: int
    colour: str = INK

    @property
    def box(self) -> Box:
        """What they cover."""
        return Box(self.x, self.y, text_width_px(self.words, self.size_px), self.size_px * 1.2)


@dataclass(frozen=True, kw_only=True)
class Line:
    """From what is written to what it is about."""

    way: Way
    colour: str = FAINT


@dataclass(kw_only=True)
class Scene:
    """All of a picture. The origin is wherever `box` says.

    Attributes:
        discs: with their colours, the first at the back.
        texts: the title among them.
        lines: drawn below the texts.
        description: the same in words.
    """

    discs: list[tuple[Disc, str]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    description: str = ""

    @property
    def box(self) -> Box:
        """What it covers, with a margin."""
        boxes = [each.box for each in self.texts]
        boxes += [Box(disc.x, disc.y, 2 * disc.r, 2 * disc.r) for disc, _ in self.discs]
        left, right = (pick(each.x + sign * each.width / 2 for each in boxes) for pick, sign in ((min, -1), (max, 1)))
        top, bottom = (pick(each.y + sign * each.height / 2 for each in boxes) for pick, sign in ((min, -1), (max, 1)))
        width, height = right - left + 2 * MARGIN_PX, bottom - top + 2 * MARGIN_PX
        return Box((left + right) / 2, (top + bottom) / 2, width, height)


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """Leave the middle of a long name out: of a path both ends tell something."""
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2 - 1]}…{name[-(longest - longest // 2) :]}"


@functools.cache
def font_of(size_px: int) -> Any:
    """Give Pillow's own font, which needs no file."""
    from PIL import ImageFont

    return ImageFont.load_default(size_px)


def text_width_px(words: str, size_px: int) -> float:
    """Measure words in that font; what draws an SVG has another one of about that width."""
    return float(font_of(size_px).getlength(words))
