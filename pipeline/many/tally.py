"""What the runner of a shard tells of its progress, and asks whether to go on."""

from __future__ import annotations

import multiprocessing
from typing import Protocol

from pipeline.errors import PipelineError


class TooManyFailuresError(PipelineError):
    """More pictures failed than may."""

    exit_status = 30


class Tally(Protocol):
    """The counts of one run, wherever its shards run; safe from several threads and processes."""

    def add(self, *, pictures: int = 0, failures: int = 0, num_bytes: int = 0) -> None:
        """Count pictures that are done with (those that failed, too), failures among them, and bytes that came."""
        ...

    def is_exhausted(self) -> bool:
        """Whether more pictures failed than may, so that no shard is to go on."""
        ...


class SharedTally:
    """Counts in shared memory: forked workers add to those of their parent.

    Args:
        max_failures: So many pictures may fail.
    """

    def __init__(self, *, max_failures: int) -> None:
        self.max_failures = max_failures
        self._pictures, self._failures, self._bytes = (multiprocessing.Value("q", 0) for _ in range(3))

    def add(self, *, pictures: int = 0, failures: int = 0, num_bytes: int = 0) -> None:
        """See `Tally.add`."""
        for count, number in ((self._pictures, pictures), (self._failures, failures), (self._bytes, num_bytes)):
            if number:
                with count:
                    count.value += number

    def is_exhausted(self) -> bool:
        """See `Tally.is_exhausted`."""
        return self.failures > self.max_failures

    @property
    def pictures(self) -> int:
        """Pictures that are done with."""
        return int(self._pictures.value)

    @property
    def failures(self) -> int:
        """Pictures that failed."""
        return int(self._failures.value)

    @property
    def num_bytes(self) -> int:
        """Bytes that came."""
        return int(self._bytes.value)
