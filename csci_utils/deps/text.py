"""Plain text for a terminal: columns that line up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give each row as a line whose cells stand below each other; rows may have fewer cells than others."""
    widths = [max(len(cell) for cell in column) for column in zip_longest(*rows, fillvalue="")]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
