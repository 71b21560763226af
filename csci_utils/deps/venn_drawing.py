"""A scene as an SVG or as pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from csci_utils.deps.venn_scene import Scene, Text, font_of

if TYPE_CHECKING:
    from PIL.Image import Image

_TINT = 0.28
_STROKE_PX = 2.5
_BASELINE = 0.35  # of the size, below the middle of what is written
_PIXELS = 2  # a side, for each of the scene's: sharp on fine displays
_FINER = 3  # how much finer discs are drawn before they are brought to that, for smooth edges


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
