"""`python -m bench [GROUP ...]`: comparisons with named peers, each in its own process; most of them by default."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench import (
    bands,
    deps,
    end_to_end,
    imports,
    loader,
    machine,
    many,
    many_rate,
    peers,
    results,
    store,
    styling,
    styling_many,
    styling_quality,
    train_on_card,
    train_step,
)
from bench.report import Table, lines_of
from bench.transfer_table import LEGEND

PARTS = tuple(store.sections())
NAMED_ONLY = ("bands-large",)
"""What takes many minutes and no one waits for."""

WITHOUT_STORE = ("start", "deps", "job", "style", "style-many", "many", "many-rate", "bands", "train", "loader")
DEFAULT = (*WITHOUT_STORE, "store")
GROUPS = (*WITHOUT_STORE, "store", *PARTS, *NAMED_ONLY)


def main() -> None:
    """Print the machine and every table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; store is {', '.join(PARTS)} together"
    )
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of the slow commands")
    parser.add_argument("--results", type=Path, help="Markdown file; these groups replace their parts of it")
    options = parser.parse_args()
    unknown = sorted(set(options.groups) - set(GROUPS))
    if unknown:
        parser.error(f"GROUP: wanted some of {', '.join(GROUPS)}, found {', '.join(map(repr, unknown))}")
    groups = options.groups or list(DEFAULT)
    try:
        print("\n".join(_machine(groups)), flush=True)
        for group, tables in _found(groups, rounds=options.rounds):
            found = []
            for table in tables:
                print("\n".join(["", *lines_of(table), machine.load()]), flush=True)
                found.append(table)
            if options.results:
                results.write_group(options.results, group, found, order=GROUPS)
    except peers.PeerMissingError as err:
        sys.exit(f"python -m bench: {err}")


def _tables(groups: Sequence[str], *, rounds: int) -> Iterator[Table]:
    for _, tables in _found(groups, rounds=rounds):
        yield from tables


def _found(groups: Sequence[str], *, rounds: int) -> Iterator[tuple[str, Iterable[Table]]]:
    """Give each group's tables as they are made."""
    make: dict[str, Callable[[], Iterable[Table]]] = {
        "start": lambda: [imports.run(rounds=3 * rounds)],
        "deps": lambda: deps.run(rounds=3 * rounds),
        "job": lambda: [end_to_end.run(rounds=rounds)],
        "style": lambda: _styling(rounds=rounds),
        "style-many": lambda: styling_many.run(rounds=rounds),
        "many": lambda: many.run(rounds=rounds),
        "many-rate": lambda: many_rate.run(rounds=rounds),
        "bands": lambda: bands.run(rounds=rounds),
        "train": lambda: _training(rounds=rounds),
        "loader": lambda: loader.run(rounds=rounds),
        "bands-large": bands.run_large,
    }
    for name, tables in make.items():
        if name in groups:
            yield name, tables()
    parts = PARTS if "store" in groups else [name for name in PARTS if name in groups]
    if parts:
        yield "store" if "store" in groups else f"store: {', '.join(parts)}", store.run(parts, rounds=rounds)


def _styling(*, rounds: int) -> Iterator[Table]:
    yield from styling.run(rounds=rounds)
    yield from styling_quality.run()


def _training(*, rounds: int) -> Iterator[Table]:
    yield from train_step.run(rounds=rounds)
    if train_on_card.card():
        yield from train_on_card.run(rounds=rounds)


def _machine(groups: Sequence[str]) -> list[str]:
    card = train_on_card.card() if "train" in groups else None
    gpu = f"{card} (training's second table only)" if card else "no GPU used"
    processor, *more = machine.described()
    lines = [f"{processor}, {gpu}", *more]
    if set(groups) & {"store", *PARTS}:
        lines += [f"the store: Swift on loopback, a process each server, no cache; {peers.versions()}", *LEGEND]
    return [*lines, machine.load()]


if __name__ == "__main__":
    main()
