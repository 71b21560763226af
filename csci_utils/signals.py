"""Interrupts that are not lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_AGAIN_S = 0.01


@contextmanager
def lasting_interrupts(before_again: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Send an interrupt again that Python swallowed; without this, a Ctrl-C now and then does nothing.

    A signal's handler runs between any two instructions, also in a ``__del__`` or a weak reference's callback. What is
    raised there goes no further: Python prints it, with a traceback, and goes on.

    Args:
        before_again: called in the main thread before the signal comes again, to set its handler anew, say.

    A `KeyboardInterrupt` with an attribute ``signum`` came from that signal, any other from SIGINT.
    """

    def take(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)
            return
        before_again()
        signum = getattr(unraisable.exc_value, "signum", signal.SIGINT)
        # Later: here its handler would raise into nothing once more.
        timer = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signum))
        timer.daemon = True
        timer.start()

    before, sys.unraisablehook = sys.unraisablehook, take
    try:
        yield
    finally:
        sys.unraisablehook = before
