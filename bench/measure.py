"""Time whole commands, interleaved, each in its own process; medians, and what was discarded is said."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to time.

    Attributes:
        name: For the table.
        args: Arguments, the program first.
        env: The whole environment.
        before: Called before each run, untimed: puts the program's world back to its start.
        cwd: Where it runs.
    """

    name: str
    args: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    before: Callable[[], None] = lambda: None


def interleaved_s(commands: Sequence[Command], *, rounds: int, discarded: int = 1) -> dict[str, list[float]]:
    """Run every command once a round, so that a slow minute of the machine meets all of them.

    Args:
        commands: What to time.
        rounds: Rounds that count.
        discarded: Rounds before them that warm the file cache and do not count.

    Returns:
        Wall seconds by command name, one for each counted round.

    Raises:
        RuntimeError: a command failed; its standard error is in the message.
    """
    seconds: dict[str, list[float]] = {command.name: [] for command in commands}
    for round_number in range(discarded + rounds):
        for command in commands:
            command.before()
            elapsed = _run_s(command)
            if round_number >= discarded:
                seconds[command.name].append(elapsed)
    return seconds


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


def _run_s(command: Command) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command.args, env=dict(command.env), cwd=command.cwd, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(f"{command.name} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return elapsed
