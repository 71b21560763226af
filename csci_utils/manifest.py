"""What belongs to a folder: names, sizes and digests, as the flag inside it tells them.

The flag is a file, ``_SUCCESS`` as Hadoop, Spark and Luigi call it. That of another program may be empty.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.io import is_scratch, sha256_of

FLAG = "_SUCCESS"

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FolderDamagedError(OSError):
    """A folder does not hold what its flag says; the text names the first file."""


@dataclass(frozen=True, order=True, kw_only=True)
class Entry:
    """One file of a folder.

    Attributes:
        name: path relative to the folder, with slashes.
        size_bytes: how long the file is.
        sha256: digest of its bytes.
        stored_as: the relative path under which it lies, where that is another one (see `S3FolderTarget`).
    """

    name: str
    size_bytes: int
    sha256: str
    stored_as: str | None = None

    @property
    def place(self) -> str:
        """Where it lies, relative to the folder."""
        return self.stored_as or self.name


@dataclass(frozen=True)
class Manifest:
    """What belongs to a folder, sorted by name."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, folder: str | os.PathLike[str], *, flag: str = FLAG) -> Manifest:
        """Describe the files of a folder, but for its flag.

        Raises:
            FolderDamagedError: something in it is neither a folder nor a finished file.
        """
        folder = Path(folder)
        found = [_entry(folder, path) for path in files_below(folder)]
        return cls(tuple(sorted(entry for entry in found if entry.name != flag)))

    @classmethod
    def from_text(cls, text: str) -> Manifest | None:
        """Read what `to_text` gave; None for anything else, as the flag of another program."""
        try:
            entries = [_read_entry(entry) for entry in json.loads(text)["files"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        has_twins = len({entry.name for entry in entries}) < len(entries)
        return None if has_twins else cls(tuple(sorted(entries)))

    def to_text(self) -> str:
        """Return it as JSON; the same for the same files."""
        entries = [{key: value for key, value in vars(entry).items() if value is not None} for entry in self.entries]
        return json.dumps({"files": entries}, indent=2) + "\n"

    def matching(self, glob: str | None) -> list[Entry]:
        """Return the entries whose name a pattern fits, all of them for None."""
        return [entry for entry in self.entries if glob is None or PurePosixPath(entry.name).match(glob)]

    def compare(self, folder: str | os.PathLike[str], *, flag: str = FLAG) -> None:
        """Compare a folder with this, by sizes and digests.

        Raises:
            FolderDamagedError: a file is missing, changed or too many.
        """
        here = {entry.name: entry for entry in Manifest.of(folder, flag=flag).entries}
        for entry in self.entries:
            found = here.pop(entry.name, None)
            if found is None:
                raise FolderDamagedError(f"{Path(folder, entry.name)}: missing, though the flag {flag} names it")
            if (found.size_bytes, found.sha256) != (entry.size_bytes, entry.sha256):
                wanted = f"wanted {entry.size_bytes} bytes with sha256 {entry.sha256}"
                what = f"{wanted}, found {found.size_bytes} with {found.sha256}"
                raise FolderDamagedError(f"{Path(folder, entry.name)}: {what}; make the folder again")
        if here:
            raise FolderDamagedError(f"{Path(folder, min(here))}: there, though the flag {flag} does not name it")


def read_flag(folder: str | os.PathLike[str], *, flag: str = FLAG) -> Manifest | None:
    """Return what a folder's flag says; None for the flag of another program.

    Raises:
        FileNotFoundError: the folder has no flag: it is not there, or not finished.
    """
    path = Path(folder, flag)
    try:
        return Manifest.from_text(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such flag; the folder is not there or not finished, make it") from None


def files_below(folder: Path) -> Iterator[Path]:
    """Give all that is no folder; a link to one is none, for nobody would follow it."""
    for parent, folders, names in os.walk(folder, onerror=_raise):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            yield Path(parent, name)


def stays_inside(name: str) -> bool:
    """Tell whether a name with slashes is that of something inside a folder, however anybody came to give it."""
    return "\0" not in name and not {"", ".", ".."} & set(name.replace(os.sep, "/").split("/"))


def _raise(err: OSError) -> None:
    raise err


def _entry(folder: Path, path: Path) -> Entry:
    name = path.relative_to(folder).as_posix()
    if is_scratch(path):
        raise FolderDamagedError(f"{path}: a scratch file, so somebody still writes; close all files before the end")
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FolderDamagedError(f"{path}: wanted files and folders, found a link or another thing; leave it out")
    return Entry(name=name, size_bytes=status.st_size, sha256=sha256_of(path))


def _read_entry(record: dict[str, Any]) -> Entry:
    """Read an entry of a flag; names decide where a copy is written, and a flag may be anybody's."""
    known: dict[str, Any] = {field.name: record.get(field.name) for field in fields(Entry)}
    entry = Entry(**known)
    for name in (entry.name, entry.place):
        if not stays_inside(name):
            raise ValueError(f"no name inside a folder: {name!r}")
    if type(entry.size_bytes) is not int or entry.size_bytes < 0 or not _SHA256.fullmatch(entry.sha256):
        raise ValueError(f"no size or no digest: {record!r}")
    return entry
