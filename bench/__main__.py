"""`python -m bench [GROUP ...]`: comparisons with named peers, each in its own process; all of them by default."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import deps, end_to_end, imports, loader, peers, store, train_on_card, train_step
from bench.transfer_table import LEGEND

PARTS = tuple(store.sections())
GROUPS = ("start", "deps", "job", "train", "store", *PARTS, "loader")


def main() -> None:
    """Print the machine and every table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; store is {', '.join(PARTS)} together"
    )
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of the slow commands")
    options = parser.parse_args()
    unknown = sorted(set(options.groups) - set(GROUPS))
    if unknown:
        parser.error(f"GROUP: wanted some of {', '.join(GROUPS)}, found {', '.join(map(repr, unknown))}")
    groups = options.groups or ["start", "deps", "job", "train", "loader", "store"]
    try:
        print("\n".join(_machine(groups)), flush=True)
        for lines in _tables(groups, rounds=options.rounds):
            print("\n".join(["", *lines, _load()]), flush=True)
    except peers.PeerMissingError as err:
        sys.exit(f"python -m bench: {err}")


def _tables(groups: Sequence[str], *, rounds: int) -> Iterator[list[str]]:
    if "start" in groups:
        yield imports.run(rounds=3 * rounds)
    if "deps" in groups:
        yield from deps.run(rounds=3 * rounds)
    if "job" in groups:
        yield end_to_end.run(rounds=rounds)
    if "train" in groups:
        yield from train_step.run(rounds=rounds)
        if train_on_card.card():
            yield from train_on_card.run(rounds=rounds)
    if "loader" in groups:
        yield from loader.run(rounds=rounds)
    parts = PARTS if "store" in groups else [name for name in PARTS if name in groups]
    if parts:
        yield from store.run(parts, rounds=rounds)


def _machine(groups: Sequence[str]) -> list[str]:
    card = train_on_card.card() if "train" in groups else None
    gpu = f"{card} (training's second table only)" if card else "no GPU used"
    lines = [f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {gpu}"]
    if set(groups) & {"store", *PARTS}:
        lines += [f"the store: Swift on loopback, a process each server, no cache; {peers.versions()}", *LEGEND]
    return [*lines, _load()]


def _load() -> str:
    """Say how busy the machine is, others' work included: what waits for a core makes every number worse."""
    return "load average {:.1f} (1 minute), {:.1f} (15 minutes)".format(*(os.getloadavg()[n] for n in (0, 2)))


def _processor() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.path.exists("/proc/cpuinfo") else ()
    ):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
