"""What a picture file says of itself, without decoding it, and whether it can be decoded in bands."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ImageFile

from . import colour, images
from .contract import LARGEST_PIXELS
from .errors import PictureTooLargeError
from .picture_headers import png_orientation
from .picture_limits import has_wide_tiles, obstacle_to_bands, pixels_of, refuse_lie
from .tiff_header import read_tiff_header


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
    except PictureTooLargeError as err:
        raise PictureTooLargeError(f"{path}: declares more than {max_pixels} pixels; shrink the picture") from err
    return facts


def can_be_banded(path: str | os.PathLike[str]) -> bool:
    """Tell whether `bands.decode_in_bands` can read a picture; errors as for `read_facts`."""
    return read_facts(path).obstacle is None


def _facts(path: Path, image: ImageFile.ImageFile) -> PictureFacts:
    num_frames = getattr(image, "n_frames", 1)
    tiff = read_tiff_header(image) if image.format == "TIFF" else None
    refuse_lie(path, image, tiff)
    colour.mend_transparent_colour(image)
    orientation = png_orientation(path) if image.format == "PNG" else images.orientation_of(image)
    # Of a TIFF on its side Pillow tells the upright size.
    stored = image.size if tiff is None else (tiff.width, tiff.height)
    width, height = stored[::-1] if 5 <= orientation <= 8 else stored
    return PictureFacts(
        format=image.format or "",
        width=width,
        height=height,
        stored_width=stored[0],
        stored_height=stored[1],
        orientation=orientation if orientation in range(1, 9) else 1,
        pixels=pixels_of(image),
        has_alpha=image.has_transparency_data,
        transparent=image.info.get("transparency"),
        icc_profile=image.info.get("icc_profile"),
        num_frames=num_frames,
        tile=tiff.block if tiff is not None and tiff.is_tiled else None,
        is_wide=has_wide_tiles(tiff),
        obstacle=obstacle_to_bands(path, image, tiff),
    )
