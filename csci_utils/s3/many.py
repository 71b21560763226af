"""Many objects in or out, several at a time; one that fails is told of, and does not stop its neighbours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from csci_utils.io import atomic_path
from csci_utils.s3.backend import ObjectInfo, OnBytes
from csci_utils.s3.client import limits
from csci_utils.s3.receive import FetchedObject
from csci_utils.s3.threads import Crew
from csci_utils.s3.transfer import get
from csci_utils.s3.upload import put
from csci_utils.s3.uri import S3Uri

_AHEAD = 4
"""Items that each thread may be ahead of the reader of the outcomes."""

Done = TypeVar("Done")
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Done]):
    """What became of one pair: ``value``, or the ``error`` that it failed with."""

    uri: S3Uri
    path: Path
    value: Done | None = None
    error: Exception | None = None

    def result(self) -> Done:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


def get_many(
    pairs: Iterable[tuple[S3Uri, Path]], *, on_bytes: OnBytes | None = None
) -> Generator[Outcome[FetchedObject]]:
    """Fetch objects to paths, each as `csci_utils.s3.get` does, and give what became of them in the order of the pairs.

    Unlike there, the paths are final ones: a file appears whole or not at all.

    Args:
        pairs: addresses and paths; read as they are needed, by several threads, one at a time.
        on_bytes: told of progress, by several threads, one at a time.
    """
    count = _one_at_a_time(on_bytes)

    def fetch(uri: S3Uri, path: Path) -> FetchedObject:
        with atomic_path(path) as scratch:
            return get(uri, scratch, on_bytes=count)

    return _many(pairs, fetch)


def put_many(
    pairs: Iterable[tuple[S3Uri, Path]], *, on_bytes: OnBytes | None = None, journal: Path | None = None
) -> Generator[Outcome[ObjectInfo]]:
    """Send files to their keys, each as `csci_utils.s3.put` does; in all else as `get_many`."""
    count = _one_at_a_time(on_bytes)
    return _many(pairs, lambda uri, path: put(path, uri, on_bytes=count, journal=journal))


def each(items: Iterable[Item], do: Callable[[Item], Done], *, num_threads: int | None = None) -> Generator[Done]:
    """Do something for each of many items in several threads, and give what came of it in their order.

    Unlike a pool of `concurrent.futures`, it ends soon when it is given up: on the first error, which is raised, on
    Ctrl-C, and when its reader goes away, what is under way in this package is stopped, and not waited for for long.

    Args:
        items: read as they are needed, by several threads, one at a time.
        do: called in the threads.
        num_threads: as many as the limits say for objects, if nothing else is said.
    """
    num_threads = num_threads or limits().parallel_objects
    work = _Work(items, do, num_ahead=_AHEAD * num_threads)
    with Crew(work.run, num_threads=num_threads, patience_s=limits().stop_wait_s) as crew:
        while work.wait_for_next(crew):
            yield work.take_outcome(crew)


def _many(pairs: Iterable[tuple[S3Uri, Path]], move: Callable[[S3Uri, Path], Done]) -> Generator[Outcome[Done]]:
    def try_to_move(pair: tuple[S3Uri, Path]) -> Outcome[Done]:
        uri, path = pair
        try:
            return Outcome(uri=uri, path=path, value=move(uri, path))
        except Exception as err:
            return Outcome(uri=uri, path=path, error=err)

    return each(pairs, try_to_move)


class _Work(Generic[Item, Done]):
    """Items for which there is still something to do, and what came of the others."""

    def __init__(self, items: Iterable[Item], do: Callable[[Item], Done], *, num_ahead: int) -> None:
        self._outcomes: dict[int, Done] = {}
        self._num_given = 0
        self._num_ahead = num_ahead
        self._do = do
        self._items = enumerate(items)
        self._num_items: int | None = None
        self._num_taken = 0
        self._lock = threading.Lock()

    def run(self, crew: Crew) -> None:
        """Take items that no other thread has taken, until there are none; not far ahead of who reads the outcomes."""
        while True:
            crew.wait_for(lambda: self._num_taken - self._num_given < self._num_ahead)
            taken = self._take()
            if taken is None:
                crew.notify()
                return
            number, item = taken
            crew.stop.check()
            self._outcomes[number] = self._do(item)
            crew.notify()

    def wait_for_next(self, crew: Crew) -> bool:
        """Wait until it is known what came of the next item, or that there is none (False)."""
        number = self._num_given
        crew.wait_for(lambda: number in self._outcomes or self._num_items is not None and number >= self._num_items)
        return number in self._outcomes

    def take_outcome(self, crew: Crew) -> Done:
        """Hand out what came of the next item, so that the threads may go on to others."""
        outcome = self._outcomes.pop(self._num_given)
        self._num_given += 1
        crew.notify()
        return outcome

    def _take(self) -> tuple[int, Item] | None:
        with self._lock:
            taken = next(self._items, None)
            if taken is None:
                self._num_items = self._num_taken
            else:
                self._num_taken += 1
            return taken


def _one_at_a_time(on_bytes: OnBytes | None) -> OnBytes | None:
    if on_bytes is None:
        return None
    lock = threading.Lock()

    def count(num_bytes: int) -> None:
        with lock:
            on_bytes(num_bytes)

    return count
