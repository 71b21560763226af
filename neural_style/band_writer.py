"""Pictures that lie on the disk, written as picture files band by band.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from csci_utils.io import atomic_path

from .bands import BandedPicture, verify_in_bands
from .contract import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY
from .errors import OutputError, PictureError, SettingError, one_line, output_error
from .images import Picture, refuse_unwritable, save_image
from .libvips import Course, Reader, StoppedError, Writer, pyvips, run_apart
from .progress_parts import part_of

log = logging.getLogger("neural_style")

_SAVERS: dict[str, tuple[str, dict[str, Any]]] = {
    # One filter that suits pictures: as small as choosing one for each row, in a half to two thirds of the time.
    ".png": ("pngsave_target", {"compression": 6, "filter": "paeth"}),
    ".tif": ("tiffsave_target", {"compression": "none", "tile_height": 32}),
    # What Pillow does, to the pixel.
    ".jpg": ("jpegsave_target", {"subsample_mode": "on", "optimize_coding": False}),
}
_SUFFIXES = {".jpeg": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"}
_TIFF_BYTES = 2**32 - 2**26  # the rest is for directory and profile
_PX_A_MM = 72 / 25.4  # what programs take for granted where a file says nothing, as Pillow's do
_STRIP_BYTES = 2**20
_ENCODING_SHARE = 0.7  # of the time; reading it again takes the rest


def encode_in_bands(
    picture: BandedPicture,
    path: str | os.PathLike[str],
    *,
    quality: int = DEFAULT_QUALITY,
    on_progress: Callable[[float], None] | None = None,
    durable: bool = True,
) -> None:
    """Write a picture in the format of the suffix as `images.save_image` does, without having it in memory.

    WebP and BMP cannot be written so: they go through memory, up to `DEFAULT_MAX_PIXELS`.

    Args:
        picture: alpha that the format cannot hold is composited on white.
        path: as for `refuse_unwritable_in_bands`; a TIFF that could exceed 4 GB becomes a BigTIFF.
        quality: of JPEG and WebP, 1 to 100.
        on_progress: called several times a second with the fraction that is done.
        durable: see `csci_utils.io.atomic_path`.

    Raises:
        OutputError: the disk is full, the folder cannot be written, the written file does not decode.
        PictureError: the format cannot be written, or not at this size.
        SettingError: ``quality`` is out of range.
        EngineError: pyvips is not installed.
    """
    path = Path(path)
    if not 1 <= quality <= 100:
        raise SettingError(f"the quality is 1 to 100, not {quality!r}")
    refuse_unwritable_in_bands(path, width=picture.width, height=picture.height)
    if _suffix(path) not in _SAVERS:
        save_image(_in_memory(picture), path, quality=quality, durable=durable)
        return
    size = (picture.width, picture.height)
    if picture.alpha is not None and _suffix(path) == ".jpg":
        log.warning("%s: JPEG holds no transparency; composited on white", one_line(str(path)))
    verified = part_of(on_progress, _ENCODING_SHARE, 1)

    def check(scratch: Path) -> None:
        verify_in_bands(scratch, size, on_progress=verified)

    try:
        with atomic_path(path, check=check, durable=durable) as scratch:
            run_apart(
                lambda course: _encode(picture, scratch, quality=quality, name=path, course=course),
                on_progress=part_of(on_progress, 0, _ENCODING_SHARE),
            )
    except PictureError as err:
        raise OutputError(f"{path}: what was written cannot be read back, so nothing was kept: {err}") from err
    except OutputError:
        raise
    except OSError as err:
        raise output_error(path, err) from err


def refuse_unwritable_in_bands(path: str | os.PathLike[str], *, width: int = 1, height: int = 1) -> None:
    """Check, before any work, that `encode_in_bands` can write a picture of this size under this name.

    Raises:
        PictureError: it cannot; the sentence says what can.
    """
    refuse_unwritable(path, width=width, height=height)
    if _suffix(Path(path)) not in _SAVERS and width * height > DEFAULT_MAX_PIXELS:
        raise PictureError(
            f"{path}: {width} x {height} pixels are written in bands, which {Path(path).suffix} pictures are not; "
            "use .png or .tif"
        )


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return _SUFFIXES.get(suffix, suffix)


def _in_memory(picture: BandedPicture) -> Picture:
    alpha_HW = None if picture.alpha is None else picture.alpha.read(0, picture.height)[..., 0]
    return Picture(picture.rgb.read(0, picture.height), alpha_HW, picture.icc_profile)


def _encode(picture: BandedPicture, scratch: Path, *, quality: int, name: Path, course: Course) -> None:
    """Write a file; errors call it by its final name."""
    suffix = _suffix(scratch)
    pixels = _TiffOfPixels(picture, course, keeps_alpha=suffix != ".jpg")
    reader = Reader(pixels.read_at, num_bytes=pixels.num_bytes, course=course)
    saver, options = _SAVERS[suffix]
    options = {**options, "keep": "none" if picture.icc_profile is None else "icc"}
    if suffix == ".jpg":
        options["Q"] = quality
    if suffix == ".tif":
        options["bigtiff"] = pixels.num_bytes > _TIFF_BYTES
    with scratch.open("w+b", buffering=0) as file:
        writer = Writer(file.fileno(), course=course)
        source, target = reader.new_source(), writer.new_target()
        try:
            image = pyvips().Image.tiffload_source(source, access="sequential", fail_on="error", unlimited=True)
            image = image.copy(xres=_PX_A_MM, yres=_PX_A_MM)
            if picture.icc_profile is not None:
                image.set_type(pyvips().GValue.blob_type, "icc-profile-data", picture.icc_profile)
            getattr(image, saver)(target, **options)
        except Exception as err:
            raise _cause(name, (reader.fault, writer.fault), err) from err
        for fault in (reader.fault, writer.fault):
            if fault is not None:
                raise fault


def _cause(path: Path, faults: tuple[BaseException | None, ...], err: Exception) -> BaseException:
    """Find what really happened behind an error of libvips."""
    for fault in faults:
        if fault is not None:
            return fault
    if isinstance(err, StoppedError):
        return err
    reason = one_line(str(getattr(err, "detail", err)))
    return OutputError(f"{path}: could not be encoded: {reason}")


class _TiffOfPixels:
    """A picture on the disk as the bytes of a TIFF, made while they are read: the one way for raw pixels into libvips.

    It can read a file of raw pixels, too, but maps all of it into memory.

    Args:
        picture: what is read.
        course: told how much has been.
        keeps_alpha: as a fourth channel; else the picture is composited on white.
    """

    def __init__(self, picture: BandedPicture, course: Course, *, keeps_alpha: bool) -> None:
        self._picture, self._course, self._keeps_alpha = picture, course, keeps_alpha
        num_channels = 4 if keeps_alpha and picture.alpha is not None else 3
        row_bytes = picture.width * num_channels
        self._strip_rows = max(1, _STRIP_BYTES // row_bytes)
        self._strip_bytes = self._strip_rows * row_bytes
        self._head = _tiff_head(
            picture.width, picture.height, num_channels=num_channels, strip_rows=self._strip_rows, row_bytes=row_bytes
        )
        self.num_bytes = len(self._head) + picture.height * row_bytes
        self._strip = (-1, b"")

    def read_at(self, position: int, num_bytes: int) -> bytes:
        """Return up to so many bytes from a position on."""
        if position < len(self._head):
            return self._head[position : position + num_bytes]
        number, offset = divmod(position - len(self._head), self._strip_bytes)
        if number * self._strip_rows >= self._picture.height:
            return b""
        if self._strip[0] != number:
            self._strip = (number, self._pixels(number * self._strip_rows).tobytes())
        return self._strip[1][offset : offset + num_bytes]

    def _pixels(self, top: int) -> NDArray[Any]:
        bottom = min(top + self._strip_rows, self._picture.height)
        self._course.reach(bottom / self._picture.height)
        rgb_HW3 = self._picture.rgb.read(top, bottom)
        if self._picture.alpha is None:
            return rgb_HW3
        alpha_HW1 = self._picture.alpha.read(top, bottom)
        if self._keeps_alpha:
            return np.concatenate([rgb_HW3, alpha_HW1], axis=2)
        band = Image.fromarray(rgb_HW3)
        white = Image.new("RGB", band.size, "white")
        return np.asarray(Image.composite(band, white, Image.fromarray(np.ascontiguousarray(alpha_HW1[..., 0]))))


def _tiff_head(width: int, height: int, *, num_channels: int, strip_rows: int, row_bytes: int) -> bytes:
    """Write what comes before the pixels of an uncompressed BigTIFF (bigtiff.org: TIFF 6.0 with numbers of 8 bytes)."""
    num_strips = -(-height // strip_rows)
    short, long8 = 3, 16
    entries = [(256, long8, 1, width), (257, long8, 1, height)]
    entries += [(258, short, num_channels, sum(8 << 16 * place for place in range(num_channels)))]
    entries += [(259, short, 1, 1), (262, short, 1, 2), (273, long8, num_strips, 0), (277, short, 1, num_channels)]
    entries += [(278, long8, 1, strip_rows), (279, long8, num_strips, 0), (284, short, 1, 1)]
    if num_channels == 4:
        entries += [(338, short, 1, 2)]  # the fourth is alpha, and not multiplied in
    lists_at = 16 + 8 + 20 * len(entries) + 8
    pixels_at = lists_at + (16 * num_strips if num_strips > 1 else 0)
    counts = [row_bytes * min(strip_rows, height - number * strip_rows) for number in range(num_strips)]
    offsets = [pixels_at + number * strip_rows * row_bytes for number in range(num_strips)]
    is_list = num_strips > 1
    values = {273: lists_at if is_list else offsets[0], 279: lists_at + 8 * num_strips if is_list else counts[0]}
    directory = b"".join(
        struct.pack("<HHQQ", tag, kind, count, values.get(tag, value)) for tag, kind, count, value in entries
    )
    lists = struct.pack(f"<{2 * num_strips}Q", *offsets, *counts) if is_list else b""
    return struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(entries)) + directory + struct.pack("<Q", 0) + lists
