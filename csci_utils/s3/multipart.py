"""A big file in parts, several at a time, each compared, and none left behind when it fails."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from csci_utils.s3.backend import ObjectInfo, Upload, backend
from csci_utils.s3.body import FileSlice
from csci_utils.s3.client import limits
from csci_utils.s3.digests import Crc32, PartDigests, etag_of_parts, md5_in, new_md5
from csci_utils.s3.errors import (
    ConflictError,
    DigestMismatchError,
    ObjectExistsError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    UploadMissingError,
    said,
)
from csci_utils.s3.journal import Note, is_published, noted
from csci_utils.s3.sending import Sending, Wanted, refusing
from csci_utils.s3.threads import Crew, check_stopped, hurried
from csci_utils.s3.tries import Tries

logger = logging.getLogger("csci_utils.s3")

_MOST_PARTS = 10_000
_FEW_PARTS = 8
_MIB = 1024 * 1024
_BIG_PART_BYTES = 64 * _MIB


def put_parts(sending: Sending, *, journal: Path | None) -> ObjectInfo:
    """Send a file by a multipart upload, which is given up on any exception, Ctrl-C included.

    Raises:
        ObjectExistsError: there is an object, and it was not to be replaced.
        DigestMismatchError: the store held other bytes than were sent, every time.
        S3Error: the store refused or failed, or the file changed while it was sent.
    """
    parts, tries = None, Tries()
    while True:
        if sending.only_if_absent:
            sending.refuse_existing()  # the store looks again at the end; this saves sending it all in vain
        parts = parts or _read(sending)
        try:
            return _put_once(sending, parts, journal=journal)
        except (UploadMissingError, ConflictError) as err:  # somebody gave it up, or was completing another
            failure = err
        tries.again(failure)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What was read: the digest of the whole, and what shows that a part has not changed since."""

    sha256: str
    part_bytes: int
    crc32s: list[bytes]


def _read(sending: Sending) -> _Parts:
    """Read the file once for its digest, which the store wants to know before it gets a byte.

    The MD5 of a part is left to the thread that sends it, since MD5 is slow; CRC-32 is quick, and tells that thread
    whether it has the bytes that were digested here.
    """
    part_bytes = _part_bytes(sending.size_bytes)
    sha256, crc32s = hashlib.sha256(), PartDigests(part_bytes, Crc32)
    with sending.path.open("rb", buffering=0) as file:
        while chunk := file.read(limits().chunk_bytes):
            sha256.update(chunk)
            crc32s.update(chunk)
            check_stopped()
    sending.check_unchanged()
    return _Parts(sha256=sha256.hexdigest(), part_bytes=part_bytes, crc32s=crc32s.digests())


