"""A big file in parts, several at a time, each compared, and none left behind when it fails."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from pathlib import Path

from csci_utils.s3.backend import ObjectInfo, Upload, backend
from csci_utils.s3.client import limits
from csci_utils.s3.digests import PartsMd5, etag_of_parts, md5_in
from csci_utils.s3.errors import (
    DigestMismatchError,
    ObjectExistsError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    UploadMissingError,
    said,
)
from csci_utils.s3.journal import Note, noted
from csci_utils.s3.sending import Sending, Wanted, refusing
from csci_utils.s3.threads import Crew, check_stopped
from csci_utils.s3.tries import Tries

logger = logging.getLogger("csci_utils.s3")

_MOST_PARTS = 10_000
_MIB = 1024 * 1024
_CLOCK_S = 5.0


def put_parts(sending: Sending, *, journal: Path | None) -> ObjectInfo:
    """Send a file by a multipart upload, which is given up on any exception, Ctrl-C included.

    Raises:
        ObjectExistsError: there is an object, and it was not to be replaced.
        DigestMismatchError: the store held other bytes than were sent, every time.
        S3Error: the store refused or failed, or the file changed while it was sent.
    """
    if sending.only_if_absent:
        sending.refuse_existing()  # the store looks again at the end; this saves sending it all in vain
    parts, sha256 = _read(sending)
    wanted = Wanted(uri=sending.uri, sha256=sha256, etag=etag_of_parts(parts.md5s), size_bytes=sending.size_bytes)
    tries = Tries()
    while True:
        try:
            return _put_once(sending, wanted, parts, journal=journal)
        except UploadMissingError as err:  # somebody gave it up
            failure = err
        tries.again(failure)


class _Parts:
    """The parts of one file, and where they begin."""

    def __init__(self, path: Path, *, part_bytes: int, md5s: list[bytes]) -> None:
        self.path = path
        self.part_bytes = part_bytes
        self.md5s = md5s

    def read(self, number: int) -> bytes:
        """Read a part, numbered from 1."""
        with self.path.open("rb") as file:
            file.seek((number - 1) * self.part_bytes)
            return file.read(self.part_bytes)


def _read(sending: Sending) -> tuple[_Parts, str]:
    """Read the file once, for the digest of the whole and those of its parts."""
    part_bytes = limits().part_bytes
    if sending.size_bytes > part_bytes * _MOST_PARTS:
        part_bytes = -(-sending.size_bytes // (_MOST_PARTS * _MIB)) * _MIB
    sha256, md5s = hashlib.sha256(), PartsMd5(part_bytes)
    with sending.path.open("rb", buffering=0) as file:
        while chunk := file.read(limits().chunk_bytes):
            sha256.update(chunk)
            md5s.update(chunk)
            check_stopped()
    sending.check_unchanged()
    return _Parts(sending.path, part_bytes=part_bytes, md5s=md5s.md5s()), sha256.hexdigest()


def _put_once(sending: Sending, wanted: Wanted, parts: _Parts, *, journal: Path | None) -> ObjectInfo:
    with noted(journal, sending.uri) as note:
        begun_s = time.monotonic()
        upload = _create(sending, wanted, note)
        work = _Work(upload, parts)
        try:
            note.begun(upload)
            if upload.num_retries:
                _abort_twins(upload, age_s=time.monotonic() - begun_s)
            info = _complete(sending, wanted, upload, _send(sending, work))
        except BaseException:
            note.settled = _abort(upload) and work.crew.ended  # a part under way may arrive after all is given up
            raise
        note.settled = True
        return info


def _create(sending: Sending, wanted: Wanted, note: Note) -> Upload:
    try:
        return backend().create_upload(sending.uri, arguments=sending.arguments(wanted.sha256))
    except S3Error as err:  # where the answer was lost, there may be an upload
        note.settled = not isinstance(err, (StoreTimeoutError, StoreUnreachableError))
        raise


def _send(sending: Sending, work: _Work) -> list[str]:
    """Send all parts, and return their ETags in order."""
    counted = 0
    try:
        with work.crew:
            while counted < sending.size_bytes:
                now = work.wait_beyond(counted)
                sending.count(now - counted)
                counted = now
        sending.check_unchanged()
    except BaseException as err:
        sending.count(-counted)
        if isinstance(err, DigestMismatchError):
            sending.check_unchanged()
        raise
    return [work.etags[number] for number in sorted(work.etags)]


class _Work:
    """The parts that are still to be sent."""

    def __init__(self, upload: Upload, parts: _Parts) -> None:
        self.etags: dict[int, str] = {}
        self.sent_bytes = 0
        self._upload = upload
        self._parts = parts
        self._numbers = iter(range(1, len(parts.md5s) + 1))
        self._lock = threading.Lock()
        num_threads = max(1, limits().parallel_parts * limits().part_bytes // parts.part_bytes)
        num_threads = min(num_threads, limits().parallel_parts, len(parts.md5s))
        self.crew = Crew(self._run, num_threads=num_threads, patience_s=limits().stop_wait_s)

    def wait_beyond(self, sent_bytes: int) -> int:
        """Wait until more than so many bytes are sent, and return how many."""
        self.crew.wait_for(lambda: self.sent_bytes > sent_bytes)
        return self.sent_bytes

    def _run(self, crew: Crew) -> None:
        while (number := self._take()) is not None:
            crew.stop.check()
            data = self._parts.read(number)
            etag = self._send_one(number, data)
            with self._lock:
                self.etags[number] = etag
                self.sent_bytes += len(data)
            crew.notify()

    def _take(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _send_one(self, number: int, data: bytes) -> str:
        md5, tries = self._parts.md5s[number - 1], Tries()
        while True:
            try:
                stored = backend().put_part(self._upload, number, data, md5=md5)
                if md5_in(stored) in (None, md5.hex()):
                    return stored.info.etag
                failure = _damaged(self._upload, number)
            except DigestMismatchError as err:
                failure = err
            tries.again(failure)


def _damaged(upload: Upload, number: int) -> DigestMismatchError:
    what = "the store took other bytes than were sent; check the network"
    return said(DigestMismatchError, uri=upload.uri, action=f"write part {number} of it", what=what)


def _complete(sending: Sending, wanted: Wanted, upload: Upload, etags: list[str]) -> ObjectInfo:
    """Put the parts together; where the answer was lost, look whether it was done."""
    try:
        stored = refusing(sending, lambda absent: backend().complete_upload(upload, etags, only_if_absent=absent))
    except (UploadMissingError, ObjectExistsError, StoreUnreachableError, StoreTimeoutError) as err:
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


def _abort(upload: Upload) -> bool:
    """Give an upload up, and tell whether that was done; a failure is logged, and never hides what led here."""
    try:
        backend().abort_upload(upload)
    except FileNotFoundError:
        return True
    except Exception as err:
        logger.warning("%s; its parts stay in the store", err)
        return False
    return True


def _abort_twins(upload: Upload, *, age_s: float) -> None:
    """Give up what earlier tries of the same request began, whose answers were lost; by the store's own clock."""
    try:
        begun = backend().list_uploads(upload.uri)
        mine_s = next(each.since_s for each in begun if each.upload.upload_id == upload.upload_id)
        for each in begun:
            if each.upload.upload_id != upload.upload_id and -_CLOCK_S <= mine_s - each.since_s <= age_s + _CLOCK_S:
                backend().abort_upload(each.upload)
    except (S3Error, StopIteration) as err:
        logger.info("%s: whether a lost answer left an upload could not be seen: %s", upload.uri, err)
