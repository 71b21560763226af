"""Local copies of whole folders in S3, brought here file by file, known as a whole by the record beside them.

A copy lies under the folder's own names, with a dot-file in it that remembers each file, so that a fetch that was
killed goes on from there. The record beside the folder goes before anything in it changes, and comes when all is done.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from csci_utils.copies import NotHereError
from csci_utils.folder_look import Belongs, FolderInfo, FolderLook, RemoteFile, look_at_flag, look_at_folder
from csci_utils.io import atomic_path, md5_of, read_record, record_path, sha256_of, sweep, write_record
from csci_utils.lock import locked
from csci_utils.manifest import FLAG, FolderDamagedError, files_below
from csci_utils.s3 import FetchedObject, ObjectChangedError, ObjectMissingError, OnBytes, Outcome, S3Uri, each, get_many

logger = logging.getLogger("csci_utils.folder_copy")

MEMORY = ".files.jsonl"
"""The dot-file in a copy that remembers its files."""

_ROUNDS = 3
_ADOPTERS = 4


class StrangeFileError(FileExistsError):
    """Something lies in a copy that was not fetched, and S3 does not have it: somebody may need it."""


class _ChangedError(Exception):
    """A file was not what the look at its folder said."""


def fetch_folder_copy(
    root: S3Uri,
    target: str | os.PathLike[str],
    *,
    belongs: Belongs,
    on_bytes: OnBytes | None = None,
    offline: bool = False,
    flag: str = FLAG,
) -> FolderInfo:
    """Make ``target`` a copy of a folder as it is now: what is absent, changed or damaged is fetched, the rest stays.

    What was fetched and is in the folder no longer is removed. Of several processes that want the same copy one fetches
    it, and the others wait.

    Args:
        root: the folder.
        target: where the copy lies, or goes.
        belongs: which names count: of objects, where there is no flag, and of files that must not lie there unknown.
        on_bytes: told of bytes that arrive, by several threads, one at a time.
        offline: ask S3 nothing, and trust the copy that is here.
        flag: the name of the file that makes the folder a whole.

    Raises:
        ObjectMissingError, BucketMissingError: there is no such folder.
        NotHereError: offline, and there is no whole copy of it.
        StrangeFileError: there is a local file that S3 does not have.
        FolderDamagedError: a file is not what the flag says, or the flag cannot be read.
        ObjectChangedError: the folder changes again and again while it is fetched.
        S3Error: the store refused or failed.
    """
    copy = _Copy(Path(target), belongs=belongs)
    if offline:
        return copy.trusted(root)
    with locked(target):
        looks: list[FolderLook] = []
        for _ in range(_ROUNDS):
            known = copy.whole()
            held, is_same = look_at_flag(root, known, flag=flag)
            if is_same and known is not None:
                return known
            looks.append(look_at_folder(root, held, belongs=belongs))
            try:
                return copy.bring(looks[-1], on_bytes=on_bytes)
            except _ChangedError as err:
                if looks[-1].info.flag_etag and looks[-2:-1] == looks[-1:]:
                    raise FolderDamagedError(f"{err}; put the folder there again") from err
                logger.info("%s; looking at the folder again", err)
        raise ObjectChangedError(f"{root}: changed again and again while it was fetched; run it again")


def remove_folder_copy(target: str | os.PathLike[str]) -> None:
    """Remove what a copy remembers that it fetched, and the record beside it; anything else in the folder stays."""
    with locked(target):
        _Copy(Path(target), belongs=lambda name: False).remove()


def remembered_folder(target: str | os.PathLike[str]) -> FolderInfo | None:
    """Return what a copy says that it is a copy of; None where there is none, or none that was finished."""
    record = read_record(target)
    known: dict[str, Any] = {field.name: (record or {}).get(field.name) for field in fields(FolderInfo)}
    for name, value in known.items():
        if type(value) is not (int if name in ("num_files", "size_bytes") else str):
            return None
    return FolderInfo(**known)


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    """What a copy remembers of one of its files."""

    name: str
    etag: str
    size_bytes: int
    sha256: str
    mtime_ns: int

    def is_copy_of(self, file: RemoteFile) -> bool:
        """Tell whether the bytes are those that are wanted."""
        same = self.etag == file.etag if file.sha256 is None else self.sha256 == file.sha256
        return same and self.size_bytes == file.size_bytes

    def holds(self, path: Path) -> bool:
        """Tell whether the file is the one that came: by size and time, else by its digest."""
        try:
            status = path.stat()
        except OSError:
            return False
        same_time = status.st_mtime_ns == self.mtime_ns
        return status.st_size == self.size_bytes and (same_time or sha256_of(path) == self.sha256)


class _Copy:
    """A local folder that is, or becomes, a copy."""

    def __init__(self, folder: Path, *, belongs: Belongs) -> None:
        self.folder = folder
        self._belongs = belongs

    def trusted(self, root: S3Uri) -> FolderInfo:
        """Return what it is a copy of, whatever S3 holds by now."""
        known = self.whole()
        if known is None or known.uri != str(root):
            what = "found none that is whole, and S3 is not to be asked (offline)"
            raise NotHereError(f"{root}: wanted its copy {self.folder}, {what}")
        return known

    def whole(self) -> FolderInfo | None:
        """Return what it is a copy of, where it was finished and is as it was then; None elsewhere."""
        known = remembered_folder(self.folder)
        remembered = self._remembered() if known is not None else {}
        if known is None or len(remembered) != known.num_files:
            return None
        as_they_were = all(copied.holds(self.folder / name) for name, copied in remembered.items())
        return known if as_they_were and self._names_here() <= set(remembered) else None

    def bring(self, look: FolderLook, *, on_bytes: OnBytes | None) -> FolderInfo:
        """Make it a copy of the folder that was looked at."""
        remembered = {name: copied for name, copied in self._remembered().items() if copied.holds(self.folder / name)}
        wanted = {file.name: file for file in look.files}
        surplus = self._surplus(wanted, remembered)
        kept = {
            name: copied for name, copied in remembered.items() if name in wanted and copied.is_copy_of(wanted[name])
        }
        lacking = [file for file in look.files if file.name not in kept]
        if not lacking and not surplus and remembered_folder(self.folder) == look.info:
            return look.info
        record_path(self.folder).unlink(missing_ok=True)
        sweep(self.folder, recursive=True)
        for name in surplus:
            self._remove(name)
        kept |= self._adopted(lacking)
        lacking = [file for file in lacking if file.name not in kept]
        logger.info("%s: %d of %d files fetched, %d removed", self.folder, len(lacking), len(wanted), len(surplus))
        self._write_memory(kept.values())
        kept |= self._fetched(lacking, on_bytes=on_bytes)
        self._write_memory(kept.values())
        write_record(self.folder, asdict(look.info))
        return look.info

    def remove(self) -> None:
        """Remove the files that were fetched, the record first."""
        remembered = self._remembered()
        record_path(self.folder).unlink(missing_ok=True)
        for name in remembered:
            self._remove(name)
        Path(self.folder, MEMORY).unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            self.folder.rmdir()

    def _surplus(self, wanted: Mapping[str, RemoteFile], remembered: Mapping[str, _Remembered]) -> list[str]:
        """Return what was fetched and is not wanted any more.

        Raises:
            StrangeFileError: there is something else, too.
        """
        surplus = sorted(self._names_here() - set(wanted))
        for name in surplus:
            if name not in remembered:
                what = "there, though the folder in S3 does not have it; put it there, or move it away"
                raise StrangeFileError(f"{Path(self.folder, name)}: {what}")
        return surplus

    def _names_here(self) -> set[str]:
        if not self.folder.is_dir():
            return set()
        names = (path.relative_to(self.folder).as_posix() for path in files_below(self.folder))
        return {name for name in names if self._belongs(name) and not any(part[:1] == "." for part in name.split("/"))}

    def _remove(self, name: str) -> None:
        path = Path(self.folder, name)
        path.unlink(missing_ok=True)
        with suppress(OSError):  # until one is not empty
            for parent in path.relative_to(self.folder).parents[:-1]:
                Path(self.folder, parent).rmdir()

    def _adopted(self, lacking: list[RemoteFile]) -> dict[str, _Remembered]:
        """Take what is here already with the bytes that are wanted: of a fetch that was killed, or put here by hand."""
        found = [copied for copied in each(lacking, self._adopt, num_threads=_ADOPTERS) if copied is not None]
        return {copied.name: copied for copied in found}

    def _adopt(self, file: RemoteFile) -> _Remembered | None:
        path = Path(self.folder, file.name)
        try:
            status = path.stat()
            if status.st_size != file.size_bytes:
                return None
            if file.sha256 is None and md5_of(path) != (file.etag or "").lower():
                return None
            sha256 = sha256_of(path)
        except OSError:
            return None
        if sha256 != (file.sha256 or sha256):
            return None
        size_bytes, mtime_ns = status.st_size, status.st_mtime_ns
        return _Remembered(
            name=file.name, etag=file.etag or "", size_bytes=size_bytes, sha256=sha256, mtime_ns=mtime_ns
        )

    def _fetched(self, lacking: list[RemoteFile], *, on_bytes: OnBytes | None) -> dict[str, _Remembered]:
        came: dict[str, _Remembered] = {}
        pairs = [(file.uri, Path(self.folder, file.name)) for file in lacking]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            Path(self.folder, MEMORY).open("a", encoding="utf-8") as memory,
            closing(get_many(pairs, on_bytes=on_bytes)) as outcomes,
        ):
            for file, outcome in zip(lacking, outcomes, strict=True):
                came[file.name] = _compared(file, outcome)
                memory.write(_line(came[file.name]))
                memory.flush()
        return came

    def _remembered(self) -> dict[str, _Remembered]:
        """Read the memory; a line that a kill cut short is passed over, a later one of the same name counts."""
        try:
            text = Path(self.folder, MEMORY).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return {}
        found = [copied for line in text.splitlines() if (copied := _parsed(line)) is not None]
        return {copied.name: copied for copied in found}

    def _write_memory(self, remembered: Iterable[_Remembered]) -> None:
        with atomic_path(Path(self.folder, MEMORY)) as scratch, scratch.open("w", encoding="utf-8") as file:
            file.writelines(_line(copied) for copied in sorted(remembered, key=lambda copied: copied.name))


def _compared(file: RemoteFile, outcome: Outcome[FetchedObject]) -> _Remembered:
    """Compare what came with what was wanted.

    Raises:
        _ChangedError: it is not what the look at the folder said, or gone.
    """
    try:
        fetched = outcome.result()
    except ObjectMissingError as err:
        raise _ChangedError(f"{file.uri}: gone, though {file.name!r} belongs to its folder") from err
    status = outcome.path.stat()
    if file.sha256 is not None and fetched.sha256 != file.sha256:
        outcome.path.unlink(missing_ok=True)
        raise _ChangedError(f"{file.uri}: wanted sha256 {file.sha256} as the flag says, found {fetched.sha256}")
    remembered = _Remembered(
        name=file.name,
        etag=fetched.info.etag,
        size_bytes=status.st_size,
        sha256=fetched.sha256,
        mtime_ns=status.st_mtime_ns,
    )
    if not remembered.is_copy_of(file):
        raise _ChangedError(f"{file.uri}: changed while its folder was fetched")
    return remembered


def _line(remembered: _Remembered) -> str:
    return json.dumps(asdict(remembered)) + "\n"


def _parsed(line: str) -> _Remembered | None:
    try:
        return _Remembered(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
