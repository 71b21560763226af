"""Arrays of pixels that lie on the disk: any rectangle is read and written, and nothing of it stays in memory.

Axes: H height, W width, C channels. Files are read and written by position and never mapped into memory: what is mapped
counts as the process's own where memory is measured and limited.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from csci_utils.io import scratch_path, sweep_once

from .errors import OutputError

_WITHOUT_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_MEASURES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class BandFile:
    """A file of ``(H, W, C)`` numbers without a name: it is gone with the process, however that ends.

    All of its space is reserved at once, so that a full disk is found out before any work. Its numbers are 0 until they
    are written. Many threads may read, and write rectangles that do not overlap, at the same time.

    Args:
        folder: where the file lies; made if it is not there.
        shape: height, width and channels, each at least 1.
        dtype: of the numbers.

    Raises:
        OutputError: there is no space for it, or the folder cannot be written.

    Attributes:
        shape: height, width and channels.
        dtype: of the numbers.
        num_bytes: what it takes on the disk.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, shape: tuple[int, int, int], dtype: DTypeLike = np.uint8
    ) -> None:
        height, width, channels = (int(length) for length in shape)
        if min(height, width, channels) < 1:
            raise ValueError(f"wanted a height, a width and channels of at least 1, not {tuple(shape)}")
        self.shape = (height, width, channels)
        self.dtype = np.dtype(dtype)
        self._folder = Path(folder)
        self._pixel_bytes = channels * self.dtype.itemsize
        self._row_bytes = width * self._pixel_bytes
        self.num_bytes = height * self._row_bytes
        self._descriptor = -1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = _opened_without_name(self._folder)
            self._reserve()
        except OSError as err:
            self.close()
            raise self._fault(err) from err
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()

    def close(self) -> None:
        """Give the space back; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # there is nothing in it that anybody still wants
                os.close(descriptor)

    def read(self, top: int, bottom: int, left: int = 0, right: int | None = None) -> NDArray[Any]:
        """Read the rectangle of rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the ends left out.

        Returns:
            Shape ``(bottom - top, right - left, C)``, an array of its own.

        Raises:
            OutputError: the disk does not give back what was written.
        """
        right = self.shape[1] if right is None else right
        pixels_HWC = np.empty((max(0, bottom - top), max(0, right - left), self.shape[2]), self.dtype)
        self.read_into(pixels_HWC, top, left)
        return pixels_HWC

    def read_into(self, pixels_HWC: NDArray[Any], top: int, left: int = 0) -> None:
        """Fill an array with the rectangle of its size that begins at ``top`` and ``left``.

        Rows of the full width go into a contiguous array in one piece, and into other arrays row by row; either way
        without a copy, as long as each row of the array is contiguous.
        """
        for piece, position in self._pieces(pixels_HWC, top, left):
            self._read_bytes(_bytes_of(piece), position)

    def write(self, top: int, left: int, pixels_HWC: NDArray[Any]) -> None:
        """Write a rectangle whose upper left corner is at ``top`` and ``left``.

        Raises:
            OutputError: the disk does not take it.
        """
        width = pixels_HWC.shape[1] if pixels_HWC.ndim == 3 else 0
        is_ready = pixels_HWC.flags.c_contiguous or (width > 0 and pixels_HWC[0].flags.c_contiguous)
        for piece, position in self._pieces(pixels_HWC if is_ready else np.ascontiguousarray(pixels_HWC), top, left):
            self._write_bytes(_bytes_of(piece), position)

    @property
    def path(self) -> str:
        """A name for libraries that open files by name; good while the file is open, and in this process only."""
        folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
        return f"{folder}/{self._descriptor}"

    def _pieces(self, pixels_HWC: NDArray[Any], top: int, left: int) -> list[tuple[NDArray[Any], int]]:
        """Cut an array into what is contiguous in the file, too; each with its position there."""
        self._check(pixels_HWC, top, left)
        start = top * self._row_bytes + left * self._pixel_bytes
        if 0 in pixels_HWC.shape:
            return []
        if pixels_HWC.shape[1] == self.shape[1] and pixels_HWC.flags.c_contiguous:
            return [(pixels_HWC, start)]
        return [(row, start + number * self._row_bytes) for number, row in enumerate(pixels_HWC)]

    def _check(self, pixels_HWC: NDArray[Any], top: int, left: int) -> None:
        if pixels_HWC.dtype != self.dtype or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != self.shape[2]:
            raise ValueError(
                f"wanted {self.dtype} of (H, W, {self.shape[2]}), found {pixels_HWC.dtype} of {pixels_HWC.shape}"
            )
        bottom, right = top + pixels_HWC.shape[0], left + pixels_HWC.shape[1]
        if not (0 <= top <= bottom <= self.shape[0] and 0 <= left <= right <= self.shape[1]):
            raise ValueError(f"rows {top}:{bottom} and columns {left}:{right} are not all within {self.shape[:2]}")
        if self._descriptor < 0:
            raise ValueError("the file of pixels is closed")

    def _read_bytes(self, buffer: memoryview, position: int) -> None:
        while buffer:
            try:
                num_read = os.preadv(self._descriptor, [buffer], position)
            except OSError as err:
                raise self._fault(err) from err
            if num_read == 0:  # somebody has cut it off by its name in /proc
                raise OutputError(f"{self._folder}: a scratch file ends too early; run it again")
            buffer, position = buffer[num_read:], position + num_read

    def _write_bytes(self, buffer: memoryview, position: int) -> None:
        while buffer:
            try:
                num_written = os.pwrite(self._descriptor, buffer, position)
            except OSError as err:
                raise self._fault(err) from err
            buffer, position = buffer[num_written:], position + num_written

    def _reserve(self) -> None:
        """Take the space; where the file system cannot, look at least whether there is enough of it."""
        if shutil.disk_usage(self._folder).free < self.num_bytes:  # or it would be filled up first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, 0, self.num_bytes)
                return
            except OSError as err:
                if err.errno not in _CANNOT_RESERVE:
                    raise
        os.ftruncate(self._descriptor, self.num_bytes)

    def _fault(self, err: OSError) -> OutputError:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = (
                f"wanted {_amount(self.num_bytes)} for a scratch file, and {_amount(_free_bytes(self._folder))} are "
                "free; free some, or have it made on another disk"
            )
        else:
            sentence = f"a scratch file of {_amount(self.num_bytes)} failed: {err.strerror or err}"
        fault = OutputError(f"{self._folder}: {sentence}")
        fault.errno = err.errno
        return fault


def _opened_without_name(folder: Path) -> int:
    """Open a new file that no folder lists; where that takes a name for a moment, it is one that `sweep` knows."""
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as err:
            if err.errno not in _WITHOUT_NAMELESS_FILES:
                raise
    sweep_once(folder)
    scratch = scratch_path(folder / "pixels.raw")
    descriptor = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    scratch.unlink()
    return descriptor


def _bytes_of(piece: NDArray[Any]) -> memoryview:
    return piece.data.cast("B")


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _amount(num_bytes: int) -> str:
    """Write a number of bytes for people, rounded down."""
    for measure, name in _MEASURES:
        if num_bytes >= measure:
            return f"{math.floor(num_bytes * 10 / measure) / 10:g} {name}"
    return f"{num_bytes} bytes"
