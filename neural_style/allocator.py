"""Memory that is kept for a while instead of given back to the system; costs nothing to import.

A training step allocates and frees hundreds of maps of megabytes. The C library gives each of them back, so the system
clears every page of the next one: on a CPU a tenth of a step.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# malloc.h of glibc; the defaults are those of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULT_TRIM_BYTES, _DEFAULT_MAX_MMAPS = 128 * 1024, 65536
_NEVER_TRIM_BYTES = 2**31 - 1


@contextmanager
def memory_kept() -> Iterator[None]:
    """Have what is freed within the block used again by later allocations, and give it back at its end.

    It works with glibc, and is nothing elsewhere. Where no tensor was made before it, torch's large ones lie on large
    pages too, as far as the system has them (torch reads that setting once).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM_BYTES)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _DEFAULT_MAX_MMAPS)
        libc.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM_BYTES)
        libc.malloc_trim(0)


def give_back() -> None:
    """Give to the system what was freed and lies about, where there is glibc: after work with many large buffers."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    """Return the C library where it is glibc, else None."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return libc if all(hasattr(libc, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim")) else None
