"""A painting and scenes drawn by code, so that a first style can be trained and shown without any download.

Pictures are ``(H, W, 3)`` uint8, sRGB. The same seed and size give the same picture with the same Pillow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Picture = NDArray[np.uint8]

# Night blues to lamp yellows: far apart in lightness and in hue, so that a style made of them is plain to see.
_PALETTE: tuple[Colour, ...] = (
    (18, 32, 74),
    (28, 66, 128),
    (46, 118, 170),
    (102, 176, 190),
    (214, 226, 196),
    (248, 206, 92),
    (232, 140, 48),
    (178, 58, 44),
)
# Of one layer of strokes: length, width, and how much of the picture they cover; later ones lie on top.
_LAYERS = ((0.16, 0.034, 2.2), (0.10, 0.020, 2.0), (0.065, 0.011, 1.1))
_STEPS = 12
_GRAIN = ((2, 5.0), (5, 7.0), (12, 6.0))
"""Of scenes: how far apart its grains are, pixels, and how strong they are, levels."""
_BRISTLES = 7


def draw_painting(seed: int = 1889, *, width_px: int = 512, height_px: int = 512) -> Picture:
    """Paint long curved brush strokes that follow a swirling field, in several layers.

    Args:
        seed: which painting.
        width_px: at least 32.
        height_px: at least 32.
    """
    rng = np.random.default_rng(seed)
    size = (height_px, width_px)
    angle, tone = _swirls(rng, size), _tones(rng, size)
    canvas = Image.fromarray(_coloured(tone))
    brush = ImageDraw.Draw(canvas)
    side_px = min(size)
    for length, width, cover in _LAYERS:
        length_px, stroke_px = length * side_px, max(width * side_px, 2.0)
        for _ in range(int(cover * height_px * width_px / (length_px * stroke_px))):
            at = rng.uniform((-length_px, -length_px), size)  # from outside, too, so that no border stays bare
            _stroke(brush, rng, _path(at, angle, length_px), tone=_at(tone, at), width_px=stroke_px)
    return np.asarray(canvas, dtype=np.uint8)


def draw_scene(seed: int = 1, *, width_px: int = 512, height_px: int = 384) -> Picture:
    """Draw a landscape: sky, sun, clouds, hills, water or fields, houses and trees, different with each seed.

    Args:
        seed: which scene.
        width_px: at least 32.
        height_px: at least 32.
    """
    rng = np.random.default_rng(seed)
    large = (2 * width_px, 2 * height_px)  # drawn at twice the size, which smooths the edges
    horizon_px = int(large[1] * rng.uniform(0.42, 0.62))
    scene = Image.fromarray(_gradient(rng, large))
    pen = ImageDraw.Draw(scene)
    _sun_and_clouds(pen, rng, large, horizon_px)
    for depth in range(3):
        _hills(pen, rng, large, horizon_px=horizon_px, depth=depth)
    wet = rng.random() < 0.5
    (_water if wet else _fields)(pen, rng, large, horizon_px)
    lowest = 0.15 if wet else 0.30  # of the height below the horizon; nothing stands in the water
    for _ in range(rng.integers(1, 4)):
        _house(pen, rng, large, floor_px=horizon_px + rng.uniform(0.10, lowest) * large[1])
    for _ in range(rng.integers(3, 9)):
        _tree(pen, rng, large, floor_px=horizon_px + rng.uniform(0.10, lowest) * large[1])
    return _grained(rng, scene.resize((width_px, height_px), Image.Resampling.LANCZOS))


# --- the painting


def _swirls(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the direction of the brush at each pixel, radians: a stream with some whirls in it."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / min(size)
    down, along = 0.25 * np.sin(5 * x + rng.uniform(0, 6)), np.ones_like(x)
    for _ in range(5):
        centre_y, centre_x = rng.uniform(0, height / min(size)), rng.uniform(0, width / min(size))
        reach, turn = rng.uniform(0.08, 0.22), rng.choice((-1, 1)) * rng.uniform(2.0, 3.5)
        strength = turn * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * reach**2)) / reach
        down, along = down + strength * (x - centre_x), along - strength * (y - centre_y)
    angle: NDArray[np.float64] = np.arctan2(down, along)
    return angle


def _tones(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the place in the palette at each pixel, 0-1: large areas of one colour with small ones in them."""
    field = 0.75 * _smooth(rng, size, cells=4) + 0.25 * _smooth(rng, size, cells=12)
    ranks = np.argsort(np.argsort(field, axis=None)).reshape(size)  # each colour has its share
    return np.asarray((ranks / ranks.size) ** 1.2)


