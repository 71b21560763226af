"""How much memory is free on a device."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LEAST_SHARE_BYTES = 256 << 20
"""As long as twice as much is free, nobody gets less because of others, since what they use is counted twice."""

_taken: Counter[str] = Counter()
_lock = threading.Lock()

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str) -> int | None:
    """Return what a program can still take there: on the CPU of the machine and of its container; None: unknown."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)  # what torch keeps of earlier tensors is used again
    if device != "cpu":
        return None
    found = [each for each in (_of_machine(), _of_container()) if each is not None]
    return min(found, default=None)


@contextmanager
def half_of_free(device: str, free: int | None, *, needed_bytes: int) -> Iterator[int | None]:
    """Say what the block may take: half of what is free and not taken by such blocks in other threads.

    Each may have just begun, so that what it needs is free still: all of them would be told the same half.

    Args:
        device: where.
        free: as `free_bytes` says; None: unknown, and so is the half.
        needed_bytes: what the block takes if it may.
    """
    if free is None:
        yield None
        return
    with _lock:
        allowed = max((free - _taken[device]) // 2, min(free // 2, _LEAST_SHARE_BYTES))
        taken = min(needed_bytes, allowed)
        _taken[device] += taken
    try:
        yield allowed
    finally:
        with _lock:
            _taken[device] -= taken


def _of_machine() -> int | None:
    return _number(_MEMINFO, "MemAvailable:", factor=1024)


def _of_container() -> int | None:
    """Return what its limit leaves; what the kernel keeps of files can be had, too (cgroup version 2)."""
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is None or used is None:
        return None
    return limit - used + (_number(_CGROUP / "memory.stat", "inactive_file") or 0)


def _number(path: Path, name: str = "", *, factor: int = 1) -> int | None:
    """Read the number after a name at a line's beginning; None where there is none ("max", no such file)."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        first, *_ = line.removeprefix(name).split() or [""]
        if line.startswith(name) and first.isdigit():
            return factor * int(first)
    return None
