"""Notes in a folder in S3 of those who write it: named as scratch files are, they list what their writer may leave."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.io import is_abandoned, is_scratch, scratch_path
from csci_utils.s3 import ObjectMissingError, S3Uri, get, put

NOTE_STEM = ".writing~"
"""What the name of every note begins with."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a writer says of itself.

    Attributes:
        place: where the note lies, relative to the folder.
        owner: its process, as `csci_utils.io.owner` names it.
        since_s: when it began, in seconds since 1970.
        places: what has to go, where no flag names it, when the writer is gone.
    """

    place: str
    owner: str
    since_s: float
    places: tuple[str, ...]

    def is_abandoned(self) -> bool:
        """Tell whether the writer is gone, as is told of a scratch file of that owner and age."""
        with _scratch() as path:
            path.touch()
            os.utime(path, (self.since_s, self.since_s))
            return is_abandoned(path, self.owner)


def new_note() -> str:
    """Name a note of this process."""
    return scratch_path("writing.json").name


def is_note(place: str) -> bool:
    """Tell whether a place in a folder is that of a note."""
    return is_scratch(place) and place.startswith(NOTE_STEM)


def write_note(root: S3Uri, note: str, places: Iterable[str]) -> None:
    """Write this process's note, or write it anew."""
    put_text(json.dumps({"since_s": int(time.time()), "places": list(places)}), root.joined(note))


def read_note(root: S3Uri, place: str) -> Note:
    """Read a note; one that cannot be read, or is gone again, is of a writer that lives and lists nothing."""
    owner = place.partition("~scratch-")[2].rpartition("-")[0]
    try:
        record = get_record(root.joined(place)) or {}
        places = tuple(str(each) for each in record["places"])
        return Note(place=place, owner=owner, since_s=float(record["since_s"]), places=places)
    except (ValueError, TypeError, KeyError):
        return Note(place=place, owner=owner, since_s=time.time(), places=())


def put_text(text: str, uri: S3Uri, *, content_type: str = "application/json") -> None:
    """Make a text an object."""
    with _scratch() as path:
        path.write_text(text, encoding="utf-8")
        put(path, uri, extra={"ContentType": content_type})


def get_text(uri: S3Uri) -> str:
    """Return the text of an object.

    Raises:
        ObjectMissingError: there is none.
    """
    with _scratch() as path:
        get(uri, path)
        return path.read_text(encoding="utf-8", errors="replace")


def get_record(uri: S3Uri) -> dict[str, Any] | None:
    """Return the record that an object is; None when it is missing or not a JSON object."""
    try:
        record = json.loads(get_text(uri))
    except (ObjectMissingError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield the path of a small file that nobody else can read, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="text-") as folder:
        yield Path(folder, "text")
