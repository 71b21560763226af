# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Local copies of S3 objects that know what they are copies of."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import luigi

from csci_utils.io import atomic_path, read_record, sha256_of, write_record
from csci_utils.lock import locked
from csci_utils.luigi.target import SuffixPreservingLocalTarget
from csci_utils.s3 import ObjectInfo, OnBytes, S3Uri, get, head, missing

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


def fetch(uri: S3Uri, path: str | os.PathLike[str], *, on_bytes: OnBytes | None = None) -> CopyRecord:
    """Make ``path`` a checked copy of the object as it is now, and return its record.

    One HEAD; when the copy is current, that is all. The log says why something is fetched. Of several processes that
    want the same copy one fetches it, and the others wait for that and look again.

    Raises:
        ObjectMissingError, BucketMissingError: there is nothing to copy.
        S3Error: the store refused or failed (see `csci_utils.s3`).
    """
    path = Path(path)
    seen = _look(uri, path)
    if seen.current is not None:
        return seen.current
    with locked(path) as waited:
        if waited or recorded(path) != seen.record:
            seen = _look(uri, path)
        return seen.current or _bring(seen, path, on_bytes=on_bytes)


def is_current(uri: S3Uri, path: str | os.PathLike[str]) -> bool:
    """Tell by one HEAD and the record whether ``path`` is a copy of the object as it is now."""
    info = head(uri)
    return info is not None and why_stale(info, recorded(path), path=path) is None


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


class Download(luigi.Task):
    """The half of a pair that brings an object here: complete while the local copy is the object in S3.

    A subclass says what it requires, one task whose output is the object in S3, and where the copy goes::

        class DownloadImage(Download):
            image = luigi.Parameter()

            def requires(self):
                return ContentImage(image=self.image)

            @property
            def destination(self):
                return Path("data/images", self.image)
    """

    @property
    def destination(self) -> Path:
        """Where the local copy goes."""
        raise NotImplementedError(f"{type(self).__name__} does not say its destination")

    @property
    def source(self) -> S3Uri:
        """Where the object lies: the output of the required task."""
        return S3Uri.parse(self.input().path)

    def output(self) -> SuffixPreservingLocalTarget:
        """Return the local copy."""
        return SuffixPreservingLocalTarget(str(self.destination))

    def complete(self) -> bool:
        """Tell whether the local copy is the object as it is now."""
        return is_current(self.source, self.destination)

    def run(self) -> None:
        """Fetch what is absent, changed or damaged."""
        fetch(self.source, self.destination, on_bytes=self.count_bytes)

    def count_bytes(self, num_bytes: int) -> None:
        """Take notice of bytes that arrived (a negative number: they have to come again); for a subclass's bar."""


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
        fetched = get(info.uri, scratch, on_bytes=on_bytes)
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
