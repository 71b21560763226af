"""What a measured program says of itself: how long it moved bytes, and how much more memory that took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def told() -> Iterator[dict[str, Any]]:
    """Measure the block, and print a line of JSON for `bench.measure.Sample`.

    It holds wall seconds (``moving_s``), CPU seconds of the whole process (``moving_cpu_s``), the process's peak of
    resident memory before (``idle_bytes``) and after (``peak_bytes``), and what the block adds.
    """
    seen: dict[str, Any] = {"idle_bytes": peak_bytes(Path("/proc/self/status").read_text(encoding="utf-8"))}
    start, cpu = time.perf_counter(), time.process_time()
    yield seen
    seen |= {"moving_s": time.perf_counter() - start, "moving_cpu_s": time.process_time() - cpu}
    seen["peak_bytes"] = peak_bytes(Path("/proc/self/status").read_text(encoding="utf-8"))
    print(json.dumps(seen), flush=True)


def peak_bytes(status: str) -> int:
    """Read the peak of resident memory, since the program began, from a process's ``/proc/.../status``.

    getrusage's figure would not do: it survives the exec, so a child of a big process begins with its parent's.
    """
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
