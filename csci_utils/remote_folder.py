"""Folders in S3 that are there as a whole: parts first, the flag that names them last.

A key is written once. Where the name of a part is taken, by an older folder or by anything else, the part goes under
a name of its own (``part-0~1a2b3c4d.parquet``) and the flag says which; so the one PUT of the flag turns an old folder
into a new one, and until then the old one is whole. What is removed afterwards is only what the old flag named: nothing
else that lies under the same prefix is ever touched.

While it lasts, a writer has a note in the folder, named as scratch files are, that lists what it may leave behind.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from csci_utils.folder import atomic_folder
from csci_utils.manifest import FLAG, FolderDamagedError, Manifest
from csci_utils.remote_notes import Note, is_note, new_note, read_note, write_note
from csci_utils.s3 import (
    ObjectMissingError,
    S3Error,
    S3Uri,
    delete,
    each,
    get_many,
    get_text,
    head,
    list_objects,
    put_many,
    put_text,
)

logger = logging.getLogger("csci_utils.remote_folder")


def send_folder(folder: Path, root: S3Uri, *, manifest: Manifest, flag: str = FLAG) -> Manifest:
    """Make the files of a local folder a folder in S3, and return where each of them lies.

    After any exception an older folder is as it was, and what was sent is removed.

    Raises:
        S3Error: the store refused or failed.
    """
    writer = _Writer(root, flag)
    try:
        placed = writer.announce(manifest)
        for sent in put_many((root.joined(entry.place), Path(folder, entry.name)) for entry in placed.entries):
            sent.result()
        writer.look_again()
        put_text(placed.to_text(), root.joined(flag))
    except BaseException:
        writer.give_up()
        raise
    writer.tidy()
    return placed


def fetch_folder(root: S3Uri, target: str | os.PathLike[str], *, flag: str = FLAG) -> Manifest:
    """Make a folder in S3 a local one, every file compared with the flag, and return what it holds.

    Raises:
        ObjectMissingError: there is no flag: the folder is not there, or not finished.
        FolderDamagedError: the flag holds no manifest, or a file is not what it says.
    """
    manifest = read_remote_flag(root, flag=flag)
    if manifest is None:
        raise FolderDamagedError(f"{root.joined(flag)}: wanted a manifest, found the flag of another program")
    with atomic_folder(target, flag=flag) as scratch:
        pairs = [(root.joined(entry.place), Path(scratch, entry.name)) for entry in manifest.entries]
        for entry, fetched in zip(manifest.entries, get_many(pairs), strict=True):
            sha256 = fetched.result().sha256
            if sha256 != entry.sha256:
                what = f"wanted sha256 {entry.sha256} as the flag {flag} says, found {sha256}"
                raise FolderDamagedError(f"{fetched.uri}: {what}; make the folder again")
    return Manifest(tuple(replace(entry, stored_as=None) for entry in manifest.entries))


def read_remote_flag(root: S3Uri, *, flag: str = FLAG) -> Manifest | None:
    """Return what the flag of a folder in S3 says; None for the flag of another program.

    Raises:
        ObjectMissingError: there is none.
    """
    return Manifest.from_text(get_text(root.joined(flag)))


def remove_remote_folder(root: S3Uri, *, flag: str = FLAG) -> bool:
    """Remove the flag, then what it names, and tell whether there was one; all else below ``root`` stays."""
    try:
        manifest = read_remote_flag(root, flag=flag)
    except ObjectMissingError:
        return False
    delete(root.joined(flag))
    _delete_all(root, _places(manifest))
    return True


class _Writer:
    """One writing of one folder: what is there, what goes where, and what has to go afterwards."""

    def __init__(self, root: S3Uri, flag: str) -> None:
        self.root = root
        self.flag = flag
        self.note = new_note()
        self.placed = Manifest(())
        self.old: Manifest | None = None
        self.dead: list[Note] = []
        self.is_alone = True
        self.has_note = False

    def announce(self, manifest: Manifest) -> Manifest:
        """Say what will be sent and where to; of two writers that begin together at least one sees the other."""
        self._write_note()
        self.has_note = True
        held = {_below(self.root, info.uri) for info in list_objects(S3Uri(self.root.bucket, f"{self.root.key}/"))}
        notes = [read_note(self.root, place) for place in sorted(held - {self.note}) if is_note(place)]
        self.dead = [note for note in notes if note.is_abandoned()]
        self.is_alone = len(self.dead) == len(notes)
        self.old = self._flag_now() if self.flag in held else None
        self.placed = renamed(manifest, taken=held if self.is_alone else None)
        self._write_note()
        return self.placed

    def look_again(self) -> None:
        """Notice a folder that another writer has finished meanwhile."""
        if not self.is_alone:
            self.old = self._flag_now()

    def tidy(self) -> None:
        """Remove what the new flag replaced, what dead writers left, and the note; next time, if it cannot be now."""
        superseded = not self.is_alone and not self._flag_is_ours()
        keep = {self.flag, *(() if superseded else _places(self.placed))}
        left = {*_places(self.placed), *_places(self.old), *(place for note in self.dead for place in note.places)}
        try:
            _delete_all(self.root, sorted(left - keep))
            _delete_all(self.root, [*(note.place for note in self.dead), self.note])
        except S3Error as err:
            logger.warning("%s: in place, but not all that it replaced could be removed: %s", self.root, err)

    def give_up(self) -> None:
        """Remove what was sent, unless the flag that names it is there after all; never hides the first error."""
        if not self.has_note:  # nothing else was sent either
            return
        try:
            if not self._flag_is_ours():
                _delete_all(self.root, _places(self.placed))
            delete(self.root.joined(self.note))
        except S3Error as err:
            logger.warning("%s: given up, but not all that was sent could be removed: %s", self.root, err)

    def _flag_now(self) -> Manifest | None:
        try:
            return read_remote_flag(self.root, flag=self.flag)
        except ObjectMissingError:
            return None

    def _flag_is_ours(self) -> bool:
        found = head(self.root.joined(self.flag)) if self.placed.entries else None
        return found is not None and found.sha256 == hashlib.sha256(self.placed.to_text().encode()).hexdigest()

    def _write_note(self) -> None:
        write_note(self.root, self.note, [*_places(self.placed), *_places(self.old)])


def renamed(manifest: Manifest, *, taken: Iterable[str] | None) -> Manifest:
    """Give each file its own name, or where that is taken (None: all are) a new one with the same suffix."""
    token = secrets.token_hex(4)

    def place(name: str) -> str | None:
        path = PurePosixPath(name)
        return str(path.with_name(f"{path.stem}~{token}{path.suffix}")) if taken is None or name in taken else None

    return Manifest(tuple(replace(entry, stored_as=place(entry.name)) for entry in manifest.entries))


def _places(manifest: Manifest | None) -> list[str]:
    return [entry.place for entry in manifest.entries] if manifest is not None else []


def _below(root: S3Uri, uri: S3Uri) -> str:
    return uri.key.removeprefix(f"{root.key}/")


def _delete_all(root: S3Uri, places: Iterable[str]) -> None:
    list(each([root.joined(place) for place in places], delete))
