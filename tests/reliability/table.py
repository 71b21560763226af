"""The table in ``docs/reliability.md``: written from outcomes, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.reliability.cases import DIRECTIONS, ROWS, Case, NoCase
from tests.reliability.scene import SIZES

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- outcomes -->", "<!-- end of outcomes -->"
STORES = ("moto", "swift")
COLUMNS = [(store, size) for store in STORES for size in SIZES]


class Cell(NamedTuple):
    """One field of the table."""

    case: Case
    store: str
    size: str

    def __str__(self) -> str:
        """Name it, for people and for pytest."""
        return f"{self.case.direction}: {self.case.fault}, {self.case.how}, {self.store}, {self.size}"


CELLS = [Cell(row, *column) for row in ROWS if isinstance(row, Case) for column in COLUMNS]


def render(outcomes: Mapping[str, str]) -> str:
    """Write the tables, one a direction, from the outcomes by cell name."""
    parts = []
    for direction in DIRECTIONS:
        heads = ["fault", "how", *(f"{store}, {size}" for store, size in COLUMNS)]
        parts += [
            f"### {direction.capitalize()}",
            "",
            _line(heads),
            _line(["---"] * len(heads)),
        ]
        parts += [_line(_fields(row, outcomes)) for row in ROWS if row.direction == direction]
        parts.append("")
    return "\n".join(parts)


def committed() -> str:
    """Return the tables as they stand in the document."""
    _, begin, rest = DOCUMENT.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    table, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT}: wanted tables between {BEGIN!r} and {END!r}, found none")
    return table


def parse(table: str) -> dict[str, str]:
    """Read the outcomes by cell name; a row that is missing has none."""
    rows = {}
    direction = ""
    for line in table.splitlines():
        direction = line.removeprefix("### ").lower() if line.startswith("### ") else direction
        fields = [field.strip() for field in line.strip("|").split("|")]
        rows[direction, *fields[:2]] = fields[2:]
    outcomes = {}
    for cell in CELLS:
        fields = rows.get((cell.case.direction, cell.case.fault, cell.case.how), [])
        outcomes[str(cell)] = dict(zip(COLUMNS, fields, strict=False)).get((cell.store, cell.size), "")
    return outcomes


def write(outcomes: Mapping[str, str]) -> None:
    """Put new tables into the document."""
    before, begin, rest = DOCUMENT.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    DOCUMENT.write_text(before + begin + render(outcomes) + end + after, encoding="utf-8")


def _fields(row: Case | NoCase, outcomes: Mapping[str, str]) -> list[str]:
    if isinstance(row, NoCase):
        return [row.fault, "at all", *[f"n/a: {row.why}"] * len(COLUMNS)]
    return [row.fault, row.how, *(outcomes[str(Cell(row, *column))] for column in COLUMNS)]


def _line(fields: list[str]) -> str:
    return f"| {' | '.join(fields)} |"