def _smooth(rng: np.random.Generator, size: tuple[int, int], *, cells: int) -> NDArray[np.float64]:
    coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC), dtype=np.float64)


def _coloured(tone: NDArray[np.float64]) -> Picture:
    """Look tones (0-1) up in the palette, mixing neighbours."""
    places = np.linspace(0, 1, len(_PALETTE))
    channels = [np.interp(tone, places, [colour[channel] for colour in _PALETTE]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _path(at: NDArray[np.float64], angle: NDArray[np.float64], length_px: float) -> NDArray[np.float64]:
    """Follow the field from a place; points are (y, x)."""
    points = [at]
    for _ in range(_STEPS):
        direction = _at(angle, points[-1])
        points.append(points[-1] + length_px / _STEPS * np.array([math.sin(direction), math.cos(direction)]))
    return np.array(points)


def _at(field: NDArray[np.float64], place: NDArray[np.float64]) -> float:
    y, x = (int(min(max(value, 0), limit - 1)) for value, limit in zip(place, field.shape, strict=True))
    return float(field[y, x])


def _stroke(
    brush: ImageDraw.ImageDraw, rng: np.random.Generator, path: NDArray[np.float64], *, tone: float, width_px: float
) -> None:
    """Draw the bristles of one stroke beside each other, each of a slightly different colour."""
    tone = float(np.clip(tone + rng.normal(scale=0.06), 0, 1))
    along = np.gradient(path, axis=0)
    across = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    for place in np.linspace(-0.5, 0.5, _BRISTLES):
        taper = 1 - (2 * place) ** 2 * rng.uniform(0.05, 0.3)
        bristle = path[: max(int(len(path) * taper), 2)] + place * width_px * across[: max(int(len(path) * taper), 2)]
        shade = 1 + rng.normal(scale=0.07) + 0.10 * place  # lit from one side, as thick paint is
        colour = np.clip(_coloured(np.array(tone)) * shade, 0, 255).astype(int)
        brush.line([(x, y) for y, x in bristle], fill=_rgb(colour), width=max(round(width_px / _BRISTLES) + 1, 1))


def _rgb(colour: NDArray[Any]) -> Colour:
    red, green, blue = (int(min(max(value, 0), 255)) for value in colour)
    return red, green, blue


# --- the scene


def _gradient(rng: np.random.Generator, size_px: tuple[int, int]) -> Picture:
    """Draw the sky, from a deeper colour above to a lighter one below."""
    above, below = _near(rng, (90, 150, 220), 50), _near(rng, (235, 215, 190), 35)
    share = np.linspace(0, 1, size_px[1])[:, None, None] ** 0.8
    column = (1 - share) * np.array(above) + share * np.array(below)
    return np.broadcast_to(column, (size_px[1], size_px[0], 3)).astype(np.uint8)


def _grained(rng: np.random.Generator, scene: Image.Image) -> Picture:
    """Add a paper's grain: a net that sees a flat area has nothing there to hang a stroke on."""
    grain = np.zeros((scene.height, scene.width))
    for step_px, strength in _GRAIN:
        cells = rng.normal(size=(scene.height // step_px + 2, scene.width // step_px + 2)).astype(np.float32)
        grain += strength * np.asarray(Image.fromarray(cells).resize(scene.size, Image.Resampling.BICUBIC))
    return np.clip(np.asarray(scene, dtype=np.float64) + grain[..., None], 0, 255).astype(np.uint8)


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    return _rgb(np.array(colour) + rng.uniform(-spread, spread, 3))


def _sun_and_clouds(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, size_px: tuple[int, int], horizon_px: int
) -> None:
    width, _ = size_px
    x, y, radius = rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.75) * horizon_px, rng.uniform(0.03, 0.07) * width
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_near(rng, (252, 222, 130), 25))
    for _ in range(rng.integers(1, 5)):
        left, top = rng.uniform(0, width), rng.uniform(0.05, 0.7) * horizon_px
        white = _near(rng, (246, 244, 240), 8)
        for _ in range(6):
            dx, dy, radius = rng.uniform(0, 0.16) * width, rng.uniform(-0.01, 0.02) * width, rng.uniform(0.012, 0.035)
            box = (left + dx - 2 * radius * width, top + dy - radius * width)
            pen.ellipse((*box, box[0] + 4 * radius * width, box[1] + 2 * radius * width), fill=white)


def _hills(
    pen: ImageDraw.ImageDraw, rng: np.random.Generator, size_px: tuple[int, int], *, horizon_px: int, depth: int
) -> None:
    """Draw one ridge, nearer ones darker and greener."""
    width, height = size_px
    x = np.linspace(0, 1, 65)
    waves = (
        rng.uniform(0.2, 1) / n * np.sin(n * 6.28 * x * rng.uniform(0.5, 1) + rng.uniform(0, 6)) for n in (1, 2, 5)
    )
    ridge = np.asarray(horizon_px + height * (0.05 * depth - 0.06 + (0.07 - 0.015 * depth) * sum(waves)))
    colour = _near(rng, ((120, 140, 170), (96, 140, 110), (84, 128, 66))[depth], 25)
    pen.polygon([(0, height), *zip(x * width, ridge.tolist(), strict=True), (width, height)], fill=colour)


def _water(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size_px: tuple[int, int], horizon_px: int) -> None:
    width, height = size_px
    top = int(horizon_px + 0.14 * height)
    colour = _near(rng, (70, 120, 160), 30)
    pen.rectangle((0, top, width, height), fill=colour)
    for _ in range(90):
        x, y = rng.uniform(0, width), rng.uniform(top, height)
        length = rng.uniform(0.01, 0.10) * width
        light = _rgb(np.array(colour) + rng.uniform(-25, 60))
        pen.line((x, y, x + length, y), fill=light, width=max(height // 200, 1))


def _fields(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size_px: tuple[int, int], horizon_px: int) -> None:
    width, height = size_px
    top, vanish = horizon_px + 0.14 * height, rng.uniform(0.2, 0.8) * width
    edges = np.linspace(-1.2, 2.2, rng.integers(7, 16)) * width
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        colour = _near(rng, (168, 160, 80), 45)
        near, far = (left, right), (vanish + 0.25 * (left - vanish), vanish + 0.25 * (right - vanish))
        pen.polygon([(far[0], top), (far[1], top), (near[1], height), (near[0], height)], fill=colour)


def _house(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size_px: tuple[int, int], *, floor_px: float) -> None:
    width, height = size_px
    side = rng.uniform(0.08, 0.16) * height
    x, floor = rng.uniform(0.05, 0.85) * width, floor_px
    wall, roof = _near(rng, (232, 218, 196), 20), _near(rng, (170, 76, 58), 30)
    pen.rectangle((x, floor - side, x + 1.4 * side, floor), fill=wall)
    eaves = floor - side
    pen.polygon([(x - 0.1 * side, eaves), (x + 0.7 * side, eaves - 0.6 * side), (x + 1.5 * side, eaves)], fill=roof)
    for column in (0.2, 0.9):
        left, top = x + column * side, floor - 0.75 * side
        pen.rectangle((left, top, left + 0.3 * side, top + 0.35 * side), fill=_near(rng, (60, 70, 90), 15))


def _tree(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size_px: tuple[int, int], *, floor_px: float) -> None:
    width, height = size_px
    side = rng.uniform(0.08, 0.24) * height
    x, floor = rng.uniform(0, 1) * width, floor_px
    pen.rectangle((x - 0.04 * side, floor - 0.5 * side, x + 0.04 * side, floor), fill=_near(rng, (92, 68, 50), 15))
    leaves = np.array(_near(rng, (60, 112, 56), 30))
    for _ in range(14):
        dx, dy = rng.normal(scale=0.16, size=2) * side
        radius = rng.uniform(0.10, 0.20) * side
        centre = (x + dx, floor - 0.72 * side + dy)
        box = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
        pen.ellipse(box, fill=_rgb(leaves + rng.uniform(-22, 28)))
