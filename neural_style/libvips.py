"""libvips, where it is wanted: imported late, kept small and quiet, reading and writing through functions of ours.

Files are never handed to it by name: it would map some of them into memory, and it tells of a full disk in prose.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from .allocator import give_back
from .errors import EngineError, one_line

Result = TypeVar("Result")

_WAIT_S = 0.1
_THREADS = 1  # of its own, each with buffers; coding itself is done by one in any case


class StoppedError(Exception):
    """Work was broken off because nobody wants it any more."""


@functools.cache
def pyvips() -> Any:
    """Import the library, and set it up: no cache of what was computed, no words on standard error.

    Raises:
        EngineError: it is not installed.
    """
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # its warnings; what matters comes as an error, too
    try:
        import pyvips
    except (ImportError, OSError) as err:  # OSError: the Python part is there, libvips is not
        raise EngineError(
            "pictures larger than memory are read and written by pyvips, which cannot be imported "
            f"({one_line(str(err)) or type(err).__name__}); pip install 'neural-style-pipeline[bands]'"
        ) from err
    pyvips.cache_set_max(0)
    pyvips.concurrency_set(_THREADS)
    return pyvips


class Course:
    """How far work that runs in a thread of its own has come, and whether it is still wanted."""

    def __init__(self) -> None:
        self.fraction = 0.0
        self.is_wanted = True

    def reach(self, fraction: float) -> None:
        """Tell how much is done, 0 to 1.

        Raises:
            StoppedError: nobody wants the rest.
        """
        self.fraction = fraction
        if not self.is_wanted:
            raise StoppedError


def run_apart(work: Callable[[Course], None], *, on_progress: Callable[[float], None] | None = None) -> None:
    """Do work in a thread of its own and wait for it here, so that Ctrl-C ends it soon and without a loss.

    What interrupts a program is raised wherever its main thread is: in a function that libvips calls it would be lost.

    Args:
        work: told the course, which it has to tell how far it is.
        on_progress: called here, several times a second, with the fraction that is done.
    """
    course, done, failed = Course(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            work(course)
        except BaseException as err:
            failed.append(err)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="bands", daemon=True)
    thread.start()
    try:
        while not done.wait(_WAIT_S):
            if on_progress is not None:
                on_progress(course.fraction)
    except BaseException:
        course.is_wanted = False
        raise
    finally:
        while thread.is_alive():  # it uses files that are closed next
            with suppress(BaseException):
                thread.join()
        give_back()  # several times what libvips needs at once
    if failed:
        raise failed[0]
    if on_progress is not None:
        on_progress(1.0)


class Reader:
    """What libvips reads from: bytes by their position.

    Args:
        read_at: returns up to so many bytes from a position on, at the end none.
        num_bytes: how many there are.
        course: reading ends when nobody wants it any more.

    Attributes:
        fault: what `read_at` raised, to be raised in place of what libvips makes of it.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], *, num_bytes: int, course: Course) -> None:
        self._read_at, self._num_bytes, self._course = read_at, num_bytes, course
        self._position = 0
        self.fault: BaseException | None = None

    def new_source(self) -> Any:
        """Return what the loaders whose names end in ``_source`` take; it has to be kept as long as what they return.

        It is not kept here: libvips would have to wait for the garbage collector before it gives its memory back.
        """
        source = pyvips().SourceCustom()
        source.on_read(self._read)
        source.on_seek(self._seek)
        return source

    def _read(self, num_bytes: int) -> bytes | None:
        if self.fault is not None:
            return None
        try:
            self._course.reach(self._course.fraction)
            found = self._read_at(self._position, num_bytes)
        except BaseException as err:  # nothing may pass through C: it would be printed and lost
            self.fault = err
            return None
        self._position += len(found)
        return found or None

    def _seek(self, offset: int, whence: int) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._num_bytes}[whence]
        return self._position


class Writer:
    """What libvips writes to: a file that it may read again.

    Args:
        descriptor: of a file open for both.
        course: writing ends when nobody wants it any more.

    Attributes:
        fault: what the operating system said, or `StoppedError`.
    """

    def __init__(self, descriptor: int, *, course: Course) -> None:
        self._descriptor, self._course = descriptor, course
        self.fault: BaseException | None = None

    def new_target(self) -> Any:
        """Return what the savers whose names end in ``_target`` take; to be kept until they are done."""
        target = pyvips().TargetCustom()
        target.on_write(self._write)
        target.on_read(self._read)
        target.on_seek(self._seek)
        return target

    def _write(self, data: Any) -> int:
        return self._safely(lambda: os.write(self._descriptor, data), -1)

    def _read(self, num_bytes: int) -> bytes | None:
        return self._safely(lambda: os.read(self._descriptor, num_bytes), b"") or None

    def _seek(self, offset: int, whence: int) -> int:
        return self._safely(lambda: os.lseek(self._descriptor, offset, whence), -1)

    def _safely(self, call: Callable[[], Result], failed: Result) -> Result:
        """Nothing may pass through C: it would be printed and lost."""
        if self.fault is not None:
            return failed
        try:
            self._course.reach(self._course.fraction)
            return call()
        except BaseException as err:
            self.fault = err
            return failed
