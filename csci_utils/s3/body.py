"""What is sent: small files as bytes, of others a slice at a time, read while it is sent."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from csci_utils.s3.client import limits
from csci_utils.s3.threads import check_stopped


class FileChangedError(BaseException):
    """A file is not what was digested; no `Exception`, lest a library take it for a broken connection."""


class FileSlice(io.RawIOBase):
    """Some bytes of a file, as a file of its own that is read in small blocks; none any more once its call is given up.

    Whoever sends it holds a block in memory rather than all of it. Once `chunks` has given all of it, the last block of
    a later pass is held back where it ends otherwise: then no store can have all the bytes of a file that has changed.

    Args:
        path: the file.
        start_byte: where the slice begins.
        num_bytes: how long it is.
    """

    def __init__(self, path: Path, start_byte: int, num_bytes: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start_byte, self._num_bytes = start_byte, num_bytes
        self._at = 0
        self._crc32, self._summed = 0, 0  # of how many bytes from the beginning
        self._wanted_crc32: int | None = None

    def __len__(self) -> int:
        """Return how long it is."""
        return self._num_bytes

    def chunks(self) -> Iterator[memoryview]:
        """Read all of it from the beginning, and go back there."""
        buffer = memoryview(bytearray(min(limits().chunk_bytes, max(self._num_bytes, 1))))
        self.seek(0)
        self._wanted_crc32 = None
        while count := self.readinto(buffer):
            yield buffer[:count]
        self._wanted_crc32 = self._crc32
        self.seek(0)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that a new try can go back to its beginning."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read the next bytes; 0 at the end.

        Raises:
            StoppedError: the call that this thread works for was given up.
            FileChangedError: the file is shorter by now, or other bytes end this pass than ended the first one.
        """
        check_stopped()
        wanted = memoryview(buffer)[: max(self._num_bytes - self._at, 0)]
        count = os.preadv(self._file.fileno(), [wanted], self._start_byte + self._at) if wanted else 0
        if wanted and not count:
            raise FileChangedError
        self._sum(wanted[:count])
        self._at += count
        return count

    def _sum(self, block: memoryview) -> None:
        if self._at == 0:
            self._crc32, self._summed = 0, 0
        if self._at != self._summed:
            return  # somebody reads here and there
        self._crc32 = zlib.crc32(block, self._crc32)
        self._summed += len(block)
        if self._summed == self._num_bytes and self._wanted_crc32 not in (None, self._crc32):
            raise FileChangedError

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place in it."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._num_bytes}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place in it."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()
