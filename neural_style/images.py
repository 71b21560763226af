"""Pictures: files in and out, as numpy arrays. Everything a file can do to a program ends here, as one sentence.

Axes: H height, W width; 3 is red, green, blue.
"""

from __future__ import annotations

import io
import logging
import math
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from csci_utils.io import atomic_path

from . import colour
from .contract import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY, WRITABLE_SUFFIXES
from .errors import (
    NeuralStyleError,
    OutputError,
    PictureError,
    PictureNotFoundError,
    PictureTooLargeError,
    SettingError,
    one_line,
    output_error,
)
from .web_page import is_web_page

log = logging.getLogger("neural_style")

# Formats that are pixels and nothing else. Left out on purpose: EPS and WMF run a program, the rest nobody styles.
_READABLE = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF"),
    *("JPEG2000", "PPM", "TGA", "ICO", "PCX", "SGI", "QOI"),
)
_USUAL_MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")
"""What JPEG, PNG and GIF files begin with, and no others."""

_LONGEST_MARK = max(map(len, _USUAL_MARKS))
_FORMATS = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
_LONGEST_SIDE_PX = {"JPEG": 65500, "WEBP": 16383}
_WITHOUT_ALPHA = ("JPEG", "BMP")
_LIMITED_WHILE_LOADED = ("GIF", "ICO", "TIFF")  # Pillow looks at its limit again, for parts of them
_HEAD_BYTES = 512
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's limit and Python's warning filters belong to the whole process: one picture at a time sets them.
_pillow_settings = threading.RLock()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in memory, upright, with what its file said about transparency and colour.

    Attributes:
        rgb_HW3: 0-255.
        alpha_HW: 0 (transparent) to 255, or None for a picture without alpha.
        icc_profile: the profile that the numbers in `rgb_HW3` belong to; None means none was given.
    """

    rgb_HW3: NDArray[np.uint8]  # noqa: N815 - the axes
    alpha_HW: NDArray[np.uint8] | None = None  # noqa: N815 - the axes
    icc_profile: bytes | None = None

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.rgb_HW3.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.rgb_HW3.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.rgb_HW3, dtype=dtype, copy=copy)


def load_image(
    path: str | os.PathLike[str],
    *,
    max_side: int | None = None,
    scale: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Picture:
    """Read a picture: upright, 8-bit RGB, alpha and an RGB profile kept, everything else left behind.

    Grey and CMYK pictures with a profile come out as sRGB with that profile. Of an animation the first frame is read.

    Args:
        path: a picture file.
        max_side: shrink so that the longest edge is at most this many pixels; smaller pictures stay as they are.
        scale: divide width and height by this first (the published ``--content-scale``).
        max_pixels: refuse a picture that declares more, before it is decoded; also one that ``scale`` would enlarge
            past it.

    Raises:
        PictureTooLargeError: more than ``max_pixels``.
        PictureNotFoundError: no such file.
        PictureError: not a picture, truncated, not readable.
        SettingError: ``max_side``, ``scale`` or ``max_pixels`` makes no sense.
    """
    path = Path(path)
    _check_settings(max_side=max_side, scale=scale, max_pixels=max_pixels)
    with opened_picture(path, max_pixels=max_pixels) as image:
        num_frames = getattr(image, "n_frames", 1)
        colour.mend_transparent_colour(image)
        image.load()
        rgb, icc_profile = colour.to_rgb(image, name=one_line(str(path)))
        rgb = _upright(rgb, orientation=orientation_of(image))
        rgb = _resized(rgb, path=path, max_side=max_side, scale=scale, max_pixels=max_pixels)
    if num_frames > 1:
        log.warning("%s: holds %d frames; only the first is read", one_line(str(path)), num_frames)
    pixels = np.asarray(rgb)
    alpha_HW = np.ascontiguousarray(pixels[..., 3]) if rgb.mode == "RGBA" else None
    return Picture(np.ascontiguousarray(pixels[..., :3]), alpha_HW, icc_profile)


def decode_rgb(
    data: bytes, *, name: str, least_side_px: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Image.Image:
    """Decode the bytes of a picture file to the pixels that `load_image` gives, without alpha; for many threads.

    Threads decode at the same time, which `load_image` does not let them. Call `hush_pillow` before.

    Args:
        data: all of the file.
        name: what messages call it.
        least_side_px: let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size while its short side keeps so many pixels,
            which takes less time and gives slightly other pixels; None decodes all of it.
        max_pixels: refuse a picture that declares more.

    Raises:
        PictureTooLargeError: more than ``max_pixels``.
        PictureError: not a picture, truncated, damaged.
        MemoryError: there is too little memory just now, which says nothing about the picture.
    """
    try:
        with _open_beside_others(data, max_pixels=max_pixels) as image:
            if least_side_px is not None and image.format == "JPEG":
                ratio = least_side_px / min(image.size)
                image.draft(None, (max(1, int(image.width * ratio)), max(1, int(image.height * ratio))))
            image.load()
            # Where the numbers stay as they are, the profile need not be opened: that takes longer than all the rest.
            as_it_is = image.mode in ("RGB", "RGBA", "P")
            rgb = image if as_it_is else colour.to_rgb(image, name=one_line(name))[0]
            return _upright(rgb if rgb.mode == "RGB" else rgb.convert("RGB"), orientation=orientation_of(image))
    except (NeuralStyleError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise PictureTooLargeError(_bomb_sentence(name, max_pixels)) from err
    except UnidentifiedImageError as err:
        raise PictureError(f"{name}: {_what_it_is_instead(data)}") from err
    except Exception as err:  # as many as there are ways to be damaged, see `opened_picture`
        raise _damaged(name, err) from err


def hush_pillow() -> None:
    """Show no warnings of Pillow's any more: what it says of damaged EXIF and the like, in pictures that decode.

    A thread cannot do that for itself: Python's warning filters belong to the whole process.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.init()


