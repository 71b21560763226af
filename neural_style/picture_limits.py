"""Which files can be decoded in bands, with the very pixels that `images.load_image` gives, and whose headers lie."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageFile

from .errors import PictureError
from .picture_headers import is_sequential_jpeg, png_bits
from .tiff_header import BEST_RATIOS, FAX, JPEG, YCBCR, TiffHeader

_LONGEST_SIDE_PX = 10_000_000  # a row and what is made of it stay in memory; libvips has a limit of its own
_LARGEST_BLOCK_BYTES = 32 * 1024**2  # strips and tiles are decoded whole, and libtiff takes 50 MiB at most
_LARGEST_TILE_ROW_BYTES = 16 * 1024**2  # libvips keeps two
_DEFLATE_AT_BEST = 1032  # to one: 258 bytes in two bits (RFC 1951)
_JPEG_PX_A_BYTE = 8 * 64  # a block of 8 x 8 pixels takes a bit at least

# How Pillow names the pixels of a file, but for the order of bytes, and the channels that libvips makes of them; such
# as are less exactly the same there (premultiplied ones, Lab, signed ones) are left out.
_GREY, _COLOUR = (1, 2), (3, 4)
CHANNELS_OF_PIXELS = {
    **dict.fromkeys(("1", "1;I", "1;R", "1;IR", "L", "L;I", "L;2", "L;4", "I;16"), _GREY),
    **dict.fromkeys(("P", "P;1", "P;2", "P;4", "RGB", "RGB;16"), _COLOUR),
    **dict.fromkeys(("LA", "LX", "LA;16"), (2,)),
    **dict.fromkeys(("RGBA", "RGBX", "RGBA;16", "RGBX;16", "CMYK", "CMYK;I", "CMYK;16"), (4,)),
}
_REMEDY = "save it as a TIFF or PNG of 8-bit RGB"


def pixels_of(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name for the pixels of a file that is not decoded yet, without the order of bytes."""
    if not image.tile:
        return ""
    arguments = image.tile[0][3]
    name = str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
    if name == "R" and len(image.tile) > 1:  # planes one after the other
        return image.mode
    return name[:-1] if name.endswith(("16L", "16B", "16N")) else name


def obstacle_to_bands(path: Path, image: ImageFile.ImageFile, tiff: TiffHeader | None) -> str | None:
    """Say why a picture cannot be read in bands, None where it can."""
    if image.format not in ("PNG", "JPEG", "TIFF"):
        return f"{image.format} pictures cannot be read in bands; {_REMEDY}"
    if max(image.size) > _LONGEST_SIDE_PX:
        return f"{image.width} x {image.height} pixels are too long a strip; cut it"
    if image.format == "PNG" and image.info.get("interlace"):
        return "an interlaced PNG cannot be read in bands; save it without interlacing"
    if image.format == "JPEG" and not is_sequential_jpeg(path):
        return "a progressive JPEG cannot be read in bands; save it as a baseline JPEG, TIFF or PNG"
    if pixels_of(image) not in CHANNELS_OF_PIXELS:
        return f"pixels of the kind {pixels_of(image) or image.mode!r} cannot be read in bands; {_REMEDY}"
    return None if tiff is None else _obstacle_of_tiff(tiff)


def has_wide_tiles(tiff: TiffHeader | None) -> bool:
    """Tell whether a row of tiles is too large to be held."""
    return (
        tiff is not None and tiff.is_tiled and tiff.width * tiff.block[1] * tiff.pixel_bytes > _LARGEST_TILE_ROW_BYTES
    )


def refuse_lie(path: Path, image: ImageFile.ImageFile, tiff: TiffHeader | None) -> None:
    """Refuse a header that declares more than its file can hold, before any space is taken for it.

    Raises:
        PictureError: it does.
    """
    num_bytes, num_pixels = path.stat().st_size, image.width * image.height
    is_possible = True
    if image.format == "PNG":
        row_bytes = 1 + -(-image.width * png_bits(path) // 8)
        is_possible = num_bytes * _DEFLATE_AT_BEST >= image.height * row_bytes
    elif image.format == "JPEG":
        is_possible = num_bytes * _JPEG_PX_A_BYTE >= num_pixels
    elif tiff is not None:
        is_possible = tiff.has_all_blocks(num_bytes)
        if tiff.compression in BEST_RATIOS:
            wanted_bytes = num_pixels * tiff.num_channels * tiff.bits // 8
            is_possible = is_possible and num_bytes * BEST_RATIOS[tiff.compression] >= wanted_bytes
    if not is_possible:
        raise PictureError(
            f"{path}: declares {image.width} x {image.height} pixels, and its {num_bytes} bytes cannot hold them; "
            "it may be truncated or damaged"
        )


def _obstacle_of_tiff(tiff: TiffHeader) -> str | None:
    if tiff.compression not in (*BEST_RATIOS, *FAX):
        return f"a TIFF of compression {tiff.compression} cannot be read in bands; {_REMEDY}"
    if tiff.photometric == YCBCR and tiff.compression != JPEG:
        return f"a TIFF of YCbCr pixels cannot be read in bands; {_REMEDY}"
    if not tiff.is_unsigned:
        return f"a TIFF of signed numbers or fractions cannot be read in bands; {_REMEDY}"
    if tiff.is_deep_from_white or (tiff.bits > 8 and tiff.in_planes):
        return f"a TIFF of {tiff.bits} bits in planes, or from white to black, cannot be read in bands; {_REMEDY}"
    # One strip without compression libtiff reads in pieces.
    is_one_piece = tiff.compression != 1 or tiff.is_tiled or len(tiff.offsets) > 1
    largest_bytes = max(tiff.block_bytes, *tiff.counts) if is_one_piece else 0
    if largest_bytes > _LARGEST_BLOCK_BYTES:
        largest_mb = largest_bytes // 10**6
        return f"a TIFF with strips or tiles of {largest_mb} MB cannot be read in bands; save it with smaller ones"
    return None
