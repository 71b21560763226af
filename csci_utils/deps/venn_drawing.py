"""What a picture of sets is made of, in pixels, and how it is written: as an SVG or as a PNG's."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from csci_utils.deps.discs import Disc

if TYPE_CHECKING:
    from PIL.Image import Image

INK, FAINT = "#222222", "#777777"

MARGIN_PX = 28.0
APART_PX = 6.0
"""How far what is written stays from all else, at least."""

_LONGEST_NAME = 34
_TINT = 0.28
_STROKE_PX = 2.5
_BASELINE = 0.35  # of the size, below the middle of what is written
_PIXELS = 2  # a side, for each of the scene's: sharp on fine displays
_FINER = 3  # how much finer discs are drawn before they are brought to that, for smooth edges

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


def svg_of(scene: Scene) -> str:
    """Write a scene as SVG; it names no font of its own, and its words stay words."""
    box = scene.box
    left, top = box.x - box.width / 2, box.y - box.height / 2
    view = f"{left:.1f} {top:.1f} {box.width:.1f} {box.height:.1f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{box.width:.0f}" height="{box.height:.0f}" viewBox="{view}" '
        'role="img" font-family="Helvetica, Arial, sans-serif">',
        f"<desc>{escape(scene.description)}</desc>",
        f'<rect x="{left:.1f}" y="{top:.1f}" width="100%" height="100%" fill="#ffffff"/>',
    ]
    for disc, colour in scene.discs:
        where = f'cx="{disc.x:.1f}" cy="{disc.y:.1f}" r="{disc.r:.1f}"'
        lines.append(
            f'<circle {where} fill="{colour}" fill-opacity="{_TINT}" stroke="{colour}" stroke-width="{_STROKE_PX}"/>'
        )
    for line in scene.lines:
        (x1, y1), (x2, y2) = line.way
        lines.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{line.colour}"/>')
        lines.append(f'<circle cx="{x2:.1f}" cy="{y2:.1f}" r="2" fill="{line.colour}"/>')
    lines += [_svg_text(each) for each in scene.texts]
    return "\n".join([*lines, "</svg>", ""])


def image_of(scene: Scene) -> Image:
    """Draw a scene."""
    from PIL import ImageDraw

    box = scene.box
    size = (round(box.width * _PIXELS), round(box.height * _PIXELS))
    image = _discs(scene, size)
    left, top = box.x - box.width / 2, box.y - box.height / 2
    draw = ImageDraw.Draw(image)
    for line in scene.lines:
        (x1, y1), (x2, y2) = (((x - left) * _PIXELS, (y - top) * _PIXELS) for x, y in line.way)
        draw.line((x1, y1, x2, y2), fill=line.colour, width=_PIXELS)
        draw.circle((x2, y2), 2 * _PIXELS, fill=line.colour)
    for text in scene.texts:
        where = ((text.x - left) * _PIXELS, (text.y + _BASELINE * text.size_px - top) * _PIXELS)
        draw.text(where, text.words, fill=text.colour, font=font_of(text.size_px * _PIXELS), anchor="ms")
    return image


def _discs(scene: Scene, size: tuple[int, int]) -> Image:
    """Draw the discs over each other, each lets the ones below shine through."""
    from PIL import Image, ImageChops, ImageDraw

    box, scale = scene.box, _PIXELS * _FINER
    left, top = box.x - box.width / 2, box.y - box.height / 2
    image = Image.new("RGB", size, "#ffffff")
    for disc, colour in scene.discs:
        middle = ((disc.x - left) * scale, (disc.y - top) * scale)
        tint, edge = (Image.new("L", (size[0] * _FINER, size[1] * _FINER)) for _ in range(2))
        ImageDraw.Draw(tint).circle(middle, disc.r * scale, fill=round(255 * _TINT))
        outer = disc.r + _STROKE_PX / 2
        ImageDraw.Draw(edge).circle(middle, outer * scale, outline=255, width=round(_STROKE_PX * scale))
        mask = ImageChops.lighter(tint, edge).resize(size, Image.Resampling.BOX)
        image.paste(Image.new("RGB", size, colour), mask=mask)
    return image


def _svg_text(text: Text) -> str:
    y = text.y + _BASELINE * text.size_px
    place = f'x="{text.x:.1f}" y="{y:.1f}" font-size="{text.size_px}" fill="{text.colour}" text-anchor="middle"'
    width = f'textLength="{text.box.width:.1f}" lengthAdjust="spacingAndGlyphs"'  # whatever font is at hand
    return f"<text {place} {width}>{escape(text.words)}</text>"
