"""What is asked of a store, whatever library speaks to it.

Whatever a backend raises is one of `csci_utils.s3.errors`; a body that breaks while it is read raises `DamagedError`,
since that is worth another try where a refused request is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from csci_utils.s3.body import FileSlice
from csci_utils.s3.errors import S3Error
from csci_utils.s3.uri import S3Uri

OnBytes = Callable[[int], object]
"""Called with the number of bytes just moved; with a negative number when bytes have to be moved again."""

TOKEN_METADATA = "upload"
"""The name of the metadata under which an object that came in parts carries the token of its upload."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says of one object; ``sha256`` is the digest it carries as metadata, if it does."""

    uri: S3Uri
    etag: str
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a store says of one object, and of what its bytes can be compared with.

    Attributes:
        info: the object; its size is the whole object's, whatever range was asked for (a part's, for a part's HEAD).
        etag_is_digest: False where the store encrypts with keys of KMS or the user's, which makes the ETag any text.
        checksums: stored checksums over the whole object, in base64, by lower-case name, as ``crc32``.
        num_parts: of how many parts it was put together, where that was asked and the store says.
        metadata: what else it carries, by lower-case name: what it was put with, ``sha256`` and the like among it.
    """

    info: ObjectInfo
    etag_is_digest: bool = True
    checksums: Mapping[str, str] = field(default_factory=dict)
    num_parts: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str | None:
        """Return what tells by which multipart upload of this package it came, if it came by one."""
        return self.metadata.get(TOKEN_METADATA)


class DamagedError(Exception):
    """A body that arrived cut, late or changed: worth another try."""

    def __init__(self, error: S3Error) -> None:
        super().__init__(str(error))
        self.error = error


class Body(Protocol):
    """The bytes of an answer, as they come."""

    @property
    def checked_by(self) -> str | None:
        """Name the stored checksum that reading to the end compares, if it does."""
        ...

    def read(self, num_bytes: int) -> bytes:
        """Return up to so many bytes, none at the end.

        Raises:
            DamagedError: the rest does not come, or is not what was stored.
        """
        ...

    def interrupt(self) -> None:
        """Make a `read` that waits in another thread end soon."""
        ...

    def close(self) -> None:
        """Give the connection back, or drop it where bytes are left on it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An answer to a GET whose body is still to be read.

    Attributes:
        stored: what the store says of the object.
        body: its bytes from ``start_byte`` on.
        start_byte: the first byte of the object that the body holds.
        length_bytes: how long the body is announced to be, where it is.
        ranged: whether the store gave a part of the object because it was asked to.
        action: what was wanted, for an error's text, as in "read it".
    """

    stored: Stored
    body: Body
    start_byte: int = 0
    length_bytes: int | None = None
    ranged: bool = False
    action: str = "read it"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A multipart upload that was begun.

    Attributes:
        uri: where it goes.
        upload_id: the store's name for it.
        arguments: those it was begun with.
        num_retries: how often the request had been sent before the answer that named this upload.
    """

    uri: S3Uri
    upload_id: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_retries: int = 0


@dataclass(frozen=True)
class Begun:
    """A multipart upload that a store lists, and when it says that it was begun (seconds since 1970, its clock)."""

    upload: Upload
    since_s: float


@dataclass(frozen=True)
class Page:
    """One answer to a listing; ``token`` asks for the next one, None at the end."""

    infos: Sequence[ObjectInfo]
    token: str | None


class Backend(Protocol):
    """The requests that the transfers are made of: each of these is one request (and its new tries)."""

    def endpoint(self) -> str:
        """Name the store that is asked, without logins."""
        ...

    def head(self, uri: S3Uri, *, part: int | None = None, checksums: bool = False) -> Stored:
        """Ask for an object, or the size of one of its parts."""
        ...

    def head_bucket(self, bucket: str) -> None:
        """Ask for a bucket."""
        ...

    def open(self, uri: S3Uri, *, span: tuple[int, int] | None = None, if_match: str | None = None) -> Opened:
        """Begin to read an object, or its bytes ``span[0]`` up to and without ``span[1]``.

        Raises:
            ObjectChangedError: its ETag is not ``if_match``.
        """
        ...

    def put(
        self,
        uri: S3Uri,
        data: bytes | FileSlice,
        *,
        md5: bytes,
        arguments: Mapping[str, Any],
        only_if_absent: bool = False,
    ) -> Stored:
        """Store an object.

        Raises:
            ObjectChangedError: there is one, and ``only_if_absent``.
            UnsupportedError: the store does not know ``only_if_absent``.
        """
        ...

    def create_upload(self, uri: S3Uri, *, arguments: Mapping[str, Any]) -> Upload:
        """Begin a multipart upload."""
        ...

    def put_part(self, upload: Upload, number: int, data: FileSlice, *, md5: bytes) -> Stored:
        """Store a part, numbered from 1."""
        ...

    def complete_upload(self, upload: Upload, etags: Sequence[str], *, only_if_absent: bool = False) -> Stored:
        """Put the parts together; raises as `put`."""
        ...

    def abort_upload(self, upload: Upload) -> None:
        """Drop a multipart upload and its parts."""
        ...

    def list_uploads(self, uri: S3Uri) -> list[Begun]:
        """List the multipart uploads to exactly this key."""
        ...

    def has_parts(self, upload: Upload) -> bool:
        """Tell whether the store holds a part of an upload."""
        ...

    def delete(self, uri: S3Uri) -> None:
        """Remove an object; none there is no error."""
        ...

    def list_page(
        self, prefix: S3Uri, *, token: str | None = None, after: S3Uri | None = None, max_keys: int | None = None
    ) -> Page:
        """List objects whose keys begin with a prefix's key, in the order of the store, those behind ``after``.

        At most ``max_keys`` of them, and no more than the store gives at once.
        """
        ...


class _Chosen:
    """The backend in force, made at the first need."""

    def __init__(self) -> None:
        self.backend: Backend | None = None


_chosen = _Chosen()


def backend() -> Backend:
    """Return the backend in force."""
    if _chosen.backend is None:
        from csci_utils.s3.boto3_backend import Boto3Backend

        _chosen.backend = Boto3Backend()
    return _chosen.backend
