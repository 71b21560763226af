"""`python -m bench.plots [RESULTS.md] [FOLDER]`: bars of every table in `bench/RESULTS.md`, as PNG; `make bench-plots`.

Drawn with Pillow, which is there anyway. Pictures are not kept in git.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.results import read_parts, read_tables

DRAWN = {
    "times": "times as fast",
    "per s": "a second",
    "ratio": "of the peer's time",
    "more": "MiB of own memory",
    "own": "MiB of own memory",
}
"""Columns that are drawn, the first one that a table has, with what their numbers are."""

_OURS = ("ours", "main job", "get", "put")
_WIDTH_PX, _NAMES_PX, _ROW_PX, _TEXT_PX, _EDGE_PX = 1200, 420, 34, 18, 16
_OURS_COLOUR, _PEER_COLOUR, _INK, _PAPER = "#2f6fb2", "#b8bcc4", "#202428", "#ffffff"


def main() -> None:
    """Draw them all, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).with_name("plots"))
    options = parser.parse_args()
    if not options.results.is_file():
        parser.error(f"{options.results} is not there; make bench writes it")
    for path in draw_all(options.results.read_text(encoding="utf-8"), options.folder):
        print(path)


def draw_all(results: str, folder: Path) -> list[Path]:
    """Draw every table that has one of the columns `DRAWN`.

    Args:
        results: Text of ``RESULTS.md``.
        folder: Made where it is not there.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in read_parts(results).values():
        for title, rows in read_tables(part).items():
            column = next((name for name in DRAWN if name in rows[0]), None) if rows else None
            if column is not None:
                paths.append(folder / f"{_file_name(title)}.png")
                draw(numbers(rows, column), title=f"{title}: {DRAWN[column]}").save(paths[-1])
    return paths


def numbers(rows: Sequence[Mapping[str, str]], column: str) -> dict[str, float]:
    """Return the column by the rows' names; rows without a number there are left out."""
    found = {row[""]: re.match(r"\d+(\.\d+)?", row[column]) for row in rows}
    return {name: float(match[0]) for name, match in found.items() if match is not None}


def draw(values: Mapping[str, float], *, title: str) -> Image.Image:
    """Draw one bar for each value, from zero on."""
    height = 2 * _EDGE_PX + (1 + len(values)) * _ROW_PX
    image = Image.new("RGB", (_WIDTH_PX, height), _PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT_PX)
    pen.text((_EDGE_PX, _EDGE_PX), title, fill=_INK, font=font)
    most = max(values.values(), default=0.0) or 1.0
    for number, (name, value) in enumerate(values.items(), 1):
        top = _EDGE_PX + number * _ROW_PX
        end = _NAMES_PX + round((_WIDTH_PX - _NAMES_PX - 6 * _EDGE_PX) * value / most)
        pen.text((_EDGE_PX, top), name, fill=_INK, font=font)
        colour = _OURS_COLOUR if name.startswith(_OURS) else _PEER_COLOUR
        pen.rectangle((_NAMES_PX, top, end, top + _ROW_PX - 10), fill=colour)
        pen.text((end + _EDGE_PX // 2, top), f"{value:g}", fill=_INK, font=font)
    return image


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80]


if __name__ == "__main__":
    main()
