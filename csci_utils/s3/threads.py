"""Threads that end together: on the first error, on Ctrl-C, and when the call they work for is stopped itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress

_SLICE_S = 0.1
_here = threading.local()


class StoppedError(BaseException):
    """The call that a thread works for was given up; like a KeyboardInterrupt, no failure of what it was doing."""


class Stop:
    """A sign to end, seen by the threads of one call, and by those of the calls that those make."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._wakers: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """Give the sign, and wake what waits."""
        with self._lock:
            self._set = True
            wakers = list(self._wakers.values())
        for wake in wakers:
            _call(wake)

    def is_set(self) -> bool:
        """Tell whether the sign was given."""
        return self._set

    def check(self) -> None:
        """Raise `StoppedError` once the sign was given."""
        if self._set:
            raise StoppedError("given up")

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call ``wake``, from whichever thread, when the sign is given while the block runs (or was already)."""
        key = object()
        with self._lock:
            self._wakers[key] = wake
        if self._set:
            _call(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.pop(key, None)


def _call(wake: Callable[[], object]) -> None:
    """Wake somebody, who may be awake or gone already."""
    with suppress(Exception):
        wake()


def stopped() -> bool:
    """Tell whether this thread works for a call that was given up."""
    stop: Stop | None = getattr(_here, "stop", None)
    return stop is not None and stop.is_set()


def check_stopped() -> None:
    """Raise `StoppedError` where this thread works for a call that was given up."""
    if stopped():
        raise StoppedError("given up")


def waking(wake: Callable[[], object]) -> AbstractContextManager[None]:
    """Call ``wake`` when this thread's call is given up while the block runs."""
    stop: Stop | None = getattr(_here, "stop", None)
    return nullcontext() if stop is None else stop.waking(wake)


@contextmanager
def hurried() -> Iterator[None]:
    """Have this thread's requests in the block tried once, as those of a call that was given up are."""
    before = getattr(_here, "stop", None)
    _here.stop = Stop()
    _here.stop.set()
    try:
        yield
    finally:
        _here.stop = before


def pause(seconds: float) -> None:
    """Sleep, but not on after this thread's call was given up."""
    if getattr(_here, "stop", None) is None:
        time.sleep(seconds)
        return
    while seconds > 0:
        check_stopped()
        time.sleep(min(seconds, _SLICE_S))
        seconds -= _SLICE_S


class Crew:
    """Runs ``work`` in several threads while its block runs; the first error of one stops all and ends the block.

    When the block ends by an exception, Ctrl-C included, the threads are told to stop and waited for a while; they are
    daemons, so that one that hangs in the network keeps no process alive.
    """

    def __init__(self, work: Callable[[Crew], None], *, num_threads: int, patience_s: float) -> None:
        self.stop = Stop()
        self._patience_s = patience_s
        self._work = work
        self._changed = threading.Condition()
        self._ties = ExitStack()
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._run, name=f"s3-{n}", daemon=True) for n in range(num_threads)]

    def __enter__(self) -> Crew:
        self._ties.enter_context(self.stop.waking(self.notify))
        self._ties.enter_context(waking(self.stop.set))
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # no more threads, or Ctrl-C
            self._end(hurried=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(hurried=kind is not None)
        if kind is None and self._error is not None:
            raise self._error

    @property
    def ended(self) -> bool:
        """Whether no thread works any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def notify(self) -> None:
        """Have `wait_for` look again."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait until something is true that a thread makes true, and tells by `notify`.

        Raises:
            StoppedError: the call that this one works for was given up.
            BaseException: whatever a thread raised.
        """
        with self._changed:
            while not ready():
                if self._error is not None:
                    raise self._error
                self.stop.check()
                if self.ended:
                    raise RuntimeError("every thread ended, and the work is not done")
                self._changed.wait(1.0)

    def _end(self, *, hurried: bool) -> None:
        try:
            if hurried:
                self.stop.set()
            end_s = time.monotonic() + self._patience_s
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join(max(0.0, end_s - time.monotonic()) if hurried else None)
        finally:
            self._ties.close()

    def _run(self) -> None:
        _here.stop = self.stop
        try:
            self._work(self)
        except BaseException as err:
            if self._error is None and not (isinstance(err, StoppedError) and self.stop.is_set()):
                self._error = err
            self.stop.set()
        finally:
            self.notify()
