"""Multipart uploads that are under way, remembered on disk, so that the next start can give up what a kill left.

Each has a file of its own in a folder, the journal: its name tells the process, its text the bucket, the key and, once
there is one, the upload. It is written before the upload is begun, again before the completion is sent (from then on,
the object may be there), and goes when the upload is completed or given up.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.io import FOREIGN_SCRATCH_AGE_S, atomic_path, is_abandoned, owner
from csci_utils.s3.backend import Upload, backend
from csci_utils.s3.errors import S3Error
from csci_utils.s3.uri import S3Uri

logger = logging.getLogger("csci_utils.s3")

_NOTE = re.compile(r"\.upload~(?P<owner>[0-9a-f]{8}-[0-9]{1,10}-[0-9a-f]{8})-[0-9a-f]{8}\.json")
_CLOCK_S = 5.0
_CLOCK_SKEW_S = 1200.0  # S3 takes requests of clocks that are 15 minutes off


class Note:
    """What the journal says of one upload.

    Attributes:
        token: what the object will carry, which tells it from an equal one of another upload.
        completing: whether its completion was, or is about to be, sent.
        settled: whether nothing can be left of it in the store; else the note stays, for the next start.
    """

    def __init__(self, path: Path | None, uri: S3Uri) -> None:
        self.token = secrets.token_hex(16)
        self.completing = False
        self.settled = False
        self._path = path
        self._facts: dict[str, Any] = {"bucket": uri.bucket, "key": uri.key, "upload_id": None, "since_s": time.time()}

    def write(self) -> None:
        """Put it on the disk."""
        if self._path is not None:
            sent = {"token": self.token, "completing": self.completing}
            facts = {**self._facts, **sent, "endpoint": backend().endpoint()}
            with atomic_path(self._path) as scratch:
                scratch.write_text(json.dumps(facts, sort_keys=True, indent=2) + "\n", encoding="utf-8")

    def begun(self, upload: Upload) -> None:
        """Remember which upload it is."""
        self._facts["upload_id"] = upload.upload_id
        self.write()

    def complete(self) -> None:
        """Remember that its completion is sent next."""
        self.completing = True
        self.write()

    def give_up_unnamed(self) -> bool:
        """Abort what a request began whose answers were all lost, and tell whether that could be done."""
        uri = S3Uri(self._facts["bucket"], self._facts["key"])
        try:
            _abort(_unnamed(uri, since_s=self._facts["since_s"], in_use=self._in_use()))
        except FileNotFoundError:  # no such bucket
            return True
        except S3Error as err:
            logger.warning("%s; whether a lost answer left an upload there could not be seen", err)
            return False
        return True

    def give_up_twins(self, upload: Upload, *, age_s: float) -> None:
        """Abort what earlier tries of the request began that began an upload, told by the store's own clock.

        Args:
            upload: what the last try began.
            age_s: how long ago the first try was.
        """
        try:
            begun = backend().list_uploads(upload.uri)
            mine_s = next(each.since_s for each in begun if each.upload.upload_id == upload.upload_id)
            twins = [each.upload for each in begun if -_CLOCK_S <= mine_s - each.since_s <= age_s + _CLOCK_S]
            in_use = {upload.upload_id, *self._in_use()}
            _abort(each for each in twins if each.upload_id not in in_use and not _has_parts(each))
        except (S3Error, StopIteration) as err:
            logger.info("%s: whether a lost answer left an upload could not be seen: %s", upload.uri, err)

    def _in_use(self) -> set[str | None]:
        others = [] if self._path is None else [_read(each) for each in _notes(self._path.parent)]
        return {facts.upload_id for facts in others if facts is not None}

    def close(self) -> None:
        """Forget the upload, unless something may be left of it."""
        if self._path is not None and self.settled:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


@contextmanager
def noted(journal: Path | None, uri: S3Uri) -> Iterator[Note]:
    """Keep a note in the journal while an upload to a key lasts; without a journal, keep none."""
    path = None if journal is None else journal / f".upload~{owner()}-{secrets.token_hex(4)}.json"
    note = Note(path, uri)
    try:
        note.write()
        yield note
    finally:
        note.close()


def is_published(uri: S3Uri, token: str) -> bool:
    """Tell whether the object came by the upload of this token, by one HEAD.

    Asked before an upload is given up whose completion was sent: on Swift, one that was completed may still be listed,
    and to give it up deletes the bytes of the object.
    """
    try:
        return backend().head(uri).token == token
    except FileNotFoundError:
        return False


def sweep_uploads(journal: Path) -> list[S3Uri]:
    """Give up the multipart uploads of processes that are gone, and return where they were to go.

    Those of live processes stay, and those that were completed after all. What the store refuses is logged, and tried
    again at the next start.
    """
    notes = {path: _read(path) for path in _notes(journal)}
    gone = {path: facts for path, facts in notes.items() if _is_abandoned(path)}
    in_use = {facts.upload_id for path, facts in notes.items() if facts is not None and path not in gone}
    swept = []
    for path, facts in gone.items():
        if facts is not None and not _give_up(path, facts, in_use=in_use):
            continue
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if facts is not None:
            swept.append(facts.uri)
    return swept


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What a note says."""

    uri: S3Uri
    upload_id: str | None
    since_s: float
    endpoint: str
    token: str
    completing: bool


