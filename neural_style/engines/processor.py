"""What there is to compute with, found without importing any library for it."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_DEVICES = Path("/dev")


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def processor() -> str:
    """Name the kind of processor: the same text for those that run the same instructions."""
    parts = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
        parts += [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def may_have_accelerator() -> bool:
    """Tell whether it is worth importing torch to ask for one."""
    if platform.system() == "Darwin":
        return True
    return platform.system() == "Linux" and any((_DEVICES / name).exists() for name in ("nvidia0", "nvidiactl", "dxg"))
