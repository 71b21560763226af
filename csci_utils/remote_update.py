"""A folder in S3 brought to what lies here: what it holds already is not sent again, and the flag comes last.

It is written as `csci_utils.remote_folder` writes one: a key is never overwritten, and one PUT, of the flag, turns the
old folder into the new one. What differs is what becomes of a try that failed or was killed: the objects that it sent
stay, with the note that lists them, and the next one takes those that are still wanted and removes the others.

Objects are only removed while nobody else writes, and never those that the flag in force names.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath

from csci_utils.copies import why_different
from csci_utils.io import owner, sha256_of
from csci_utils.manifest import FLAG, Entry, Manifest
from csci_utils.remote_folder import read_remote_flag, renamed
from csci_utils.remote_notes import NOTE_STEM, Note, is_note, new_note, read_note, write_note
from csci_utils.s3 import (
    ObjectChangedError,
    ObjectInfo,
    ObjectMissingError,
    OnBytes,
    S3Error,
    S3Uri,
    delete,
    each,
    head,
    list_objects,
    put_many,
    put_text,
)

logger = logging.getLogger("csci_utils.remote_update")

_TOKEN = re.compile(r"~[0-9a-f]{8}$")
_MENDING_ROUNDS = 5

_notes_in_use: set[str] = set()


class FilesChangedError(OSError):
    """A file was another when it was sent than when it was looked at."""


class FolderUpdate:
    """What has to be done to make a folder in S3 of local files; made by a look, which changes nothing.

    Args:
        files: where each file lies here, by its name in the folder; nobody writes to them any more.
        root: the folder.
        flag: the name of the file that makes it a whole.

    Attributes:
        manifest: what the folder is to hold.
        old: what it holds now by its flag; None without one.
        kept: where the bytes of files lie below ``root`` already, by name.

    Raises:
        S3Error: the store refused or failed.
    """

    def __init__(self, files: Mapping[str, Path], root: S3Uri, *, flag: str = FLAG) -> None:
        self.root = root
        self.flag = flag
        self._files = files
        self.manifest = _described(files)
        held = self._held()
        self.old = self._flag_now() if flag in held else None
        self.kept = self._equal_ones(held)
        self._seen = held

    @property
    def to_send(self) -> list[Entry]:
        """The files whose bytes S3 lacks."""
        return [entry for entry in self.manifest.entries if entry.name not in self.kept]

    @property
    def replaced(self) -> list[str]:
        """The names of files that the old folder holds with other bytes."""
        old = _contents(self.old)
        return [entry.name for entry in self.manifest.entries if old.get(entry.name, entry.sha256) != entry.sha256]

    @property
    def removed(self) -> list[str]:
        """The names of files that the old folder holds, and the new one does not."""
        return sorted(set(_contents(self.old)) - set(_contents(self.manifest)))

    @property
    def is_current(self) -> bool:
        """Whether the folder is what it is to be, in every byte that the store can tell of."""
        return self.old is not None and not self.to_send and self.old == self._placed(self.kept)

    def carry_out(self, *, on_bytes: OnBytes | None = None, journal: Path | None = None) -> None:
        """Send what S3 lacks, then the flag, then remove what the old flag named, and what dead writers left.

        After any exception the old folder is as it was. What was sent stays for the next try.

        Args:
            on_bytes: told of bytes that were sent, and of those of files that need not be.
            journal: where sends in parts are noted, see `csci_utils.s3.put`.

        Raises:
            FilesChangedError: a file is not what it was when this update was made.
            S3Error: the store refused or failed.
        """
        if self.is_current:
            return
        note = new_note()
        _notes_in_use.add(note)
        try:
            self._carry_out(note, on_bytes=on_bytes or (lambda _num: None), journal=journal)
        finally:
            _notes_in_use.discard(note)

    def _carry_out(self, note: str, *, on_bytes: OnBytes, journal: Path | None) -> None:
        write_note(self.root, note, [])  # before the look: of two that begin together at least one sees the other
        others, held = self._others(note), self._held()
        if held.get(self.flag) != self._seen.get(self.flag):
            raise ObjectChangedError(f"{self.root}: somebody else has written it meanwhile; look at it, and try again")
        kept = {name: place for name, place in self.kept.items() if held.get(place) == self._seen[place]}
        on_bytes(sum(entry.size_bytes for entry in self.manifest.entries if entry.name in kept))
        for _ in range(_MENDING_ROUNDS):
            placed = self._placed(kept, taken=held if all(map(_is_over, others)) else None)
            sent = [entry for entry in placed.entries if entry.name not in kept]
            write_note(self.root, note, [*(entry.place for entry in sent), *_places(self.old)])
            self._send(sent, on_bytes=on_bytes, journal=journal)
            put_text(placed.to_text(), self.root.joined(self.flag))
            held = self._held() if others else held
            names = {entry.name for entry in sent}
            kept = {entry.name: entry.place for entry in placed.entries if entry.name in names or entry.place in held}
            if len(kept) == len(placed.entries):
                break
        else:
            raise ObjectChangedError(f"{self.root}: somebody else removes its files again and again; stop them first")
        self._tidy(placed, note)

    def _send(self, entries: list[Entry], *, on_bytes: OnBytes, journal: Path | None) -> None:
        pairs = [(self.root.joined(entry.place), self._files[entry.name]) for entry in entries]
        with closing(put_many(pairs, on_bytes=on_bytes, journal=journal)) as outcomes:
            for entry, sent in zip(entries, outcomes, strict=True):
                if sent.result().sha256 != entry.sha256:
                    raise FilesChangedError(f"{sent.path}: written to while the folder was sent; send it again")

    def _tidy(self, placed: Manifest, note: str) -> None:
        """Remove what nothing names any more; next time, by the note, if others write or it cannot be now."""
        try:
            others = self._others(note)
            if not all(_is_over(other) for other in others):
                logger.info("%s: others write it, too; what was replaced is removed by the next who does", self.root)
                return
            in_force = self._flag_now() or placed
            left = {*_places(self.old), *_places(placed), *(place for other in others for place in other.places)}
            self._delete(left - {self.flag, *_places(in_force)})
            self._delete([*(other.place for other in others), note])
        except S3Error as err:
            logger.warning("%s: in place, but not all that it replaced could be removed: %s", self.root, err)

    def _delete(self, places: Iterable[str]) -> None:
        list(each([self.root.joined(place) for place in sorted(places)], delete))

    def _held(self) -> dict[str, ObjectInfo]:
        prefix = S3Uri(self.root.bucket, f"{self.root.key}/")
        return {info.uri.key.removeprefix(prefix.key): info for info in list_objects(prefix)}

    def _others(self, note: str) -> list[Note]:
        found = list_objects(S3Uri(self.root.bucket, f"{self.root.key}/{NOTE_STEM}"))
        places = [info.uri.key.removeprefix(f"{self.root.key}/") for info in found]
        return [read_note(self.root, place) for place in places if is_note(place) and place != note]

    def _flag_now(self) -> Manifest | None:
        try:
            return read_remote_flag(self.root, flag=self.flag)
        except ObjectMissingError:
            return None

    def _equal_ones(self, held: Mapping[str, ObjectInfo]) -> dict[str, str]:
        """Find where the bytes of files lie already: where the old flag says, or where a try that failed put them."""
        by_digest = {entry.sha256: entry.place for entry in self.old.entries} if self.old else {}
        by_name = {entry.name: entry.place for entry in self.old.entries} if self.old else {}
        variants: dict[str, list[str]] = {}
        for place in held:
            variants.setdefault(_without_token(place), []).append(place)

        def find(entry: Entry) -> str | None:
            guesses = [by_name.get(entry.name), entry.name, by_digest.get(entry.sha256), *variants.get(entry.name, [])]
            for place in dict.fromkeys(guesses):
                if place is not None and place in held and _is_equal(held[place], entry, self._files[entry.name]):
                    return place
            return None

        found = zip(self.manifest.entries, each(self.manifest.entries, find, num_threads=_hashers()), strict=True)
        return {entry.name: place for entry, place in found if place is not None}

    def _placed(self, kept: Mapping[str, str], *, taken: Iterable[str] | None = ()) -> Manifest:
        fresh = Manifest(tuple(entry for entry in self.manifest.entries if entry.name not in kept))
        entries = list(renamed(fresh, taken=taken).entries)
        for entry in self.manifest.entries:
            if entry.name in kept:
                place = kept[entry.name]
                entries.append(replace(entry, stored_as=place if place != entry.name else None))
        return Manifest(tuple(sorted(entries, key=lambda entry: entry.name)))


def _described(files: Mapping[str, Path]) -> Manifest:
    names = sorted(files)

    def describe(name: str) -> Entry:
        return Entry(name=name, size_bytes=os.stat(files[name]).st_size, sha256=sha256_of(files[name]))

    return Manifest(tuple(each(names, describe, num_threads=_hashers())))


def _is_equal(info: ObjectInfo, entry: Entry, path: Path) -> bool:
    """Compare an object that a listing told of with a file: by its MD5, else by the digest that a HEAD tells."""
    if info.size_bytes != entry.size_bytes:
        return False
    if why_different(info, path) is None:
        return True
    found = head(info.uri)
    return found is not None and found.sha256 == entry.sha256


def _is_over(note: Note) -> bool:
    """Tell whether nobody writes any more who left a note; this process knows its own."""
    return note.is_abandoned() or (note.owner == owner() and note.place not in _notes_in_use)


def _contents(manifest: Manifest | None) -> dict[str, str]:
    return {entry.name: entry.sha256 for entry in manifest.entries} if manifest is not None else {}


def _places(manifest: Manifest | None) -> list[str]:
    return [entry.place for entry in manifest.entries] if manifest is not None else []


def _without_token(place: str) -> str:
    path = PurePosixPath(place)
    return str(path.with_name(_TOKEN.sub("", path.stem) + path.suffix)) if _TOKEN.search(path.stem) else place


def _hashers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
