"""What Linux tells of processes that the tests have begun."""

from __future__ import annotations

import time
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether a process goes on; whoever started one that has ended may not have asked for its status yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends while its file is read
        return False
    return state not in ("Z", "X")


def children_of(pid: int) -> list[int]:
    """What its first thread has started and is there still, the oldest first."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_gone(*pids: int, within_s: float = 20.0) -> None:
    """Wait until none of them is running."""
    deadline_s = time.monotonic() + within_s
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline_s, f"of {pids} some go on: {left}"
        time.sleep(0.01)
