"""A big object in ranges, several at a time, each resumed where it broke, with the digest over the whole."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from csci_utils.s3.backend import DamagedError, OnBytes, Opened, Stored, backend
from csci_utils.s3.client import limits
from csci_utils.s3.digests import BodyCheck, can_check
from csci_utils.s3.errors import ObjectChangedError, said
from csci_utils.s3.receive import FetchedObject, checking, fetched, receive_part
from csci_utils.s3.threads import Crew
from csci_utils.s3.tries import Tries


class RangesIgnoredError(Exception):
    """The store gives the whole object, whatever range it is asked for."""


def fetch_ranges(first: Opened, path: Path, *, count: OnBytes) -> FetchedObject:
    """Fetch the object whose first bytes an answer holds into a file.

    Threads write the ranges at their places; this one reads behind them, for the digest and the progress.

    Raises:
        RangesIgnoredError: the store knows no ranges.
        ObjectChangedError: the object is another one by now.
        DamagedError: the bytes are not those that were stored.
        S3Error: a range stayed incomplete.
    """
    stored = _with_checksums(first)
    check, ranges = checking(stored), _Ranges(first, path)
    path.write_bytes(b"")
    num_threads = min(limits().parallel_ranges, ranges.num_ranges)
    with Crew(ranges.fetch, num_threads=num_threads, patience_s=limits().stop_wait_s) as crew:
        received = _read_behind(ranges, crew, path=path, check=check, count=count)
    try:
        return fetched(stored, check, otherwise="size")
    except DamagedError:
        count(-received)
        raise


def _with_checksums(first: Opened) -> Stored:
    """Ask for stored checksums, which no range's answer names, where there is nothing better."""
    stored = first.stored
    if not first.ranged or can_check(stored):
        return stored
    asked = backend().head(stored.info.uri, checksums=True)
    return replace(stored, checksums=asked.checksums if asked.info.etag == stored.info.etag else {})


def _read_behind(ranges: _Ranges, crew: Crew, *, path: Path, check: BodyCheck, count: OnBytes) -> int:
    received = 0
    try:
        with path.open("rb", buffering=0) as file:
            while received < ranges.size_bytes:
                front_bytes = ranges.wait_beyond(received, crew=crew)
                chunk = file.read(min(limits().chunk_bytes, front_bytes - received))
                if not chunk:
                    raise OSError(f"{path}: wanted the bytes just written, found none; leave the file alone")
                check.update(chunk)
                received += len(chunk)
                count(len(chunk))
    except BaseException:
        count(-received)
        raise
    return received


class _Ranges:
    """The ranges of one object: which are taken, and how far the bytes have come without a gap."""

    def __init__(self, first: Opened, path: Path) -> None:
        self.size_bytes = first.stored.info.size_bytes
        self.front_bytes = 0
        self._first: Opened | None = first
        self._info = first.stored.info
        self._path = path
        self._step_bytes = limits().range_bytes
        self._starts = iter(range(0, self.size_bytes, self._step_bytes))
        self._arrived = dict.fromkeys(range(0, self.size_bytes, self._step_bytes), 0)
        self._lock = threading.Lock()

    @property
    def num_ranges(self) -> int:
        """How many ranges there are."""
        return len(self._arrived)

    def wait_beyond(self, num_bytes: int, *, crew: Crew) -> int:
        """Wait until more than so many bytes are there without a gap, and return how many."""
        crew.wait_for(lambda: self.front_bytes > num_bytes)
        return self.front_bytes

    def fetch(self, crew: Crew) -> None:
        """Fetch ranges that no other thread has taken, until there are none."""
        while (start := self._take()) is not None:
            end = min(start + self._step_bytes, self.size_bytes)
            with self._path.open("r+b", buffering=0) as file:
                file.seek(start)
                self._fetch_one(start, end, crew=crew, file=file)

    def _take(self) -> int | None:
        with self._lock:
            return next(self._starts, None)

    def _fetch_one(self, start: int, end: int, *, crew: Crew, file: BinaryIO) -> None:
        at, tries = start, Tries()
        while at < end:
            try:
                with closing(self._chunks(at, end)) as chunks:
                    for chunk in chunks:
                        _write(file, chunk)
                        at += len(chunk)
                        self._note(start, len(chunk))
                        crew.notify()
                continue
            except DamagedError as err:
                failure = err.error
            tries.again(failure)

    def _chunks(self, start: int, end: int) -> Generator[bytes, None, None]:
        opened = self._open(start, end)
        try:
            yield from receive_part(opened, wanted_bytes=end - start)
        finally:
            opened.body.close()

    def _open(self, start: int, end: int) -> Opened:
        if start == 0 and self._first is not None:
            opened, self._first = self._first, None
            return opened
        opened = backend().open(self._info.uri, span=(start, end), if_match=self._info.etag)
        if opened.stored.info.etag == self._info.etag and opened.ranged and opened.start_byte == start:
            return opened
        opened.body.close()
        if opened.stored.info.etag == self._info.etag:
            raise RangesIgnoredError(str(self._info.uri))
        what = f"it changed meanwhile: etag {self._info.etag} -> {opened.stored.info.etag}"
        raise said(ObjectChangedError, uri=self._info.uri, action="read it", what=what)

    def _note(self, start: int, num_bytes: int) -> None:
        with self._lock:
            self._arrived[start] += num_bytes
            front = self.front_bytes // self._step_bytes * self._step_bytes
            while front < self.size_bytes and self._arrived[front] == self._step_bytes:
                front += self._step_bytes
            self.front_bytes = min(front + self._arrived.get(front, 0), self.size_bytes)


def _write(file: BinaryIO, chunk: bytes) -> None:
    """Write all of it: an unbuffered file may take less."""
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]
