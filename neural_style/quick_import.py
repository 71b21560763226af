"""Imports of large libraries, without what makes them slow."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Let the cyclic garbage collector rest while a library is imported.

    An import makes objects by the hundred thousand and hardly any garbage, and the collector looks at all of them again
    and again: that is a sixth of what torch's import takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
