"""Pictures larger than memory: decoded into files of pixels band by band, and encoded from them.

Axes: H height, W width, C channels. The numbers are those that `images.load_image` gives, one by one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .band_painter import Painter, UprightFile
from .contract import LARGEST_PIXELS
from .errors import PictureError, one_line
from .libvips import Course, Reader, StoppedError, pyvips, run_apart
from .picture_facts import PictureFacts, read_facts
from .picture_limits import CHANNELS_OF_PIXELS
from .pixel_file import BandFile

log = logging.getLogger("neural_style")

_FETCH_PX = 2**17  # libvips keeps several times what is asked of it
_KEPT_PX = 2**22  # of tiles
_LOADERS = {"PNG": "pngload_source", "JPEG": "jpegload_source", "TIFF": "tiffload_source"}
_ALLOWED_TO_BE_LARGE = ("PNG", "JPEG")  # a TIFF keeps its limit: 50 MiB for what libtiff itself takes

Place = tuple[int, int, int, int]
"""Top, left, height and width, pixels."""

Block = tuple[int, int, NDArray[Any]]
"""Top, left, and numbers ``(H, W, C)``."""


@dataclass(frozen=True, eq=False)
class BandedPicture:
    """A picture on the disk, upright; its files go with the end of a ``with`` block.

    Attributes:
        rgb: ``(H, W, 3)``, 0-255.
        alpha: ``(H, W, 1)``, 0 (transparent) to 255, or None for a picture without alpha.
        icc_profile: the profile that the numbers in `rgb` belong to; None means none was given.
    """

    rgb: BandFile
    alpha: BandFile | None = None
    icc_profile: bytes | None = None

    @property
    def width(self) -> int:
        """In pixels."""
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.rgb.shape[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the space back."""
        self.rgb.close()
        if self.alpha is not None:
            self.alpha.close()


def decode_in_bands(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_pixels: int = LARGEST_PIXELS,
    on_progress: Callable[[float], None] | None = None,
) -> BandedPicture:
    """Read a picture into files; the numbers are those of `images.load_image`.

    Args:
        path: a picture file.
        folder: where the files lie, without names: three bytes a pixel, four with alpha.
        max_pixels: refuse a picture that declares more, before it is decoded.
        on_progress: called several times a second with the fraction that is done.

    Raises:
        PictureTooLargeError: more than ``max_pixels``.
        PictureNotFoundError: no such file.
        PictureError: not a picture, truncated, damaged, or of a kind that cannot be decoded in bands.
        OutputError: there is no space for the files.
        EngineError: pyvips is not installed.
    """
    path = Path(path)
    facts = read_facts(path, max_pixels=max_pixels)
    if facts.obstacle is not None:
        raise PictureError(f"{path}: {facts.obstacle}")
    pyvips()
    painter = Painter(facts, name=one_line(str(path)))
    with ExitStack() as on_failure:
        rgb = on_failure.enter_context(BandFile(folder, shape=(facts.height, facts.width, 3)))
        alpha = (
            on_failure.enter_context(BandFile(folder, shape=(facts.height, facts.width, 1)))
            if facts.has_alpha
            else None
        )
        run_apart(lambda course: _decode(path, facts, painter, (rgb, alpha), course), on_progress=on_progress)
        on_failure.pop_all()
    if facts.num_frames > 1:
        log.warning("%s: holds %d frames; only the first is read", one_line(str(path)), facts.num_frames)
    return BandedPicture(rgb, alpha, painter.icc_profile)


def verify_in_bands(
    path: str | os.PathLike[str], size: tuple[int, int], *, on_progress: Callable[[float], None] | None = None
) -> None:
    """Decode a whole picture file without keeping anything, and compare its ``(width, height)``.

    Raises:
        PictureError: it does not decode, or has another size.
    """
    path = Path(path)
    facts = read_facts(path, max_pixels=max(1, size[0] * size[1]))
    if (facts.width, facts.height) != size:
        raise PictureError(f"{path}: wanted {size[0]} x {size[1]} pixels, found {facts.width} x {facts.height}")
    if facts.obstacle is not None:
        raise PictureError(f"{path}: {facts.obstacle}")

    def decode(course: Course) -> None:
        for _ in _blocks(path, facts, course):
            pass

    run_apart(decode, on_progress=on_progress)


