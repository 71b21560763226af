"""What a group of comparisons found: printed as lines, or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_CELL = 9


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table with what stands above and below it.

    Attributes:
        title: What is compared.
        notes: How it was measured: rounds, what was discarded, what the columns are.
        head: Names of the columns after the first.
        rows: Each with its name first; the last column may hold words.
        remarks: Goals, and what else the numbers say.
    """

    title: str
    notes: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    remarks: Sequence[str] = field(default=())

    def lines(self) -> list[str]:
        """Return it as columns of one width, for a terminal."""
        return [self.title, *self.notes, *self._columns(), *self.remarks]

    def markdown(self) -> list[str]:
        """Return it as Markdown under a heading of the third level."""
        lines = [f"### {self.title}", "", *_paragraph(self.notes)]
        if self.rows:
            lines += [_row(["", *self.head]), _row(["---", *("---:" for _ in self.head)])]
            lines += [*(_row(row) for row in self.rows), ""]
        return [*lines, *(f"- {remark}" for remark in self.remarks), *([""] if self.remarks else [])]

    def _columns(self) -> list[str]:
        if not self.rows:
            return []
        name = 1 + max(len(row[0]) for row in self.rows)
        wide = [1 + max(_CELL, *(len(row[n]) for row in [["", *self.head], *self.rows])) for n in self._numbers()]
        return [
            f"{row[0]:{name}}" + "".join(f"{cell:>{width}}" for cell, width in zip(row[1:], wide, strict=True))
            for row in [["", *self.head], *self.rows]
        ]

    def _numbers(self) -> range:
        return range(1, 1 + len(self.head))


Table = Section | list[str]
"""What a group yields; plain lines are printed as they are."""


def lines_of(table: Table) -> list[str]:
    """Return a table as lines for a terminal."""
    return table.lines() if isinstance(table, Section) else table


def markdown_of(table: Table) -> list[str]:
    """Return a table as Markdown; plain lines stay as they are, under their first."""
    if isinstance(table, Section):
        return table.markdown()
    return [f"### {table[0]}", "", "```text", *table[1:], "```", ""]


def _paragraph(sentences: Sequence[str]) -> list[str]:
    return [*sentences, ""] if sentences else []


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
