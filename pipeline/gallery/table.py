"""What a page carries: rows of pictures, columns of styles, as plain lists that stay small, for `script.js`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipeline.folders import IMAGES, STYLIZED
from pipeline.gallery.contents import Contents
from pipeline.gallery.entries import Entry, PictureFile
from pipeline.gallery.originals import image_sha256
from pipeline.gallery.thumbnails import Thumb
from pipeline.results import parameters_in, sources_in

Json: TypeAlias = Any
_Natural: TypeAlias = tuple[list[tuple[int, str]], str]

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page lies, as seen by its links.

    Attributes:
        folders: Addresses of ``images/`` and ``stylized/``, relative to the page where that is possible.
        reaches: Tells of a picture whether a link to it leads there.
    """

    folders: Mapping[str, str]
    reaches: Callable[[PictureFile], bool]


def table_of(contents: Contents, place: Place, *, s3_root: str) -> dict[str, Json]:
    """Everything that the page says, ready for JSON; the same contents give the same table.

    Args:
        contents: What is to be seen.
        place: Where the page lies.
        s3_root: For the addresses of what no link leads to.
    """
    table = _Table(contents, place)
    rows = [table.row(entries) for _, entries in sorted(_by_row(contents.entries).items(), key=_order)]
    return {
        "root": s3_root,
        "folders": {name: place.folders[name] for name in (IMAGES, STYLIZED)},
        "styles": table.styles,
        "pictures": table.pictures.items,
        "models": table.models.items,
        "parameters": table.parameters.items,
        "makers": table.makers.items,
        "rows": rows,
        "failures": [[each.image, each.style, each.reason] for each in table.failures],
    }


class _Pool:
    """Values that many cells share, each of them once."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self._numbers: dict[str, int] = {}

    def number_of(self, item: Json) -> int:
        key = json.dumps(item, sort_keys=True)
        if key not in self._numbers:
            self._numbers[key] = len(self.items)
            self.items.append(item)
        return self._numbers[key]


class _Table:
    def __init__(self, contents: Contents, place: Place) -> None:
        self.styles = sorted({entry.style for entry in contents.entries}, key=_natural)
        self.pictures, self.models, self.parameters, self.makers = _Pool(), _Pool(), _Pool(), _Pool()
        self.failures = sorted(contents.failures, key=lambda each: (each.image, each.style, each.reason))
        self._contents, self._place = contents, place
        self._columns = {style: number for number, style in enumerate(self.styles)}
        self._failed: dict[str, list[tuple[int, int]]] = {}
        for number, failure in enumerate(self.failures):
            if failure.style in self._columns:
                self._failed.setdefault(failure.image, []).append((self._columns[failure.style], number))

    def row(self, entries: Sequence[Entry]) -> Json:
        """A picture with its results: ``[picture, file in the folder of each style, longest side, cells, failed]``.

        The file is 0 where it has the picture's name, and the side where the picture was not shrunk.
        """
        first, present = entries[0], {self._columns[entry.style] for entry in entries}
        cells = sorted((self._cell(entry) for entry in entries), key=lambda cell: int(cell[0]))
        failed = [[column, number] for column, number in self._failed.get(first.image, ()) if column not in present]
        file = _file_of(first)
        parameters = parameters_in(first.record)
        side = 0 if parameters is None else parameters.max_side or 0
        picture = self.pictures.number_of(self._picture(first))
        return [picture, 0 if file == first.image else file, side, cells, failed]

    def _picture(self, entry: Entry) -> Json:
        """A picture as it is now: ``[name, thumb or 0, bytes, whether a link leads there]``."""
        original = self._contents.originals.get(entry.image)
        reaches = original is not None and self._place.reaches(original)
        thumb = _shown(self._contents.now(entry.image))
        return [entry.image, thumb, original.size_bytes or 0 if original else 0, int(reaches)]

    def _cell(self, entry: Entry) -> Json:
        """A result; the order is that of `script.js`."""
        result, now = entry.result, self._contents.now(entry.image)
        before, note = self._contents.before(entry)
        sources = {role: [each.uri, each.sha256, each.size_bytes] for role, each in sources_in(entry.record).items()}
        made_by = entry.record.get("made_by")
        notes = [*entry.notes, *([note] if note else [])]
        return [
            self._columns[entry.style],
            _shown(self._contents.thumbs[result.sha256]),
            result.size_bytes or 0,
            int(self._place.reaches(result)),
            self.models.number_of(sources["model"]) if "model" in sources else -1,
            self.parameters.number_of(entry.record.get("parameters") or {}),
            self.makers.number_of(made_by if isinstance(made_by, dict) else {}),
            0 if before == now else _shown(before),
            image_sha256(entry) or 0 if before is None or image_sha256(entry) != before.sha256 else 0,
            entry.changed_s or 0,
            0 if entry.seconds is None else round(entry.seconds, 3),
            notes or 0,
        ]


def _by_row(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Put together what differs in its style alone."""
    rows: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        rows.setdefault((entry.image, _file_of(entry)), []).append(entry)
    return rows


def _order(row: tuple[tuple[str, str], list[Entry]]) -> tuple[_Natural, _Natural]:
    (image, file), _ = row
    return _natural(image), _natural(file)


def _natural(name: str) -> _Natural:
    """An order in which 10 comes after 9."""
    parts = _DIGITS.split(name)
    return [(int(part), "") if number % 2 else (0, part.casefold()) for number, part in enumerate(parts)], name


def _file_of(entry: Entry) -> str:
    """The name of a result in the folder of its style."""
    return entry.result.name.removeprefix(f"{entry.style}/")


def _shown(thumb: Thumb | None) -> Json:
    return 0 if thumb is None else [thumb.sha256, thumb.width, thumb.height]