def _decode(
    path: Path, facts: PictureFacts, painter: Painter, files: tuple[BandFile, BandFile | None], course: Course
) -> None:
    """Write every block of a picture where it belongs."""
    gatherers = [UprightFile(file, facts) for file in files if file is not None]
    with closing(_blocks(path, facts, course)) as blocks:
        for top, left, samples_HWC in blocks:
            for gatherer, pixels_HWC in zip(gatherers, painter.paint(samples_HWC), strict=False):
                gatherer.put(top, left, pixels_HWC)
    for gatherer in gatherers:
        gatherer.flush()


def _blocks(path: Path, facts: PictureFacts, course: Course) -> Generator[Block, None, None]:
    """Give the numbers of a file piece by piece: top, left, and what libvips makes of its pixels."""
    with path.open("rb", buffering=0) as file:
        for places in _plan(facts):
            yield from _blocks_at(places, path, file.fileno(), facts=facts, course=course)


def _blocks_at(
    places: list[Place], path: Path, descriptor: int, *, facts: PictureFacts, course: Course
) -> Generator[Block, None, None]:
    reader = Reader(
        lambda position, num_bytes: os.pread(descriptor, num_bytes, position),
        num_bytes=os.fstat(descriptor).st_size,
        course=course,
    )
    source = reader.new_source()
    try:
        image = _opened(source, facts)
        region = pyvips().Region.new(image)
        for top, left, height, width in places:
            data = region.fetch(left, top, width, height)
            if reader.fault is not None:
                raise reader.fault
            samples = np.frombuffer(data, np.uint16 if image.format == "ushort" else np.uint8)
            yield top, left, samples.reshape(height, width, image.bands)
            course.reach((top + height) / facts.stored_height)
    except (StoppedError, PictureError):
        raise
    except Exception as err:
        raise _fault(path, err if reader.fault is None else reader.fault) from err


def _opened(source: Any, facts: PictureFacts) -> Any:
    options = {"unlimited": True} if facts.format in _ALLOWED_TO_BE_LARGE else {}
    loader = getattr(pyvips().Image, _LOADERS[facts.format])
    image = loader(source, access="random" if facts.is_wide else "sequential", fail_on="error", **options)
    found = (image.width, image.height, image.format)
    wanted = (facts.stored_width, facts.stored_height, "ushort" if facts.pixels.endswith(";16") else "uchar")
    if found != wanted or image.bands not in CHANNELS_OF_PIXELS[facts.pixels]:
        raise ValueError(f"wanted {wanted}, found {found} with {image.bands} channels")
    return image


def _fault(path: Path, err: BaseException) -> BaseException:
    if isinstance(err, StoppedError):
        return err
    if isinstance(err, OSError):
        return PictureError(f"{path}: the picture cannot be read: {err.strerror}")
    reason = one_line(str(getattr(err, "detail", err)))
    return PictureError(f"{path}: cannot be read as a picture, it may be truncated or damaged: {reason}")


def _plan(facts: PictureFacts) -> Iterator[list[Place]]:
    """Give the rectangles in which a picture is fetched; a new list for each time that the file is opened.

    These are rows, or of wide tiles some beside each other: libvips keeps two rows of tiles, as far as it was asked for
    them since the file was opened.
    """
    if not facts.is_wide or facts.tile is None:
        rows = max(1, _FETCH_PX // facts.stored_width)
        yield list(_places(facts, rows=rows, columns=facts.stored_width))
        return
    tile_width, rows = facts.tile
    columns = tile_width * max(1, _FETCH_PX // (tile_width * rows))
    num_together = max(1, _KEPT_PX // (columns * rows))
    places = list(_places(facts, rows=rows, columns=columns))
    for first in range(0, len(places), num_together):
        yield places[first : first + num_together]


def _places(facts: PictureFacts, *, rows: int, columns: int) -> Iterator[Place]:
    for top in range(0, facts.stored_height, rows):
        for left in range(0, facts.stored_width, columns):
            yield top, left, min(rows, facts.stored_height - top), min(columns, facts.stored_width - left)
