"""Local copies of S3 objects that know what they are copies of, and how they come and go."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from csci_utils.io import atomic_path, md5_of, read_record, sha256_of, write_record
from csci_utils.lock import locked
from csci_utils.s3 import ObjectExistsError, ObjectInfo, ObjectMissingError, OnBytes, S3Uri, get, head, missing, put

logger = logging.getLogger("csci_utils.mirror")


@dataclass(frozen=True, kw_only=True)
class CopyRecord:
    """What a local copy remembers; it lies beside the copy as ``.<name>.json``.

    Attributes:
        uri: where the object lies.
        etag: the version it was copied from.
        size_bytes: of the copy, which is the object's.
        sha256: of the copy's bytes.
        checked_by: what the bytes were compared with when they came.
        mtime_ns: of the copy when it was made: while size and this hold, the digest is not computed again.
    """

    uri: str
    etag: str
    size_bytes: int
    sha256: str
    checked_by: str
    mtime_ns: int

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Tell whether the file at ``path`` is the copy that was recorded: by size and time, else by its digest."""
        try:
            stat = os.stat(path)
            if stat.st_size != self.size_bytes:
                return False
            return stat.st_mtime_ns == self.mtime_ns or sha256_of(path) == self.sha256
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CopyRecord | None:
        """Read what `to_dict` gave; None for anything else. Fields that a later version adds are passed over."""
        known = {field.name: record.get(field.name) for field in fields(cls)}
        for name, value in known.items():
            wanted = int if name in ("size_bytes", "mtime_ns") else str
            if not isinstance(value, wanted) or isinstance(value, bool):
                return None
        return cls(**known)  # type: ignore[arg-type]  # checked above


class ObjectDiffersError(OSError):
    """S3 holds other bytes under a key than the file that was to go there."""

    exit_status = 30


class NotHereError(ObjectMissingError):
    """Nothing may be asked of S3, and there is no local copy to trust."""


def fetch(
    uri: S3Uri, path: str | os.PathLike[str], *, on_bytes: OnBytes | None = None, offline: bool = False
) -> CopyRecord:
    """Make ``path`` a checked copy of the object as it is now, and return its record.

    One HEAD; when the copy is current, that is all. The log says why something is fetched. Of several processes that
    want the same copy one fetches it, and the others wait for that and look again.

    Args:
        uri: where the object lies.
        path: where the copy lies, or goes.
        on_bytes: told of bytes that arrive.
        offline: ask S3 nothing, and trust the copy that is here.

    Raises:
        ObjectMissingError, BucketMissingError: there is nothing to copy.
        NotHereError: offline, and there is no copy of that object, or one that is damaged.
        S3Error: the store refused or failed (see `csci_utils.s3`).
    """
    path = Path(path)
    if offline:
        return trusted(uri, path)
    seen = _look(uri, path)
    if seen.current is not None:
        return seen.current
    with locked(path) as waited:
        if waited or recorded(path) != seen.record:
            seen = _look(uri, path)
        return seen.current or _bring(seen, path, on_bytes=on_bytes)


def is_current(uri: S3Uri, path: str | os.PathLike[str], *, offline: bool = False) -> bool:
    """Tell by one HEAD and the record whether ``path`` is a copy of the object as it is now; offline, of that one."""
    if offline:
        try:
            return trusted(uri, path) is not None
        except NotHereError:
            return False
    info = head(uri)
    return info is not None and why_stale(info, recorded(path), path=path) is None


def trusted(uri: S3Uri, path: str | os.PathLike[str]) -> CopyRecord:
    """Return the record of a copy of the object, whatever S3 holds by now; nothing is asked of S3.

    Raises:
        NotHereError: there is no such copy, or it is not as it was recorded.
    """
    record = recorded(path)
    if record is not None and record.uri == str(uri) and record.holds(path):
        return record
    raise NotHereError(f"{uri}: wanted its copy {path}, found none that is whole, and S3 is not to be asked (offline)")


def push(
    path: str | os.PathLike[str],
    uri: S3Uri,
    *,
    replace: bool = False,
    on_bytes: OnBytes | None = None,
    journal: Path | None = None,
) -> bool:
    """Bring a file to S3 if S3 lacks it, and tell whether it had to be sent. What is equal costs one HEAD.

    Args:
        path: a finished file.
        uri: where it goes.
        replace: put it there also in place of other bytes.
        on_bytes: told of bytes that were sent.
        journal: where sends in parts are noted, see `csci_utils.s3.put`.

    Raises:
        ObjectDiffersError: S3 holds other bytes there.
        FileNotFoundError: there is no such file.
        S3Error: the store refused or failed.
    """
    path = Path(path)
    info = head(uri)
    reason = "absent in S3" if info is None else why_different(info, path)
    if reason is None:
        return False
    if info is not None and not replace:
        raise _differs(info, path, reason)
    logger.info("%s: sent to %s: %s", path, uri, reason)
    try:
        put(path, uri, on_bytes=on_bytes, only_if_absent=not replace, journal=journal)
    except ObjectExistsError:  # somebody was faster, or an answer was lost on its way
        info = head(uri)
        reason = None if info is None else why_different(info, path)
        if info is not None and reason is not None:
            raise _differs(info, path, reason) from None
        return False
    return True


