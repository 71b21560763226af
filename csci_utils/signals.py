"""Interrupts that are not lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

_AGAIN_S = 0.01

_pending: type[KeyboardInterrupt] | None = None


def raise_interrupt(kind: type[KeyboardInterrupt] = KeyboardInterrupt) -> NoReturn:
    """Raise an interrupt, and remember that: for a signal's handler."""
    global _pending
    _pending = kind
    raise kind


def pending_interrupt() -> type[KeyboardInterrupt] | None:
    """Return the interrupt that was raised in this process (see `raise_interrupt`), None without one.

    What it reaches as may be another exception: an extension module that is being imported makes an ImportError of it,
    a class that is being made a RuntimeError, click an Abort.
    """
    return _pending


@contextmanager
def lasting_interrupts(
    before_again: Callable[[], object] = lambda: None, handlers: AbstractContextManager[object] | None = None
) -> Iterator[None]:
    """Send an interrupt again that Python swallowed; without this, a Ctrl-C now and then does nothing.

    A signal's handler runs between any two instructions, also in a ``__del__`` or a weak reference's callback. What is
    raised there goes no further: Python prints it, with a traceback, and goes on.

    Args:
        before_again: called in the main thread before the signal comes again, to set its handler anew, say.
        handlers: sets them for the block, and is left when no signal is about to come again; they are there already
            where it is None.

    A `KeyboardInterrupt` with an attribute ``signum`` came from that signal, any other from SIGINT. What
    `pending_interrupt` says is of this block. After it no signal comes again; one that was about to is found there.
    """
    global _pending
    again: list[threading.Timer] = []

    def take(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)
            return
        before_again()
        signum = getattr(unraisable.exc_value, "signum", signal.SIGINT)
        # Later: here its handler would raise into nothing once more.
        timer = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signum))
        timer.daemon = True
        again.append(timer)
        timer.start()

    before, sys.unraisablehook = sys.unraisablehook, take
    outer, _pending = _pending, None
    try:
        with handlers or nullcontext():
            try:
                yield
            finally:
                _end(again)
    finally:
        sys.unraisablehook = before
        _pending = outer


def _end(timers: list[threading.Timer]) -> None:
    """Have none of them send its signal any more; one that is about to has sent it then."""
    for timer in timers:
        timer.cancel()
    for timer in timers:
        if timer.is_alive():  # one that could not be started sends nothing
            timer.join()
