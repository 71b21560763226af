"""Notes in a folder in S3 of those who write it: named as scratch files are, they list what their writer may leave."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from csci_utils.io import is_abandoned, is_scratch, scratch_path
from csci_utils.s3 import S3Uri, get_record, put_text

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
        with tempfile.NamedTemporaryFile(prefix="note-") as file:
            os.utime(file.name, (self.since_s, self.since_s))
            return is_abandoned(Path(file.name), self.owner)


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
