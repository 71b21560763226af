"""The bytes of one answer, all of them or an error, and what they were checked by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from csci_utils.s3.backend import DamagedError, ObjectInfo, Opened, Stored, backend
from csci_utils.s3.client import limits
from csci_utils.s3.digests import BodyCheck, can_check, num_parts_in
from csci_utils.s3.errors import DigestMismatchError, S3Error, StoreUnreachableError, said
from csci_utils.s3.threads import check_stopped, waking


@dataclass(frozen=True)
class FetchedObject:
    """An object that was fetched: what the store said, the digest of what was written, and by what it was checked."""

    info: ObjectInfo
    sha256: str
    checked_by: str


def receive(opened: Opened) -> Iterator[bytes]:
    """Give the bytes of an answer in chunks, to its end.

    Raises:
        DamagedError: another number of bytes came than was announced, or the rest does not come.
    """
    received = 0
    with waking(opened.body.interrupt):
        while chunk := opened.body.read(limits().chunk_bytes):
            received += len(chunk)
            yield chunk
            check_stopped()
    if opened.length_bytes not in (None, received):
        raise _incomplete(opened, f"{opened.length_bytes} bytes were announced and {received} came")


def receive_part(opened: Opened, *, wanted_bytes: int) -> Iterator[bytes]:
    """Give so many bytes of an answer in chunks, and read no more of it.

    Raises:
        DamagedError: fewer came.
    """
    received = 0
    with waking(opened.body.interrupt):
        while received < wanted_bytes:
            chunk = opened.body.read(min(limits().chunk_bytes, wanted_bytes - received))
            check_stopped()
            if not chunk:
                break
            received += len(chunk)
            yield chunk
    if received < wanted_bytes:
        raise _incomplete(opened, f"{wanted_bytes} bytes were asked for and {received} came")


def checking(stored: Stored) -> BodyCheck:
    """Choose by what an object's bytes are checked; costs two HEADs where only an ETag of parts is left."""
    return BodyCheck(stored, part_bytes=None if can_check(stored) else _part_bytes(stored))


def fetched(stored: Stored, check: BodyCheck, *, otherwise: str) -> FetchedObject:
    """Compare the bytes that came with what the store said of them.

    Args:
        stored: what it said.
        check: what took the bytes.
        otherwise: by what they were checked already, for when there is nothing else.

    Raises:
        DamagedError: they are not the ones that were stored.
    """
    try:
        checked_by = check.finish() or otherwise
    except DigestMismatchError as err:
        what = f"{err}; replace the object if this stays so"
        raise DamagedError(said(DigestMismatchError, uri=stored.info.uri, action="read it", what=what)) from err
    return FetchedObject(stored.info, check.sha256, checked_by)


def _incomplete(opened: Opened, what: str) -> DamagedError:
    uri, action = opened.stored.info.uri, opened.action
    return DamagedError(said(StoreUnreachableError, uri=uri, action=action, what=f"{what}; try again"))


def _part_bytes(stored: Stored) -> int | None:
    """Ask how big an object's parts are; None where they are not of one size, or the store does not say."""
    info, num_parts = stored.info, num_parts_in(stored)
    if num_parts is None or num_parts <= 1:
        return info.size_bytes if num_parts else None
    try:
        first, last = (backend().head(info.uri, part=part) for part in (1, num_parts))
    except S3Error:  # it gave the object, but knows no parts
        return None
    if any(each.num_parts not in (None, num_parts) for each in (first, last)):
        return None
    part_bytes, last_bytes = first.info.size_bytes, last.info.size_bytes
    one_size = part_bytes * (num_parts - 1) + last_bytes == info.size_bytes and last_bytes <= part_bytes
    return part_bytes if one_size else None