def save_image(
    picture: Picture, path: str | os.PathLike[str], *, quality: int = DEFAULT_QUALITY, durable: bool = True
) -> None:
    """Write a picture in the format of the suffix, whole or not at all, decoded again before it is moved into place.

    The same picture gives the same bytes. JPEG keeps Pillow's default chroma subsampling (4:2:0): the published
    results, and the figures the tests hold, were made with it.

    Args:
        picture: alpha that the format cannot hold is composited on white; a profile it cannot hold is applied.
        path: ends with one of `WRITABLE_SUFFIXES`.
        quality: of JPEG and WebP, 1 to 100.
        durable: see `csci_utils.io.atomic_path`.

    Raises:
        OutputError: the disk is full, the folder cannot be written, the written file does not decode.
        PictureError: the format cannot be written, or not at this size.
        SettingError: ``quality`` is out of range.
    """
    path = Path(path)
    if not 1 <= quality <= 100:
        raise SettingError(f"the quality is 1 to 100, not {quality!r}")
    refuse_unwritable(path, width=picture.width, height=picture.height)
    encoded, size = _encoded(picture, path, quality=quality), (picture.width, picture.height)
    try:
        with atomic_path(path, check=lambda scratch: verify_image(scratch, size), durable=durable) as scratch:
            scratch.write_bytes(encoded)
    except PictureError as err:
        raise OutputError(f"{path}: what was written cannot be read back, so nothing was kept: {err}") from err
    except OSError as err:
        raise output_error(path, err) from err