def _notes(journal: Path) -> list[Path]:
    return [path for path in sorted(journal.glob(".upload~*.json")) if _NOTE.fullmatch(path.name)]


def _read(path: Path) -> _Facts | None:
    try:
        facts = json.loads(path.read_bytes())
        uri = S3Uri(str(facts["bucket"]), str(facts["key"]))
        return _Facts(
            uri=uri,
            upload_id=facts["upload_id"],
            since_s=float(facts["since_s"]),
            endpoint=str(facts["endpoint"]),
            token=str(facts.get("token", "")),
            completing=bool(facts.get("completing", False)),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_abandoned(path: Path) -> bool:
    match = _NOTE.fullmatch(path.name)
    return match is not None and is_abandoned(path, match["owner"])


def _give_up(path: Path, facts: _Facts, *, in_use: set[str | None]) -> bool:
    """Abort what a note tells of; False where that has to be tried again."""
    try:
        if facts.endpoint != backend().endpoint():
            return _forget(path, facts)
        if facts.completing and is_published(facts.uri, facts.token):
            return True
        if _abort(_uploads(facts, in_use=in_use)):
            logger.info("%s: gave up the multipart upload of a process that is gone", facts.uri)
    except FileNotFoundError:  # no such bucket
        return True
    except S3Error as err:
        logger.warning("%s; parts of a process that is gone stay there, and the next start tries again", err)
        return False
    return True


def _uploads(facts: _Facts, *, in_use: set[str | None]) -> list[Upload]:
    """Return the upload that a note names, else those that may be the one it has no name of."""
    if facts.upload_id is not None:
        return [Upload(uri=facts.uri, upload_id=facts.upload_id)]
    return _unnamed(facts.uri, since_s=facts.since_s, in_use=in_use)


def _unnamed(uri: S3Uri, *, since_s: float, in_use: set[str | None]) -> list[Upload]:
    """Return the uploads to a key that were begun since then and have no parts.

    One whose beginning was never heard of has none; one with parts is somebody else's, or, on Swift, one that was
    completed and stays listed: to give that up deletes the bytes of the object.
    """
    since_s -= _CLOCK_SKEW_S
    begun = [each.upload for each in backend().list_uploads(uri) if each.since_s >= since_s]
    return [each for each in begun if each.upload_id not in in_use and not _has_parts(each)]


def _has_parts(upload: Upload) -> bool:
    try:
        return backend().has_parts(upload)
    except FileNotFoundError:  # completed, or given up already
        return True


def _abort(uploads: Iterable[Upload]) -> bool:
    """Give uploads up, and tell whether there were any."""
    found = False
    for upload in uploads:
        with suppress(FileNotFoundError):  # completed, or given up already
            backend().abort_upload(upload)
            found = True
    return found


def _forget(path: Path, facts: _Facts) -> bool:
    """Drop a note about another store, which cannot be asked now, once it is old; else keep it."""
    if time.time() - facts.since_s < FOREIGN_SCRATCH_AGE_S:
        return False
    logger.warning("%s: forgot its multipart upload in the store at %s; parts may be left", facts.uri, facts.endpoint)
    return True
