"""Pictures computed at the same time, each by its share of the processor's threads.

Threads that compute one picture together wait for each other at the end of every operation, hundreds of times a step;
where another process takes one of the cores, for as long as the system lets it run. Threads with a picture each meet
once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class SideBySide:
    """Threads that take things one by one; what they compute does not depend on which of them took it.

    Args:
        most: Things at a time that are worth a thread.
    """

    def __init__(self, most: int) -> None:
        self._num_workers = max(1, min(most, torch.get_num_threads()))
        self._pool: ThreadPoolExecutor | None = None
        if self._num_workers > 1:
            self._pool = self._started()

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Call a function with each thing, and give what it returned, in their order.

        Raises:
            Exception: what the function raised for the first of the things that it failed for.
        """
        if self._num_workers == 1 or len(items) == 1:
            return map(function, items)
        if self._pool is None:
            self._pool = self._started()
        return self._pool.map(function, items)

    def close(self) -> None:
        """End the threads; `map` starts them again."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _started(self) -> ThreadPoolExecutor:
        """Start every thread and give it its share, which torch keeps for each thread and for those to come."""
        pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="picture")
        num_threads, barrier = torch.get_num_threads(), Barrier(self._num_workers)

        def started(_number: int) -> None:
            torch.set_num_threads(max(1, num_threads // self._num_workers))
            torch.get_num_threads()  # a thread's first operation asks, and takes what others have set meanwhile
            barrier.wait()

        list(pool.map(started, range(self._num_workers)))
        torch.set_num_threads(num_threads)
        return pool
