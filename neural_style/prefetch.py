"""Work done ahead in threads, handed out in the order in which it was asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def done_ahead(
    items: Iterable[Item], do: Callable[[Item], Done], *, num_threads: int, num_ahead: int
) -> Generator[Done]:
    """Do something for each of many items in threads, and give what came of it in their order.

    However it ends (the items, an exception of ``do``, the reader going away), the threads have ended by then, and what
    was not begun is not done any more.

    Args:
        items: read in the reader's thread, not further ahead than ``num_ahead``.
        do: called in the threads; what it raises is raised to the reader when that item's turn comes.
        num_threads: 0 does it all in the reader's thread, when it is asked for.
        num_ahead: items that are begun or done before they are asked for, at most.
    """
    if num_threads == 0:
        yield from map(do, items)
        return
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="ahead")
    waiting: deque[Future[Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(do, item))
            if len(waiting) > num_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
