"""Every pixel mode and colour profile that pictures come in, brought to 8-bit RGB with or without alpha.

Works on decoded Pillow images; what Pillow or its colour engine raises on damaged data is left to the caller, except
for broken profiles, which are dropped.
"""

from __future__ import annotations

import functools
import io
import logging
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from .errors import PictureError, one_line

log = logging.getLogger("neural_style")

_GREY_16 = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_CHANNELS_OF_SPACE = {"RGB": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",), "LAB": ()}


def to_rgb(image: Image.Image, *, name: str) -> tuple[Image.Image, bytes | None]:
    """Convert a decoded image of any mode.

    An RGB profile is kept and the numbers stay as they are. Grey and CMYK numbers with a profile are converted to sRGB.
    Without a profile the conversion is plain (grey repeated, CMYK by Pillow).

    Args:
        image: already loaded.
        name: put in front of messages; one line.

    Returns:
        An image of mode RGB or RGBA, and the profile that its numbers belong to.

    Raises:
        PictureError: numbers without a known range.
    """
    opaque, alpha = _split_alpha(image, name=name)
    rgb, icc_profile = _managed(opaque, image.info.get("icc_profile"), name=name)
    if alpha is not None:
        rgb.putalpha(alpha)
    return rgb, icc_profile


def mend_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Bring the one colour that a PNG calls transparent to the scale of its pixels; only possible before they load.

    Pillow (13.0) scales pixels of 2, 4 and 3 x 16 bits to 8, but leaves this colour in the file's own scale: nothing,
    or the wrong pixels, would be transparent.
    """
    transparent = image.info.get("transparency")
    if image.format != "PNG" or transparent is None or not image.tile:
        return
    stored_as = image.tile[0][3]
    if stored_as in ("L;2", "L;4"):
        image.info["transparency"] = transparent * {"L;2": 85, "L;4": 17}[stored_as]
    elif stored_as == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def to_srgb(rgb: Image.Image, icc_profile: bytes) -> Image.Image:
    """Convert RGB numbers of one profile to sRGB, for files that cannot name a profile."""
    return _converted(rgb, _opened(icc_profile))


@functools.cache
def srgb_profile() -> bytes:
    """Return an sRGB profile that is the same in every run (the colour engine dates its own to this second)."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    date = bytes.fromhex("07d000010001000000000000")  # bytes 24 to 35 of an ICC header: 1 January 2000
    return profile[:24] + date + profile[36:]


def _split_alpha(image: Image.Image, *, name: str) -> tuple[Image.Image, Image.Image | None]:
    """Return an image of mode L, RGB or CMYK, and its alpha."""
    if image.mode == "F" or image.mode.startswith("F;"):
        raise PictureError(f"{name}: holds floating point pixels, whose range is unknown; save it as 8 or 16 bit first")
    if image.mode in _GREY_16:
        return _grey_8(image, name=name)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode == "LA" or (image.mode in ("1", "L") and image.has_transparency_data):
        grey, alpha = image.convert("LA").split()
        return grey, alpha
    if image.has_transparency_data:
        *channels, alpha = image.convert("RGBA").split()
        return Image.merge("RGB", channels), alpha
    if image.mode in ("1", "L"):
        return image.convert("L"), None
    return (image if image.mode == "CMYK" else image.convert("RGB")), None


def _grey_8(image: Image.Image, *, name: str) -> tuple[Image.Image, Image.Image | None]:
    """Bring 0-65535 to 0-255 to the nearest number (Pillow's own conversion clips at 255)."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise PictureError(
            f"{name}: holds pixels from {low} to {high}, wanted 0 to 65535; save it as 8 or 16 bit first"
        )
    grey = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey, None
    return grey, Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))


def _managed(opaque: Image.Image, icc_profile: bytes | None, *, name: str) -> tuple[Image.Image, bytes | None]:
    """Apply the rules for profiles; see `to_rgb`."""
    if not icc_profile:
        return opaque.convert("RGB"), None
    try:
        profile = _opened(icc_profile)
        space = str(profile.profile.xcolor_space).strip()
        if opaque.mode not in _CHANNELS_OF_SPACE.get(space, ()):
            log.warning("%s: its colour profile is for %s, its pixels are %s; dropped", name, space, opaque.mode)
            return opaque.convert("RGB"), None
        if space != "RGB":
            return _converted(opaque, profile), srgb_profile()
        _converted(Image.new("RGB", (1, 1)), profile)  # a profile that no program could use is not worth keeping
    except Exception as err:  # ImageCms.PyCMSError, OSError, TypeError...: as many as there are ways to be broken
        log.warning("%s: its colour profile is broken (%s); dropped", name, one_line(str(err)))
        return opaque.convert("RGB"), None
    return opaque.convert("RGB"), icc_profile


def _opened(icc_profile: bytes) -> Any:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))


def _converted(image: Image.Image, profile: Any) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(image, profile, _opened(srgb_profile()), outputMode="RGB")
    assert converted is not None  # only `inPlace=True` returns nothing
    return converted
