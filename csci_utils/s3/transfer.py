"""Objects in and out, whole and checked: one HEAD to look, one GET to fetch, a digest with every upload."""

from __future__ import annotations

import logging
import mimetypes
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from csci_utils.io import sha256_of
from csci_utils.s3.client import client, limits
from csci_utils.s3.digests import SHA256_METADATA, BodyCheck, etag_in, sha256_in
from csci_utils.s3.errors import (
    BucketMissingError,
    DigestMismatchError,
    ObjectMissingError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    said,
    translate,
    translated,
)
from csci_utils.s3.redact import reason_of, strip_secrets
from csci_utils.s3.uri import S3Uri

logger = logging.getLogger("csci_utils.s3")

OnBytes = Callable[[int], object]
"""Called with the number of bytes just moved; with a negative number when bytes have to be moved again."""

MULTIPART_BYTES = 8 * 1024 * 1024
"""Files of this size and more are sent in parts."""

_LONGEST_PAUSE_S = 8.0


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says of one object; ``sha256`` is the digest it carries as metadata, if it does."""

    uri: S3Uri
    etag: str
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class FetchedObject:
    """An object that was fetched: what the store said, the digest of what was written, and by what it was checked."""

    info: ObjectInfo
    sha256: str
    checked_by: str


class _DamagedBodyError(Exception):
    """A body that arrived cut, late or changed: worth another try."""

    def __init__(self, error: S3Error) -> None:
        super().__init__(str(error))
        self.error = error


def head(uri: S3Uri) -> ObjectInfo | None:
    """Look an object up by exactly one HEAD of exactly its key; None when there is none (or no such bucket)."""
    try:
        with translated(uri, "look it up"):
            answer = client().head_object(Bucket=uri.bucket, Key=uri.key)
    except FileNotFoundError:
        return None
    return _info(uri, answer)


def bucket_exists(bucket: str) -> bool:
    """Tell whether there is such a bucket, by one HEAD.

    Raises:
        AccessRefusedError: it may be there, but not for these credentials.
    """
    try:
        with translated(f"s3://{bucket}/", "look it up"):
            client().head_bucket(Bucket=bucket)
    except FileNotFoundError:
        return False
    return True


def get(uri: S3Uri, path: str | os.PathLike[str], *, on_bytes: OnBytes | None = None) -> FetchedObject:
    """Stream an object into a file (a scratch file of the caller's), checking it on the way.

    One GET. A body that arrives cut or damaged is fetched again as a whole, with a pause and a line in the log each
    time, as often as the limits say; what botocore repeats itself (5xx, no connection) is not repeated here.

    Raises:
        ObjectMissingError, AccessRefusedError, ...: the store has or gives no such object.
        DigestMismatchError: the bytes were wrong every time.
        StoreTimeoutError, StoreUnreachableError: the body stayed incomplete every time.
    """
    count = on_bytes or (lambda _num: None)
    stalls = 0
    for attempt in range(1, limits().body_attempts + 1):
        try:
            return _get_once(uri, Path(path), count)
        except _DamagedBodyError as err:
            damaged = err.error
            stalls += isinstance(damaged, StoreTimeoutError)
        if stalls >= limits().silent_attempts or attempt == limits().body_attempts:
            break
        logger.warning("%s; try %d of %d", damaged, attempt + 1, limits().body_attempts)
        time.sleep(random.uniform(0.5, 1.0) * min(2.0 ** (attempt - 1), _LONGEST_PAUSE_S))
    raise damaged


def put(
    path: str | os.PathLike[str],
    uri: S3Uri,
    *,
    on_bytes: OnBytes | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ObjectInfo:
    """Send a finished file to its key; the object appears whole or not at all, and carries the sha256 of its bytes.

    Args:
        path: a file nobody writes to any more.
        uri: where it goes; what is there is replaced.
        on_bytes: told of progress.
        extra: more arguments of S3's PutObject, as ``StorageClass``.
    """
    path = Path(path)
    before, sha256 = _fingerprint(path), sha256_of(path)
    arguments = {
        "ContentType": _content_type(uri.key),
        **(extra or {}),
        "Metadata": {**(extra or {}).get("Metadata", {}), SHA256_METADATA: sha256},
    }
    with path.open("rb") as file, translated(uri, "write it"):
        size_bytes = os.fstat(file.fileno()).st_size
        send = _put_whole if size_bytes < MULTIPART_BYTES else _put_parts
        etag = send(file, uri, arguments=arguments, on_bytes=on_bytes)
    if _fingerprint(path) != before:
        raise said(S3Error, uri=uri, action="write it", what=f"{path} changed while it was sent; send it again")
    return ObjectInfo(uri, etag, size_bytes, sha256)


def missing(uri: S3Uri) -> S3Error:
    """Make the error that says what is missing at an address, the object or (by one more HEAD) its whole bucket."""
    if bucket_exists(uri.bucket):
        return said(ObjectMissingError, uri=uri, action="read it", what="there is no such object; put it there")
    what = f"there is no bucket {uri.bucket!r}; check its name and the endpoint"
    return said(BucketMissingError, uri=uri, action="read it", what=what)


def _get_once(uri: S3Uri, path: Path, count: OnBytes) -> FetchedObject:
    with translated(uri, "read it"):
        answer = client().get_object(Bucket=uri.bucket, Key=uri.key, ChecksumMode="ENABLED")
    check, received = BodyCheck(answer), 0
    try:
        with path.open("wb") as file:
            while chunk := _read_chunk(answer["Body"], uri):
                file.write(chunk)
                check.update(chunk)
                received += len(chunk)
                count(len(chunk))
        _compare_length(uri, wanted=answer.get("ContentLength"), received=received)
        checked_by = _finish(check, uri)
    except BaseException:
        count(-received)
        raise
    finally:
        answer["Body"].close()
    return FetchedObject(_info(uri, answer), check.sha256, checked_by)


def _read_chunk(body: Any, uri: S3Uri) -> bytes:
    before = sys.exception()
    try:
        return bytes(body.read(limits().chunk_bytes))
    except Exception as err:
        error = translate(err, uri=uri, action="read it")
        if error is None and type(err).__module__.startswith("urllib3"):  # TLS errors, which botocore lets through
            error = said(
                StoreUnreachableError, uri=uri, action="read it", what=f"the connection broke ({reason_of(err)})"
            )
        if error is None:
            raise
        error.__cause__ = err if strip_secrets(err, before=before) else None
        raise _DamagedBodyError(error) from error.__cause__


def _compare_length(uri: S3Uri, *, wanted: int | None, received: int) -> None:
    if wanted is not None and received != wanted:
        what = f"{wanted} bytes were announced and {received} came; try again"
        raise _DamagedBodyError(said(StoreUnreachableError, uri=uri, action="read it", what=what))


def _finish(check: BodyCheck, uri: S3Uri) -> str:
    try:
        return check.finish()
    except DigestMismatchError as err:
        error = said(DigestMismatchError, uri=uri, action="read it", what=f"{err}; replace the object if this stays so")
        raise _DamagedBodyError(error) from err


def _put_whole(file: BinaryIO, uri: S3Uri, *, arguments: Mapping[str, Any], on_bytes: OnBytes | None) -> str:
    answer = client().put_object(Bucket=uri.bucket, Key=uri.key, Body=file, **arguments)
    if on_bytes is not None:
        on_bytes(os.fstat(file.fileno()).st_size)
    return etag_in(answer)


def _put_parts(file: BinaryIO, uri: S3Uri, *, arguments: Mapping[str, Any], on_bytes: OnBytes | None) -> str:
    client().upload_fileobj(file, uri.bucket, uri.key, ExtraArgs=dict(arguments), Callback=on_bytes)
    return etag_in(client().head_object(Bucket=uri.bucket, Key=uri.key))


def _info(uri: S3Uri, answer: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(uri, etag_in(answer), int(answer.get("ContentLength", 0)), sha256_in(answer))


def _content_type(key: str) -> str:
    guessed, encoding = mimetypes.guess_type(key, strict=False)
    return guessed if guessed and not encoding else "application/octet-stream"


def _fingerprint(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