def _part_bytes(size_bytes: int) -> int:
    """Return how big parts are to be: bigger ones of a bigger file, of which some stores give the bytes back sooner."""
    few = min(size_bytes // (_FEW_PARTS * _MIB) * _MIB, _BIG_PART_BYTES)
    least = -(-size_bytes // (_MOST_PARTS * _MIB)) * _MIB if size_bytes > _BIG_PART_BYTES * _MOST_PARTS else 0
    return max(limits().part_bytes, few, least)


def _put_once(sending: Sending, parts: _Parts, *, journal: Path | None) -> ObjectInfo:
    with noted(journal, sending.uri) as note:
        begun_s = time.monotonic()
        upload = _create(sending, parts, note)
        work = _Work(sending, upload, parts)
        try:
            note.begun(upload)
            if upload.num_retries:
                note.give_up_twins(upload, age_s=time.monotonic() - begun_s)
            _send(sending, work)
            note.complete()
            info = _complete(sending, work, sha256=parts.sha256, token=note.token)
        except BaseException as err:
            with nullcontext() if isinstance(err, Exception) else hurried():  # after Ctrl-C, the note sees to it
                aborted = _abort(upload, note)
            note.settled = aborted and work.crew.ended  # a part under way may arrive after all is given up
            raise
        note.settled = True
        return info


def _create(sending: Sending, parts: _Parts, note: Note) -> Upload:
    try:
        return backend().create_upload(sending.uri, arguments=sending.arguments(parts.sha256, token=note.token))
    except S3Error as err:  # where the answer was lost, there may be an upload
        lost = isinstance(err, (StoreTimeoutError, StoreUnreachableError))
        seen = lost and note.give_up_unnamed()
        # A store that is slow may begin an upload after that look: the note stays for the next start.
        note.settled = not lost or (seen and not isinstance(err, StoreTimeoutError))
        raise


def _send(sending: Sending, work: _Work) -> None:
    """Send all parts, and tell of the progress."""
    counted = 0
    try:
        with work.crew:
            while counted < sending.size_bytes:
                now = work.wait_beyond(counted)
                sending.count(now - counted)
                counted = now
        sending.check_unchanged()
    except BaseException:
        sending.count(-counted)
        raise


class _Work:
    """The parts that are still to be sent, and what the store said of the others.

    Attributes:
        upload: what they belong to.
        etags: of each part that the store took, by its number, from 1.
        md5s: of each part that was sent, by its number.
        sent_bytes: how many bytes the store took.
        crew: the threads that send.
    """

    def __init__(self, sending: Sending, upload: Upload, parts: _Parts) -> None:
        self.upload = upload
        self.etags: dict[int, str] = {}
        self.md5s: dict[int, bytes] = {}
        self.sent_bytes = 0
        self._sending = sending
        self._parts = parts
        self._numbers = iter(range(1, len(parts.crc32s) + 1))
        self._lock = threading.Lock()
        num_threads = min(limits().parallel_parts, len(parts.crc32s))
        self.crew = Crew(self._run, num_threads=num_threads, patience_s=limits().stop_wait_s)

    def wait_beyond(self, sent_bytes: int) -> int:
        """Wait until more than so many bytes are sent, and return how many."""
        self.crew.wait_for(lambda: self.sent_bytes > sent_bytes)
        return self.sent_bytes

    def _run(self, crew: Crew) -> None:
        while (number := self._take()) is not None:
            crew.stop.check()
            self._move(number)
            crew.notify()

    def _move(self, number: int) -> None:
        start_byte = (number - 1) * self._parts.part_bytes
        num_bytes = min(self._parts.part_bytes, self._sending.size_bytes - start_byte)
        with FileSlice(self._sending.path, start_byte, num_bytes) as data, self._sending.watching():
            etag, md5 = self._send(number, data)
        with self._lock:
            self.etags[number], self.md5s[number] = etag, md5
            self.sent_bytes += num_bytes

    def _take(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _send(self, number: int, data: FileSlice) -> tuple[str, bytes]:
        tries = Tries()
        while True:
            md5 = self._md5_of(number, data)
            try:
                stored = backend().put_part(self.upload, number, data, md5=md5)
                if md5_in(stored) in (None, md5.hex()):
                    return stored.info.etag, md5
                failure = _damaged(self.upload, number)
            except DigestMismatchError as err:
                failure = err
            tries.again(failure)

    def _md5_of(self, number: int, data: FileSlice) -> bytes:
        """Return the MD5 of a part, which the store compares with what arrives; of the bytes that were read before."""
        md5, crc32 = new_md5(), Crc32()
        for chunk in data.chunks():
            md5.update(chunk)
            crc32.update(chunk)
        if crc32.digest() != self._parts.crc32s[number - 1]:
            raise self._sending.changed()
        return md5.digest()


def _damaged(upload: Upload, number: int) -> DigestMismatchError:
    what = "the store took other bytes than were sent; check the network"
    return said(DigestMismatchError, uri=upload.uri, action=f"write part {number} of it", what=what)


def _complete(sending: Sending, work: _Work, *, sha256: str, token: str) -> ObjectInfo:
    """Put the parts together; where the answer was lost, look whether it was done."""
    etags = [work.etags[number] for number in sorted(work.etags)]
    etag = etag_of_parts([work.md5s[number] for number in sorted(work.md5s)])
    wanted = Wanted(uri=sending.uri, sha256=sha256, etag=etag, size_bytes=sending.size_bytes, token=token)
    try:
        stored = refusing(sending, lambda absent: backend().complete_upload(work.upload, etags, only_if_absent=absent))
    except ConflictError:  # nothing came of it; an equal object would be another's
        raise
    except S3Error as err:
        lost = not isinstance(err, ObjectExistsError) or err.num_retries
        found = wanted.found() if lost else None
        if found is None:
            raise
        return found
    try:
        wanted.compare(stored)
    except DigestMismatchError:
        wanted.remove_damaged()
        raise
    return wanted.info(stored.info.etag)


def _abort(upload: Upload, note: Note) -> bool:
    """Give an upload up unless it is the object by now, and tell whether nothing is left of it.

    A failure is logged, and never hides what led here.
    """
    try:
        if note.completing and is_published(upload.uri, note.token):
            logger.info("%s: its multipart upload was completed after all", upload.uri)
            return True
        backend().abort_upload(upload)
    except FileNotFoundError:
        return True
    except Exception as err:
        logger.warning("%s; its parts stay in the store", err)
        return False
    return True
