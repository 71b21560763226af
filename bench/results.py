"""`bench/RESULTS.md`: what every group found, when and on which machine. A group that runs again replaces its part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.report import Table, markdown_of
from csci_utils.io import atomic_path

HEAD = """\
# Results

Every number here was made by `make bench`, or by `python -m bench --results bench/RESULTS.md GROUP ...` for some of the
groups. A ratio is one of medians, both sides of it measured in the same run, in turns, each in a process of its own.
`make bench-plots` draws bars of the tables.
"""

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_GROUP = re.compile(r"^## (.+)$", re.MULTILINE)


def write_group(path: Path, group: str, tables: Sequence[Table], *, order: Sequence[str]) -> None:
    """Put what a group found into the file, whole or not at all; what other groups found before stays.

    Args:
        path: Made where it is not there.
        group: Its name.
        tables: What it found.
        order: Of all groups; those it does not name come last.
    """
    parts = read_parts(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts[group] = "\n".join([*_measured(), "", *(line for table in tables for line in markdown_of(table))])
    with atomic_path(path) as scratch:
        scratch.write_text(whole(parts, order=order), encoding="utf-8")


def whole(parts: Mapping[str, str], *, order: Sequence[str]) -> str:
    """Return the file's text."""
    known = {name: place for place, name in enumerate(order)}
    names = sorted(parts, key=lambda name: known.get(name, len(known)))
    return "\n".join([HEAD, *(f"## {name}\n\n{parts[name].strip()}\n" for name in names)])


def read_parts(text: str) -> dict[str, str]:
    """Return the text of each group by its name."""
    pieces = _GROUP.split(text)[1:]
    return {name: body.strip() for name, body in zip(pieces[::2], pieces[1::2], strict=True)}


def read_tables(part: str) -> dict[str, list[dict[str, str]]]:
    """Return the rows of a group's Markdown tables by the tables' titles; a row's name has the empty key."""
    tables: dict[str, list[dict[str, str]]] = {}
    for block in f"\n{_FENCED.sub('', part)}".split("\n### ")[1:]:
        title, _, body = block.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")]
        if lines:
            head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
            tables[title] = [dict(zip(head, row, strict=True)) for row in rows]
    return tables


def _measured() -> list[str]:
    now = datetime.now(UTC)
    first, *more = machine.described()
    return [f"Measured on {now:%Y-%m-%d}: {first},", *(f"{line}," for line in more), f"{machine.load()} at the end."]
