"""Objects looked up and fetched, whole and checked: one HEAD to look, one GET to fetch (big ones by ranges)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from csci_utils.s3.backend import DamagedError, ObjectInfo, OnBytes, Opened, Stored, backend
from csci_utils.s3.client import limits
from csci_utils.s3.errors import (
    BucketMissingError,
    ObjectChangedError,
    ObjectMissingError,
    S3Error,
    StoreUnreachableError,
    said,
)
from csci_utils.s3.ranges import RangesIgnoredError, fetch_ranges
from csci_utils.s3.receive import FetchedObject, checking, fetched, receive
from csci_utils.s3.tries import Tries
from csci_utils.s3.uri import S3Uri


def head(uri: S3Uri) -> ObjectInfo | None:
    """Look an object up by exactly one HEAD of exactly its key; None when there is none (or no such bucket)."""
    stored = look(uri)
    return None if stored is None else stored.info


def look(uri: S3Uri) -> Stored | None:
    """Look an object up as `head` does, with the metadata that it carries."""
    try:
        return backend().head(uri)
    except FileNotFoundError:
        return None


def bucket_exists(bucket: str) -> bool:
    """Tell whether there is such a bucket, by one HEAD.

    Raises:
        AccessRefusedError: it may be there, but not for these credentials.
    """
    try:
        backend().head_bucket(bucket)
    except FileNotFoundError:
        return False
    return True


def missing(uri: S3Uri) -> S3Error:
    """Make the error that says what is missing at an address, the object or (by one more HEAD) its whole bucket."""
    if bucket_exists(uri.bucket):
        return said(ObjectMissingError, uri=uri, action="read it", what="there is no such object; put it there")
    what = f"there is no bucket {uri.bucket!r}; check its name and the endpoint"
    return said(BucketMissingError, uri=uri, action="read it", what=what)


def delete(uri: S3Uri) -> None:
    """Remove an object; none there is no error.

    Raises:
        BucketMissingError: there is no such bucket.
    """
    with suppress(ObjectMissingError):
        backend().delete(uri)


def get(
    uri: S3Uri, path: str | os.PathLike[str], *, on_bytes: OnBytes | None = None, seen: ObjectInfo | None = None
) -> FetchedObject:
    """Stream an object into a file (a scratch file of the caller's), checking it on the way.

    A small object is one GET. A big one comes in ranges, several at a time, all of them of one version of the object.
    A body that arrives cut or damaged is fetched again (of a range, what is left of it), with a pause and a line in
    the log each time, as often as the limits say; what botocore repeats itself (5xx, no connection) is not repeated
    here.

    Args:
        uri: the object.
        path: the file, which is replaced; what a failure leaves in it is of no use.
        on_bytes: told of progress, in this thread.
        seen: what a `head` just said, which saves a big object its first, unneeded bytes, and tells the size of one
            that carries no digest.

    Raises:
        ObjectMissingError, AccessRefusedError, ...: the store has or gives no such object.
        DigestMismatchError: the bytes were wrong every time.
        ObjectChangedError: the object was replaced again and again while it was read.
        StoreTimeoutError, StoreUnreachableError: the body stayed incomplete every time.
    """
    tries, by_ranges, count = Tries(), True, on_bytes or (lambda _num: None)
    while True:
        try:
            return _get_once(uri, Path(path), count=count, seen=seen, by_ranges=by_ranges)
        except RangesIgnoredError:
            by_ranges = False
            continue
        except DamagedError as err:
            failure = err.error
        except ObjectChangedError as err:
            failure, seen = err, None
        tries.again(failure)


def _get_once(uri: S3Uri, path: Path, *, count: OnBytes, seen: ObjectInfo | None, by_ranges: bool) -> FetchedObject:
    ask = seen if by_ranges and seen is not None and _is_big(seen) else None
    span = (0, limits().range_bytes) if ask else None
    opened = backend().open(uri, span=span, if_match=ask.etag if ask else None)
    try:
        ranged = opened.ranged if ask else by_ranges and _is_big(opened.stored.info)
        got = (fetch_ranges if ranged else _fetch_whole)(opened, path, count=count)
    finally:
        opened.body.close()
    if seen is not None and got.checked_by == "size":
        _compare_size(got, path, seen=seen, count=count)
    return got


def _compare_size(got: FetchedObject, path: Path, *, seen: ObjectInfo, count: OnBytes) -> None:
    """Raise DamagedError where another number of bytes came than the look said of the same object."""
    received = path.stat().st_size
    if got.info.etag and got.info.etag == seen.etag and received != seen.size_bytes:
        count(-received)
        what = f"it was seen with {seen.size_bytes} bytes (etag {seen.etag}), and {received} came; try again"
        raise DamagedError(said(StoreUnreachableError, uri=got.info.uri, action="read it", what=what))


def _is_big(info: ObjectInfo) -> bool:
    """Tell whether an object is fetched in ranges; without an ETag, nothing would show that they belong together."""
    return info.size_bytes >= 2 * limits().range_bytes and bool(info.etag)


def _fetch_whole(opened: Opened, path: Path, *, count: OnBytes) -> FetchedObject:
    check, received = checking(opened.stored), 0
    try:
        with path.open("wb") as file:
            for chunk in receive(opened):
                file.write(chunk)
                check.update(chunk)
                received += len(chunk)
                count(len(chunk))
        return fetched(opened.stored, check, otherwise=opened.body.checked_by or "size")
    except BaseException:
        count(-received)
        raise