def verify_image(path: str | os.PathLike[str], size: tuple[int, int]) -> None:
    """Decode a whole picture file and compare its ``(width, height)``.

    Of a JPEG all bits are decoded, and only an eighth of the pixels made of them: that is where it can fail.

    Raises:
        PictureError: it does not decode, or has another size.
    """
    path = Path(path)
    with opened_picture(path, max_pixels=max(1, size[0] * size[1])) as image:
        found = image.size
        if found != size:
            raise PictureError(f"{path}: wanted {size[0]} x {size[1]} pixels, found {found[0]} x {found[1]}")
        if image.format == "JPEG":
            image.draft(None, (max(1, size[0] // 8), max(1, size[1] // 8)))
        image.load()


def refuse_unwritable(path: str | os.PathLike[str], *, width: int = 1, height: int = 1) -> None:
    """Check, before any work, that a picture of this size can be written under this name.

    Raises:
        PictureError: it cannot; the sentence says what can.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise PictureError(f"{path}: cannot write {suffix!r} pictures; use one of {' '.join(WRITABLE_SUFFIXES)}")
    longest = _LONGEST_SIDE_PX.get(_format(suffix))
    if longest is not None and max(width, height) > longest:
        raise PictureError(f"{path}: {_format(suffix)} holds {longest} pixels a side, not {width} x {height}; use .png")


def _format(suffix: str) -> str:
    return _FORMATS.get(suffix.lower(), "JPEG")


def _check_settings(*, max_side: int | None, scale: float | None, max_pixels: int) -> None:
    if max_side is not None and max_side < 1:
        raise SettingError(f"the longest side is at least 1 pixel, not {max_side!r}")
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise SettingError(f"the scale is a number above 0 that the size is divided by, not {scale!r}")
    if max_pixels < 1:
        raise SettingError(f"the limit is at least 1 pixel, not {max_pixels!r}")


@contextmanager
def opened_picture(path: Path, *, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Open a picture file; whatever its bytes do to Pillow inside the block comes out as a `PictureError`.

    Everything is caught because Pillow's decoders raise everything on hostile bytes: SyntaxError, ValueError,
    struct.error, OverflowError, zlib.error, EOFError, MemoryError and more.
    """
    try:
        _refuse_special_file(path)
        with _pillow_limit(max_pixels), path.open("rb") as file:
            formats = _formats(file.read(_LONGEST_MARK))
            file.seek(0)
            with Image.open(file, formats=formats) as image:
                yield image
    except NeuralStyleError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise PictureTooLargeError(_bomb_sentence(path, max_pixels)) from err
    except FileNotFoundError as err:
        raise PictureNotFoundError(f"{path}: there is no such picture; check the name") from err
    except UnidentifiedImageError as err:
        raise PictureError(f"{path}: {_what_it_is_instead(_beginning(path))}") from err
    except MemoryError as err:
        raise PictureError(f"{path}: there is not enough memory to decode it; shrink the picture") from err
    except Exception as err:
        if isinstance(err, OSError) and err.errno is not None:  # of the operating system; Pillow's own have no number
            raise PictureError(f"{path}: the picture cannot be read: {err.strerror}") from err
        raise _damaged(path, err) from err


def _damaged(name: object, err: Exception) -> PictureError:
    reason = str(err) or type(err).__name__
    return PictureError(f"{name}: cannot be read as a picture, it may be truncated or damaged: {reason}")


def _formats(beginning: bytes) -> list[str]:
    """Return what a file that begins so may be; to import all of Pillow's formats takes longer than to decode one."""
    if beginning.startswith(_USUAL_MARKS):
        Image.preinit()
    else:
        Image.init()
    return [name for name in _READABLE if name in Image.OPEN]  # `formats` may only name what is compiled in


def _open_beside_others(data: bytes, *, max_pixels: int) -> ImageFile.ImageFile:
    """Open a picture while other threads open and load theirs, each with a limit of its own."""
    with _pillow_settings:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            image = Image.open(io.BytesIO(data), formats=_formats(data[:_LONGEST_MARK]))
            if image.width * image.height > max_pixels:  # Pillow itself refuses what has twice as many
                raise Image.DecompressionBombError
            if image.format in _LIMITED_WHILE_LOADED:
                image.load()
        finally:
            Image.MAX_IMAGE_PIXELS = before
    return image


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Let ``max_pixels`` alone decide: Pillow only warns up to twice its limit, so the warning is made an error."""
    with _pillow_settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about EXIF and the like, in pictures that decode all the same
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _refuse_special_file(path: Path) -> None:
    """Refuse folders, and pipes and devices, which could block or never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise PictureError(f"{path}: wanted a picture file, found {found}; name a file")


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _what_it_is_instead(data: bytes) -> str:
    head = data[:_HEAD_BYTES]
    if not head:
        return "the file is empty; fetch it again"
    if is_web_page(head):
        return "this looks like a web page, not a picture: a download that went wrong; fetch it again"
    return "not a picture of a kind that can be read (or its beginning is damaged); give a JPEG, PNG, WebP or TIFF"


def _bomb_sentence(path: object, max_pixels: int) -> str:
    return f"{path}: declares more than {max_pixels} pixels and was not decoded; shrink it, or raise --max-pixels"


def orientation_of(image: Image.Image) -> int:
    """Read how the camera was held; damaged EXIF means upright."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # EXIF is a TIFF of its own, with every way to be damaged; the pixels are fine without it
        return 1


def _upright(image: Image.Image, *, orientation: int) -> Image.Image:
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _resized(
    image: Image.Image, *, path: Path, max_side: int | None, scale: float | None, max_pixels: int
) -> Image.Image:
    """Resize at most once; Pillow weighs colours by alpha, so hidden ones do not bleed into the edges."""
    width, height = image.size
    if scale is not None:
        # int(), not round(): the published script's own sizes
        width, height = max(1, int(width / scale)), max(1, int(height / scale))
    if max_side is not None and max(width, height) > max_side:
        ratio = max_side / max(width, height)
        width, height = max(1, round(width * ratio)), max(1, round(height * ratio))
    if width * height > max_pixels:
        raise PictureTooLargeError(
            f"{path}: --content-scale {scale} makes {width} x {height} pixels of it, more than {max_pixels}; "
            "use a larger number, or raise --max-pixels"
        )
    return image if (width, height) == image.size else image.resize((width, height), Image.Resampling.LANCZOS)


def _encoded(picture: Picture, path: Path, *, quality: int) -> bytes:
    """Encode in memory: writing to a file, Pillow's encoders lose the operating system's reason for a failure."""
    format_name = _format(path.suffix)
    image, icc_profile = _fitted(picture, path, format_name)
    options: dict[str, Any] = {} if icc_profile is None else {"icc_profile": icc_profile}
    if format_name in ("JPEG", "WEBP"):
        options["quality"] = quality
    if format_name == "WEBP":
        options["exact"] = True  # keep the styled colours under transparent pixels
    buffer = io.BytesIO()
    try:
        image.save(buffer, format_name, **options)
    except Exception as err:  # Pillow's encoders have no error type of their own
        raise OutputError(f"{path}: could not be encoded as {format_name}: {err or type(err).__name__}") from err
    return buffer.getvalue()


def _fitted(picture: Picture, path: Path, format_name: str) -> tuple[Image.Image, bytes | None]:
    """Bring a picture to what the format can hold."""
    image, icc_profile = Image.fromarray(picture.rgb_HW3), picture.icc_profile
    if format_name == "BMP" and icc_profile is not None:
        image, icc_profile = colour.to_srgb(image, icc_profile), None
    if picture.alpha_HW is None:
        return image, icc_profile
    alpha = Image.fromarray(picture.alpha_HW)
    if format_name not in _WITHOUT_ALPHA:
        image.putalpha(alpha)
        return image, icc_profile
    log.warning("%s: %s holds no transparency; composited on white", one_line(str(path)), format_name)
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha), icc_profile
