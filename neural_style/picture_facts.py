"""What a picture file says of itself, without decoding it, and whether it can be decoded in bands."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ImageFile

from . import colour, images, picture_headers
from .contract import LARGEST_PIXELS
from .errors import PictureError, PictureTooLargeError

_LONGEST_SIDE_PX = 10_000_000  # a row and what is made of it stay in memory; libvips has a limit of its own
_LARGEST_BLOCK_BYTES = 32 * 1024**2  # of a TIFF: strips and tiles are decoded whole, and libtiff takes 50 MiB at most
_LARGEST_TILE_ROW_BYTES = 32 * 1024**2
_DEFLATE_AT_BEST = 1032  # to one (zlib's documentation, and RFC 1951: 258 bytes of a match in two bits)
_JPEG_PX_A_BYTE = 8 * 64  # a block of 8 x 8 pixels takes a bit at least, in each of the channels

# How Pillow names the pixels of a file, but for the order of bytes, and the channels that libvips makes of them; such
# as are less exactly the same there (premultiplied ones, Lab, signed ones) are left out.
_GREY, _COLOUR = (1, 2), (3, 4)
CHANNELS_OF_PIXELS = {
    **dict.fromkeys(("1", "1;I", "1;R", "1;IR", "L", "L;I", "L;2", "L;4", "I;16"), _GREY),
    **dict.fromkeys(("P", "P;1", "P;2", "P;4", "RGB", "RGB;16"), _COLOUR),
    **dict.fromkeys(("LA", "LX", "LA;16"), (2,)),
    **dict.fromkeys(("RGBA", "RGBX", "RGBA;16", "RGBX;16", "CMYK", "CMYK;I", "CMYK;16"), (4,)),
}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES = 256, 257, 258, 259, 262, 273, 277
_ROWS_PER_STRIP, _COUNTS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 278, 279, 284, 322, 323, 324
_TILE_COUNTS, _SAMPLE_FORMAT = 325, 339
_TIFF_JPEG = 7
_TIFF_COMPRESSIONS = (1, 2, 3, 4, 5, _TIFF_JPEG, 8, 32773, 32946)  # none, fax, LZW, JPEG, deflate, PackBits, deflate
_YCBCR = 6
_REMEDY = "save it as a TIFF or PNG of 8-bit RGB"


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What the header of a picture says.

    Attributes:
        format: by Pillow's name, such as ``"PNG"``.
        width: of the upright picture, pixels.
        height: of the upright picture, pixels.
        stored_width: as its rows lie in the file.
        stored_height: as its rows lie in the file.
        orientation: EXIF's, 1 to 8; 1 is upright.
        pixels: Pillow's name for how its pixels lie in the file, without the order of bytes, such as ``"RGB;16"``.
        has_alpha: some of it may be transparent.
        transparent: the one transparent colour of a PNG, in the scale that Pillow decodes to.
        icc_profile: as it lies in the file, or None.
        num_frames: at least 1; the first is the picture.
        tile: width and height of the tiles of a TIFF, or None.
        is_wide: a row of its tiles is too large to be held.
        obstacle: why it cannot be read in bands, as a part of a sentence, or None.
    """

    format: str
    width: int
    height: int
    stored_width: int
    stored_height: int
    orientation: int
    pixels: str
    has_alpha: bool
    transparent: Any
    icc_profile: bytes | None
    num_frames: int
    tile: tuple[int, int] | None
    is_wide: bool
    obstacle: str | None


def read_facts(path: str | os.PathLike[str], *, max_pixels: int = LARGEST_PIXELS) -> PictureFacts:
    """Read the header of a picture.

    Args:
        path: a picture file.
        max_pixels: refuse a picture that declares more.

    Raises:
        PictureTooLargeError: more than ``max_pixels``.
        PictureNotFoundError: no such file.
        PictureError: not a picture, or its header declares what the file cannot hold.
    """
    path = Path(path)
    try:
        with images.opened_picture(path, max_pixels=max_pixels) as image:
            facts = _facts(path, image)
            _refuse_lie(path, image)
    except PictureTooLargeError as err:
        raise PictureTooLargeError(f"{path}: declares more than {max_pixels} pixels; shrink the picture") from err
    return facts


def can_be_banded(path: str | os.PathLike[str]) -> bool:
    """Tell whether `bands.decode_in_bands` can read a picture; errors as for `read_facts`."""
    return read_facts(path).obstacle is None


def _facts(path: Path, image: ImageFile.ImageFile) -> PictureFacts:
    num_frames = getattr(image, "n_frames", 1)
    colour.mend_transparent_colour(image)
    orientation = picture_headers.png_orientation(path) if image.format == "PNG" else images.orientation_of(image)
    is_swapped = 5 <= orientation <= 8
    tags = _tags(image)
    tile = (int(tags[_TILE_WIDTH]), int(tags[_TILE_HEIGHT])) if _TILE_OFFSETS in tags else None
    # Of a TIFF on its side Pillow tells the upright size.
    stored_width, stored_height = int(tags.get(_WIDTH, image.width)), int(tags.get(_HEIGHT, image.height))
    return PictureFacts(
        format=image.format or "",
        width=stored_height if is_swapped else stored_width,
        height=stored_width if is_swapped else stored_height,
        stored_width=stored_width,
        stored_height=stored_height,
        orientation=orientation if orientation in range(1, 9) else 1,
        pixels=_pixels(image),
        has_alpha=image.has_transparency_data,
        transparent=image.info.get("transparency"),
        icc_profile=image.info.get("icc_profile"),
        num_frames=num_frames,
        tile=tile,
        is_wide=tile is not None and stored_width * tile[1] * _pixel_bytes(tags) > _LARGEST_TILE_ROW_BYTES,
        obstacle=_obstacle(path, image, tags),
    )


