"""Imports of large libraries, without what makes them, or what they do, slow."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Let the cyclic garbage collector rest while a library is imported.

    An import makes objects by the hundred thousand and hardly any garbage, and the collector looks at all of them again
    and again: that is a sixth of what torch's import takes.

    Torch's threads (GNU OpenMP) wait for each other awake for a few microseconds only where it is imported like this,
    and then sleep. By themselves they would take the time of whatever else runs, and of each other: with two busy
    neighbours on two cores a picture takes a third less time like this, and with none as long as before.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