def why_different(info: ObjectInfo, path: str | os.PathLike[str]) -> str | None:
    """Say in what the file at ``path`` is not the object; None when both are the same bytes.

    Compared by the object's sha256, else by its MD5 (an ETag of a single part). An object of others that has neither
    cannot be told from the file, and counts as different.
    """
    size_bytes = os.stat(path).st_size
    if info.sha256 is not None:
        found = sha256_of(path)
        return None if found == info.sha256 else f"S3 holds sha256 {info.sha256}, the file has {found}"
    if info.size_bytes != size_bytes:
        return f"S3 holds {info.size_bytes} bytes, the file has {size_bytes}"
    found = md5_of(path)
    if found == info.etag.lower():
        return None
    return f"S3 holds etag {info.etag}, the file has MD5 {found}"


def _differs(info: ObjectInfo, path: Path, reason: str) -> ObjectDiffersError:
    return ObjectDiffersError(f"{info.uri}: wanted to put {path} there: {reason}; use --replace, or another name")


def recorded(path: str | os.PathLike[str]) -> CopyRecord | None:
    """Return the record beside a local copy, None when there is none that can be read."""
    record = read_record(path)
    return None if record is None else CopyRecord.from_dict(record)


def why_stale(info: ObjectInfo, record: CopyRecord | None, *, path: str | os.PathLike[str]) -> str | None:
    """Say why a local copy is not the object that S3 holds now; None when it is."""
    path = Path(path)
    if not path.is_file():
        return "absent"
    if record is None:
        return "the local copy has no record"
    if record.uri != str(info.uri):
        return f"the local copy is of {record.uri}"
    if record.etag != info.etag:
        return f"changed in S3: etag {record.etag} -> {info.etag}"
    if not record.holds(path):
        return "local copy damaged"
    return None


class _Look(NamedTuple):
    """What S3 holds, what the copy remembers, and why that is not enough (None: it is)."""

    info: ObjectInfo
    record: CopyRecord | None
    reason: str | None

    @property
    def current(self) -> CopyRecord | None:
        """The record, where the copy is the object as it is now."""
        return self.record if self.reason is None else None


def _look(uri: S3Uri, path: Path) -> _Look:
    info = head(uri)
    if info is None:
        raise missing(uri)
    record = recorded(path)
    return _Look(info, record, why_stale(info, record, path=path))


def _bring(seen: _Look, path: Path, *, on_bytes: OnBytes | None) -> CopyRecord:
    """Adopt the bytes that are here already, or fetch them."""
    info, stat = seen.info, _same_bytes(seen.info, path)
    if stat is not None:
        logger.info("%s: %s, but the bytes are the same: kept", path, seen.reason)
        return _remember(path, stat, info=info, sha256=info.sha256 or "", checked_by="sha256")
    logger.info("%s: fetched from %s: %s", path, info.uri, seen.reason)
    with atomic_path(path) as scratch:
        fetched = get(info.uri, scratch, on_bytes=on_bytes, seen=info)
        if fetched.info.etag != info.etag:
            logger.info("%s: overwritten while it was fetched: etag %s -> %s", info.uri, info.etag, fetched.info.etag)
        stat = scratch.stat()  # not after the move: another file may be there by then
    return _remember(path, stat, info=fetched.info, sha256=fetched.sha256, checked_by=fetched.checked_by)


def _same_bytes(info: ObjectInfo, path: Path) -> os.stat_result | None:
    """Return the state in which the local file has the bytes that the object's own digest names."""
    if info.sha256 is None or not path.is_file():
        return None
    before = path.stat()
    if before.st_size != info.size_bytes or sha256_of(path) != info.sha256:
        return None
    after = path.stat()
    unchanged = os.path.samestat(before, after) and before.st_mtime_ns == after.st_mtime_ns
    return before if unchanged and after.st_size == before.st_size else None


def _remember(path: Path, stat: os.stat_result, *, info: ObjectInfo, sha256: str, checked_by: str) -> CopyRecord:
    record = CopyRecord(
        uri=str(info.uri),
        etag=info.etag,
        size_bytes=stat.st_size,
        sha256=sha256,
        checked_by=checked_by,
        mtime_ns=stat.st_mtime_ns,
    )
    write_record(path, record.to_dict())
    return record