def _pixels(image: ImageFile.ImageFile) -> str:
    if not image.tile:
        return ""
    arguments = image.tile[0][3]
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    name = str(raw)
    if name == "R" and len(image.tile) > 1:  # planes one after the other
        return image.mode
    return name[:-1] if name.endswith(("16L", "16B", "16N")) else name


def _tags(image: ImageFile.ImageFile) -> dict[int, Any]:
    found = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    return {} if found is None else {tag: found[tag] for tag in found}


def _obstacle(path: Path, image: ImageFile.ImageFile, tags: dict[int, Any]) -> str | None:
    """Say why a picture cannot be read in bands, None where it can."""
    if image.format not in ("PNG", "JPEG", "TIFF"):
        return f"{image.format} pictures cannot be read in bands; {_REMEDY}"
    if max(image.size) > _LONGEST_SIDE_PX:
        return f"{image.width} x {image.height} pixels are too long a strip; cut it"
    if image.format == "PNG" and image.info.get("interlace"):
        return "an interlaced PNG cannot be read in bands; save it without interlacing"
    if image.format == "JPEG" and not picture_headers.is_sequential_jpeg(path):
        return "a progressive JPEG cannot be read in bands; save it as a baseline JPEG, TIFF or PNG"
    if _pixels(image) not in CHANNELS_OF_PIXELS:
        return f"pixels of the kind {_pixels(image) or image.mode!r} cannot be read in bands; {_REMEDY}"
    return _obstacle_of_tiff(image, tags) if image.format == "TIFF" else None


def _obstacle_of_tiff(image: ImageFile.ImageFile, tags: dict[int, Any]) -> str | None:
    compression, bits = tags.get(_COMPRESSION, 1), _numbers(tags.get(_BITS, 1))
    if compression not in _TIFF_COMPRESSIONS:
        return f"a TIFF of compression {compression} cannot be read in bands; {_REMEDY}"
    if tags.get(_PHOTOMETRIC) == _YCBCR and compression != _TIFF_JPEG:
        return f"a TIFF of YCbCr pixels cannot be read in bands; {_REMEDY}"
    if set(_numbers(tags.get(_SAMPLE_FORMAT, 1))) != {1}:
        return f"a TIFF of signed numbers or fractions cannot be read in bands; {_REMEDY}"
    if max(bits) > 8 and (tags.get(_PLANAR) == 2 or tags.get(_PHOTOMETRIC) == 0):
        return f"a TIFF of {max(bits)} bits in planes, or from white to black, cannot be read in bands; {_REMEDY}"
    largest_bytes = max(_numbers(tags.get(_TILE_COUNTS) or tags.get(_COUNTS) or 0))
    if _TILE_OFFSETS in tags:
        largest_bytes = max(largest_bytes, tags[_TILE_WIDTH] * tags[_TILE_HEIGHT] * _pixel_bytes(tags))
    if largest_bytes > _LARGEST_BLOCK_BYTES and (compression != 1 or _TILE_OFFSETS in tags):
        largest_mb = largest_bytes // 10**6
        return f"a TIFF with strips or tiles of {largest_mb} MB cannot be read in bands; save it with smaller ones"
    return None


def _pixel_bytes(tags: dict[int, Any]) -> int:
    return int(tags.get(_SAMPLES, 1)) * -(-max(_numbers(tags.get(_BITS, 1))) // 8)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)


def _refuse_lie(path: Path, image: ImageFile.ImageFile) -> None:
    """Refuse a header that declares far more than the file can hold, before any space is taken for it."""
    num_bytes = path.stat().st_size
    if image.format == "PNG":
        row_bytes = 1 + -(-image.width * picture_headers.png_bits(path) // 8)
        possible = num_bytes * _DEFLATE_AT_BEST >= image.height * row_bytes
    elif image.format == "JPEG":
        possible = num_bytes * _JPEG_PX_A_BYTE >= image.width * image.height
    else:
        possible = image.format != "TIFF" or _has_all_blocks(_tags(image), num_bytes)
    if not possible:
        raise PictureError(
            f"{path}: declares {image.width} x {image.height} pixels, and its {num_bytes} bytes cannot hold them; "
            "it may be truncated or damaged"
        )


def _has_all_blocks(tags: dict[int, Any], num_bytes: int) -> bool:
    is_tiled = _TILE_OFFSETS in tags
    offsets = _numbers(tags.get(_TILE_OFFSETS if is_tiled else _OFFSETS, ()))
    counts = _numbers(tags.get(_TILE_COUNTS if is_tiled else _COUNTS, ()))
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    block_width, block_height = (
        (int(tags[_TILE_WIDTH]), int(tags[_TILE_HEIGHT]))
        if is_tiled
        else (width, int(tags.get(_ROWS_PER_STRIP, height)))
    )
    wanted = -(-width // max(1, block_width)) * -(-height // max(1, block_height))
    if tags.get(_PLANAR) == 2:
        wanted *= int(tags.get(_SAMPLES, 1))
    if len(offsets) < wanted or (counts and len(counts) < wanted):
        return False
    return all(offset + count <= num_bytes for offset, count in zip(offsets, counts, strict=False))
