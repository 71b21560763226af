"""Time whole commands, interleaved, each in its own process; medians, and what was discarded is said."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to time.

    Attributes:
        name: For the table.
        args: Arguments, the program first.
        env: The whole environment.
        before: Called before each run, untimed: puts the program's world back to its start.
        after: Called after each run, untimed; what it returns is taken for told by the program, too.
        cwd: Where it runs.
    """

    name: str
    args: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    before: Callable[[], None] = lambda: None
    after: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run of a command.

    Attributes:
        wall_s: From the start of its process to its end.
        cpu_s: User and system time of its process.
        servers_cpu_s: The same of each server that was watched, while the command ran.
        told: What the program said of itself: the last line of its output, where that is a JSON object.
    """

    wall_s: float
    cpu_s: float = 0.0
    servers_cpu_s: Sequence[float] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


Samples = Mapping[str, Sequence[Sample]]


def interleaved(
    commands: Sequence[Command], *, rounds: int, discarded: int = 1, server_pids: Sequence[int] = ()
) -> dict[str, list[Sample]]:
    """Run every command once a round, so that a slow minute of the machine meets all of them.

    Args:
        commands: What to time.
        rounds: Rounds that count.
        discarded: Rounds before them that warm the file cache and do not count.
        server_pids: Processes whose CPU time is taken too.

    Returns:
        What was seen by command name, one for each counted round.

    Raises:
        RuntimeError: a command failed; its standard error is in the message.
    """
    samples: dict[str, list[Sample]] = {command.name: [] for command in commands}
    for round_number in range(discarded + rounds):
        for command in commands:
            command.before()
            sample = _run(command, server_pids)
            if round_number >= discarded:
                samples[command.name].append(sample)
    return samples


def interleaved_s(commands: Sequence[Command], *, rounds: int, discarded: int = 1) -> dict[str, list[float]]:
    """Do as `interleaved`, and return wall seconds alone."""
    samples = interleaved(commands, rounds=rounds, discarded=discarded)
    return {name: [sample.wall_s for sample in each] for name, each in samples.items()}


def table(seconds: Mapping[str, Sequence[float]], *, peer: str) -> list[str]:
    """Lines of a table: median, spread, and the ratio of medians to `peer` (under 1 is faster than it)."""
    reference = statistics.median(seconds[peer])
    lines = [f"{'':44} {'median':>9} {'min':>9} {'max':>9} {'ratio':>7}"]
    for name, values in seconds.items():
        median = statistics.median(values)
        lines.append(
            f"{name:44} {median:8.3f}s {min(values):8.3f}s {max(values):8.3f}s {median / reference:7.2f}"
            + ("  (the peer)" if name == peer else "")
        )
    return lines


def cpu_s(pid: int) -> float:
    """Return the user and system time that a running process of this machine has taken so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes_under(pid: int) -> list[int]:
    """Return the children that a process's first thread started, the oldest first (Linux)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def _run(command: Command, server_pids: Sequence[int]) -> Sample:
    before, servers_before = _children_cpu_s(), [cpu_s(pid) for pid in server_pids]
    start = time.perf_counter()
    done = subprocess.run(
        command.args, env=dict(command.env), cwd=command.cwd, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(f"{command.name} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Sample(
        wall_s=elapsed,
        cpu_s=_children_cpu_s() - before,
        servers_cpu_s=[cpu_s(pid) - earlier for pid, earlier in zip(server_pids, servers_before, strict=True)],
        told={**_told(done.stdout), **command.after()},
    )


def _children_cpu_s() -> float:
    """Return what the children that have ended took; those that still run, as servers do, do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _told(output: str) -> dict[str, Any]:
    last = output.strip().rpartition("\n")[2]
    try:
        told = json.loads(last)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
