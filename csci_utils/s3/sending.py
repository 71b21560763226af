"""A file on its way to a key: what it was when it was read, and what is compared and mended when it has arrived."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from csci_utils.s3.backend import TOKEN_METADATA, ObjectInfo, OnBytes, Stored, backend
from csci_utils.s3.body import FileChangedError
from csci_utils.s3.digests import SHA256_METADATA, md5_in, num_parts_in
from csci_utils.s3.errors import (
    DigestMismatchError,
    ObjectChangedError,
    ObjectExistsError,
    S3Error,
    UnsupportedError,
    said,
)
from csci_utils.s3.uri import S3Uri

logger = logging.getLogger("csci_utils.s3")

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What is sent where, and how.

    Attributes:
        path: a finished file.
        uri: where it goes.
        extra: the caller's arguments of PutObject, the content type among them.
        count: told of progress.
        only_if_absent: whether an object that is there already is an error.
        state: size, time of change and identity of the file when this was made.
    """

    path: Path
    uri: S3Uri
    extra: Mapping[str, Any]
    count: OnBytes
    only_if_absent: bool
    state: tuple[int, int, int]

    @property
    def size_bytes(self) -> int:
        """How big the file was at the beginning."""
        return self.state[0]

    def arguments(self, sha256: str, *, token: str | None = None) -> dict[str, Any]:
        """Return the arguments of a request that creates the object, its digest and a multipart's token among them."""
        ours = {SHA256_METADATA: sha256} if token is None else {SHA256_METADATA: sha256, TOKEN_METADATA: token}
        return {**self.extra, "Metadata": {**self.extra.get("Metadata", {}), **ours}}

    def check_unchanged(self) -> None:
        """Raise S3Error where the file is not what it was."""
        if state_of(self.path) != self.state:
            raise self.changed()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Say so where the file changes while a slice of it is sent in the block."""
        try:
            yield
        except FileChangedError:
            raise self.changed() from None

    def changed(self) -> S3Error:
        """Make the error that says that the file changed."""
        return self.error(S3Error, f"{self.path} changed while it was sent; send it again")

    def error(self, kind: type[S3Error], what: str) -> S3Error:
        """Make an error about this file and its key."""
        return said(kind, uri=self.uri, action="write it", what=what)

    def refuse_existing(self) -> None:
        """Raise ObjectExistsError where there is an object, by one HEAD."""
        with suppress(FileNotFoundError):
            raise self.exists(backend().head(self.uri).info.etag)

    def exists(self, etag: str | None = None) -> S3Error:
        """Make the error that says that there is an object already."""
        found = f" (etag {etag})" if etag else ""
        return self.error(ObjectExistsError, f"there is an object already{found}; remove it, or choose another key")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The object as it is to be: what tells it from a damaged one.

    Attributes:
        uri: where it is to be.
        sha256: of its bytes.
        etag: what a store makes of them that makes ETags of MD5s.
        size_bytes: how big it is.
        token: the token of its multipart upload, which tells it from an equal object of somebody else.
    """

    uri: S3Uri
    sha256: str
    etag: str
    size_bytes: int
    token: str | None = None

    def info(self, etag: str) -> ObjectInfo:
        """Return what a store says of it."""
        return ObjectInfo(self.uri, etag, self.size_bytes, self.sha256)

    def compare(self, stored: Stored) -> None:
        """Raise DigestMismatchError where an answer's ETag is a digest, of the same kind, and another one."""
        if not self._same(stored):
            what = f"bytes with the ETag {self.etag} were sent, and the store took some with {stored.info.etag}"
            raise said(DigestMismatchError, uri=self.uri, action="write it", what=f"{what}; check the network")

    def found(self) -> ObjectInfo | None:
        """Return the object where it is there, whole and with our digest: an earlier try has succeeded after all."""
        with suppress(S3Error):
            stored = backend().head(self.uri)
            if self._ours(stored) and self._whole(stored):
                return stored.info
        return None

    def remove_damaged(self) -> bool:
        """Remove the object where it carries our digest and token and has other bytes; a failure to do so is logged.

        Returns:
            Whether it is known that there is none.
        """
        return self._look()[1]

    def found_or_removed(self) -> ObjectInfo | None:
        """Return the object where it is there after all, as `found`; remove a damaged one, as `remove_damaged`."""
        return self._look()[0]

    def _look(self) -> tuple[ObjectInfo | None, bool]:
        """Return the object where it is ours and whole, and whether it is known that no damaged one is there."""
        try:
            stored = backend().head(self.uri)
            if not self._ours(stored):
                return None, True
            if self._whole(stored):
                return stored.info, True
            logger.warning("%s: damaged on its way (etag %s), removed", self.uri, stored.info.etag)
            backend().delete(self.uri)
        except FileNotFoundError:
            pass
        except S3Error as err:
            logger.warning("%s; whether a damaged object is there could not be seen", err)
            return None, False
        return None, True

    def _whole(self, stored: Stored) -> bool:
        return stored.info.size_bytes == self.size_bytes and self._same(stored)

    def _ours(self, stored: Stored) -> bool:
        """Tell whether an object carries our digest, and the token where there is one.

        An equal object that somebody else sent in parts of another size has another ETag, and is not damaged.
        """
        return stored.info.sha256 == self.sha256 and self.token in (None, stored.token)

    def _same(self, stored: Stored) -> bool:
        """Tell whether an ETag says these bytes; one that is no digest, or one of another kind, says nothing."""
        by_parts = num_parts_in(stored)
        if "-" in self.etag:
            return by_parts is None or stored.info.etag.lower() == self.etag
        return md5_in(stored) in (None, self.etag)


def refusing(sending: Sending, request: Callable[[bool], Answer]) -> Answer:
    """Send a request that creates the object, with ``only_if_absent`` where that is wanted and known to the store.

    Raises:
        ObjectExistsError: there is an object.
    """
    if not sending.only_if_absent:
        return request(False)
    try:
        return request(True)
    except ObjectChangedError as err:
        failure: S3Error = err
    except UnsupportedError:
        sending.refuse_existing()
        return request(False)
    error = sending.exists()
    error.num_retries = failure.num_retries
    raise error from failure


def state_of(path: Path) -> tuple[int, int, int]:
    """Return what tells whether a file was written to: its size, its time of change, and which file it is."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
