"""One picture file becomes small ones for a page: upright, in sRGB, on white where it is transparent."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_style.contract import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

    from neural_style.picture_facts import PictureFacts

SMALL_PX, LARGE_PX = 320, 1024
"""Longest sides: of what stands in the grid, and of what is compared."""

_LOADERS = {"PNG": "pngload_source", "JPEG": "jpegload_source", "TIFF": "tiffload_source"}
_QUALITY = {SMALL_PX: 82, LARGE_PX: 88}


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A picture for a page.

    Attributes:
        width: Of the picture itself, upright, pixels.
        height: Likewise.
        jpegs: By their longest side. A picture that is no larger than the small one has no large one.
    """

    width: int
    height: int
    jpegs: dict[int, bytes]


def sides_of(width: int, height: int) -> tuple[int, ...]:
    """Return the sides in which a picture of this size is kept."""
    return (SMALL_PX, LARGE_PX) if max(width, height) > SMALL_PX else (SMALL_PX,)


def shrink(path: Path) -> Shrunk:
    """Read a picture and make small ones of it; threads may do so at the same time.

    Raises:
        PictureError: it cannot be read, or is too large to be decoded as a whole and cannot be read in bands.
        MemoryError: there is too little memory just now.
    """
    from neural_style.picture_facts import read_facts

    facts = read_facts(path)
    image = _decoded(path, facts)
    jpegs = {}
    for side in reversed(sides_of(facts.width, facts.height)):  # the small one is made of the large one
        image = _fitted(image, side)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY[side])
        jpegs[side] = buffer.getvalue()
    return Shrunk(width=facts.width, height=facts.height, jpegs=jpegs)


def _decoded(path: Path, facts: PictureFacts) -> Image.Image:
    """The pixels, in sRGB, at least as large as they are wanted."""
    from neural_style.images import decode_rgb, load_image

    if facts.width * facts.height > DEFAULT_MAX_PIXELS:
        return _decoded_in_bands(path, facts)
    if facts.has_alpha:
        picture = load_image(path)
        return _in_srgb(_fitted(_on_white(picture), LARGE_PX), picture.icc_profile)
    # A JPEG is decoded at a fraction of its size, and no further down than what is wanted of it.
    least_side_px = -(-LARGE_PX * min(facts.width, facts.height) // max(facts.width, facts.height))
    image = decode_rgb(path.read_bytes(), name=str(path), least_side_px=least_side_px)
    return _in_srgb(_fitted(image, LARGE_PX), facts.icc_profile)


def _decoded_in_bands(path: Path, facts: PictureFacts) -> Image.Image:
    """What no memory has to hold as a whole."""
    from PIL import Image

    from neural_style.errors import PictureError, one_line
    from neural_style.libvips import Course, Reader, pyvips

    if facts.obstacle is not None:
        raise PictureError(f"{path}: {facts.width} x {facts.height} pixels are too many to be shown: {facts.obstacle}")
    vips = pyvips()
    with path.open("rb") as file:
        handle = file.fileno()
        reader = Reader(
            lambda position, num_bytes: os.pread(handle, num_bytes, position),
            num_bytes=path.stat().st_size,
            course=Course(),
        )
        source = reader.new_source()
        try:
            # Not by `thumbnail_source`, which takes a truncated file for a whole one (libvips 8.18).
            loaded = getattr(vips.Image, _LOADERS[facts.format])(
                source, access="sequential", fail_on="error", **_loader_options(facts)
            )
            small = loaded.thumbnail_image(LARGE_PX, size="down", export_profile="srgb")
            small = small.colourspace("srgb").cast("uchar")
            small = small.flatten(background=255) if small.hasalpha() else small
            pixels = small.write_to_memory()
        except vips.Error as err:
            raise PictureError(f"{path}: cannot be read as a picture: {reader.fault or one_line(str(err))}") from err
    return Image.frombytes("RGB", (small.width, small.height), pixels)


def _loader_options(facts: PictureFacts) -> dict[str, int]:
    """A JPEG is decoded at a fraction of its size."""
    if facts.format != "JPEG":
        return {}
    return {
        "shrink": next(each for each in (8, 4, 2, 1) if max(facts.width, facts.height) >= each * LARGE_PX or each == 1)
    }


def _on_white(picture: Any) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(picture.rgb_HW3)
    if picture.alpha_HW is None:
        return image
    return Image.composite(image, Image.new("RGB", image.size, "white"), Image.fromarray(picture.alpha_HW))


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Shrink until the longest side has so many pixels; smaller pictures stay as they are."""
    from PIL import Image

    if max(image.size) <= side:
        return image
    ratio = side / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _in_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Apply a profile, so that a page needs none; one that is broken, or of other numbers, is passed over."""
    from neural_style import colour

    if not icc_profile:
        return image
    try:
        return colour.to_srgb(image, icc_profile)
    except Exception:  # as many as there are ways to be broken; grey and CMYK ones were applied while it was decoded
        return image
