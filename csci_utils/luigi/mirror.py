# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Local copies of S3 objects that know what they are copies of."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import luigi

from csci_utils.io import atomic_path, read_record, sha256_of, write_record
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

    One HEAD; when the copy is current, that is all. The log says why something is fetched.

    Raises:
        ObjectMissingError, BucketMissingError: there is nothing to copy.
        S3Error: the store refused or failed (see `csci_utils.s3`).
    """
    path = Path(path)
    info = head(uri)
    if info is None:
        raise missing(uri)
    record = recorded(path)
    reason = why_stale(info, record, path=path)
    if reason is None and record is not None:
        return record
    if _adoptable(info, path):
        logger.info("%s: %s, but the bytes are the same: kept", path, reason)
        return _remember(path, uri=uri, etag=info.etag, sha256=info.sha256 or "", checked_by="sha256")
    logger.info("%s: fetched from %s: %s", path, uri, reason)
    with atomic_path(path) as scratch:
        fetched = get(uri, scratch, on_bytes=on_bytes)
    return _remember(path, uri=uri, etag=fetched.info.etag, sha256=fetched.sha256, checked_by=fetched.checked_by)


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
    if not _as_recorded(path, record):
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


def _as_recorded(path: Path, record: CopyRecord) -> bool:
    stat = path.stat()
    if stat.st_size != record.size_bytes:
        return False
    return stat.st_mtime_ns == record.mtime_ns or sha256_of(path) == record.sha256


def _adoptable(info: ObjectInfo, path: Path) -> bool:
    """Tell whether the local file already has the bytes that the object's own digest names."""
    return (
        info.sha256 is not None
        and path.is_file()
        and path.stat().st_size == info.size_bytes
        and sha256_of(path) == info.sha256
    )


def _remember(path: Path, *, uri: S3Uri, etag: str, sha256: str, checked_by: str) -> CopyRecord:
    stat = path.stat()
    record = CopyRecord(
        uri=str(uri),
        etag=etag,
        size_bytes=stat.st_size,
        sha256=sha256,
        checked_by=checked_by,
        mtime_ns=stat.st_mtime_ns,
    )
    write_record(path, record.to_dict())
    return record
