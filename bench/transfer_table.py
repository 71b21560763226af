"""Tables of transfers: whole commands, the transfer alone, the CPU on both sides; and whether a goal is met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.measure import Sample, Samples

_NAME = 41


@dataclass(frozen=True, kw_only=True)
class Goal:
    """That one command takes at most so much of the time of another.

    Attributes:
        ours: the name of the one.
        peer: the name of the other.
        at_most: ratio of median seconds.
    """

    ours: str
    peer: str
    at_most: float = 1.0


LEGEND = [
    "whole: from the start of the process to its end, Python's start and imports included. alone: the transfer, in a",
    "process that has its client already, for programs that say so; its ratio is to the peer's alone, or else whole.",
    "cpu: user and system seconds of the program; of all four servers meanwhile; of the busiest of them. Medians.",
]


def table(samples: Samples, *, peer: str) -> list[str]:
    """Lines of a table; ratios are of medians to `peer` (under 1 is faster than it)."""
    head = ["whole", "min", "max", "ratio", "alone", "ratio", "cpu", "servers", "busiest"]
    lines = [f"{'':{_NAME}}" + "".join(f"{word:>9}" for word in head)]
    for name, each in samples.items():
        walls = [sample.wall_s for sample in each]
        cells = [_s(whole_s(each)), _s(min(walls)), _s(max(walls)), f"{whole_s(each) / whole_s(samples[peer]):.2f}"]
        if each[0].told:
            cells += [_s(alone_s(each)), f"{alone_s(each) / alone_s(samples[peer]):.2f}"]
        else:
            cells += ["", ""]
        cells += [_s(median(each, lambda sample: sample.cpu_s)), _s(servers_s(each)), _s(busiest_s(each))]
        lines.append(f"{name:{_NAME}}" + "".join(f"{cell:>9}" for cell in cells) + (" peer" if name == peer else ""))
    return lines


def verdict(samples: Samples, goal: Goal) -> list[str]:
    """Say whether a goal is met, by the whole command and by the transfer alone; if not, where the time goes."""
    ours, peer = samples[goal.ours], samples[goal.peer]
    whole, alone = whole_s(ours) / whole_s(peer), alone_s(ours) / alone_s(peer)
    lines = [
        f"goal, at most {goal.at_most:.2f} of {goal.peer}: whole command {whole:.2f} {_met(whole, goal)}, "
        f"transfer alone {alone:.2f} {_met(alone, goal)}"
    ]
    return lines if is_met(samples, goal) else [*lines, *where_it_goes(ours)]


def is_met(samples: Samples, goal: Goal) -> bool:
    """Tell whether a goal is met by the whole command and by the transfer alone."""
    ours, peer = samples[goal.ours], samples[goal.peer]
    ratios = (whole_s(ours) / whole_s(peer), alone_s(ours) / alone_s(peer))
    return all(_met(ratio, goal) == "met" for ratio in ratios)


def where_it_goes(samples: Sequence[Sample]) -> list[str]:
    """Say what the seconds of a command that tells of itself are made of."""
    moving_cpu_s = median(samples, lambda sample: sample.told["moving_cpu_s"])
    return [
        f"where the time goes: start, imports and end {whole_s(samples) - alone_s(samples):.2f} s; the transfer "
        f"{alone_s(samples):.2f} s, in which",
        f"our process computed for {moving_cpu_s:.2f} s, the servers for {servers_s(samples):.2f} s, the busiest of "
        f"them for {busiest_s(samples):.2f} s",
    ]


def whole_s(samples: Sequence[Sample]) -> float:
    """Return the median seconds of whole commands."""
    return median(samples, lambda sample: sample.wall_s)


def alone_s(samples: Sequence[Sample]) -> float:
    """Return the median seconds of the transfer alone; of whole commands where those say nothing of it."""
    return median(samples, lambda sample: sample.told.get("moving_s", sample.wall_s))


def servers_s(samples: Sequence[Sample]) -> float:
    """Return the median CPU seconds of all servers."""
    return median(samples, lambda sample: sum(sample.servers_cpu_s))


def busiest_s(samples: Sequence[Sample]) -> float:
    """Return the median CPU seconds of the server that had most to do."""
    return median(samples, lambda sample: max(sample.servers_cpu_s, default=0.0))


def median(samples: Sequence[Sample], number: Callable[[Sample], float]) -> float:
    """Return the median of a number over some runs."""
    return statistics.median(number(sample) for sample in samples)


def _met(ratio: float, goal: Goal) -> str:
    return "met" if ratio <= goal.at_most else "MISSED"


def _s(seconds: float) -> str:
    return f"{seconds:.3f}"
