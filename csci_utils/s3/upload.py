"""Files sent whole or not at all, each with the sha256 of its bytes, each answer compared with what was sent."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csci_utils.s3.backend import ObjectInfo, OnBytes, backend
from csci_utils.s3.body import FileSlice
from csci_utils.s3.client import default_journal, limits
from csci_utils.s3.digests import new_md5
from csci_utils.s3.errors import (
    ConflictError,
    DigestMismatchError,
    ObjectExistsError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
)
from csci_utils.s3.multipart import put_parts
from csci_utils.s3.sending import Sending, Wanted, refusing, state_of
from csci_utils.s3.tries import Tries
from csci_utils.s3.uri import S3Uri


def put(
    path: str | os.PathLike[str],
    uri: S3Uri,
    *,
    on_bytes: OnBytes | None = None,
    extra: Mapping[str, Any] | None = None,
    only_if_absent: bool = False,
    journal: Path | None = None,
) -> ObjectInfo:
    """Send a finished file to its key; the object appears whole or not at all, and carries the sha256 of its bytes.

    Where every answer is lost, an equal object that is there is taken for the one that was sent.

    The ETag that comes back is compared with what was sent, where it is a digest; what the store damaged or refused as
    damaged is sent again, as often as the limits say, and removed when it stays so.

    Args:
        path: a file nobody writes to any more.
        uri: where it goes; what is there is replaced.
        on_bytes: told of progress, in this thread.
        extra: more arguments of S3's PutObject, as ``StorageClass``. Of its ``Metadata`` every store takes names of
            small letters, digits and hyphens, with values of up to 256 bytes of ASCII, 2 KB in all; our own digest
            (``sha256``) and token (``upload``) are part of that.
        only_if_absent: replace nothing: by the store itself where it knows how, else by a look before.
        journal: a folder that remembers multipart uploads while they last, for `sweep_uploads`; without, that of
            `use_journal`, if there is one.

    Raises:
        ObjectExistsError: there is an object, and ``only_if_absent``.
        DigestMismatchError: the store held other bytes than were sent, every time.
        S3Error: the store refused or failed, or the file changed while it was sent.
    """
    path = Path(path)
    sending = Sending(
        path=path,
        uri=uri,
        extra={"ContentType": _content_type(uri.key), **(extra or {})},
        count=on_bytes or (lambda _num: None),
        only_if_absent=only_if_absent,
        state=state_of(path),
    )
    if sending.size_bytes < limits().multipart_bytes:
        return _put_whole(sending)
    return put_parts(sending, journal=journal or default_journal())


def _put_whole(sending: Sending) -> ObjectInfo:
    if sending.size_bytes <= limits().chunk_bytes:
        data = sending.path.read_bytes()
        if len(data) != sending.size_bytes:
            raise sending.changed()
        info = _send(sending, data)
    else:
        with FileSlice(sending.path, 0, sending.size_bytes) as file, sending.watching():
            info = _send(sending, file)
    sending.count(sending.size_bytes)
    sending.check_unchanged()
    return info


def _digested(sending: Sending, data: bytes | FileSlice) -> tuple[Wanted, bytes]:
    """Return the object as it is to be, and the MD5 of its bytes, which the store compares with what arrives."""
    sha256, md5 = hashlib.sha256(), new_md5()
    for chunk in [data] if isinstance(data, bytes) else data.chunks():
        sha256.update(chunk)
        md5.update(chunk)
    sending.check_unchanged()  # before it is sent: half old and half new bytes have a digest, too
    wanted = Wanted(uri=sending.uri, sha256=sha256.hexdigest(), etag=md5.hexdigest(), size_bytes=sending.size_bytes)
    return wanted, md5.digest()


def _send(sending: Sending, data: bytes | FileSlice) -> ObjectInfo:
    tries, (wanted, md5) = Tries(), _digested(sending, data)
    arguments = sending.arguments(wanted.sha256)
    while True:
        try:
            stored = refusing(
                sending,
                lambda absent: backend().put(sending.uri, data, md5=md5, arguments=arguments, only_if_absent=absent),
            )
            wanted.compare(stored)
            return wanted.info(stored.info.etag)
        except DigestMismatchError as err:
            failure: S3Error = err
        except ConflictError as err:
            tries.again(err)
            continue
        except ObjectExistsError as err:
            ours = wanted.found() if err.num_retries else None  # an earlier try of this very request has made it
            if ours is None:
                raise
            return ours
        except (StoreUnreachableError, StoreTimeoutError):
            ours = wanted.found_or_removed()  # the answer alone may have been lost
            if ours is None:
                raise
            return ours
        if not wanted.remove_damaged() and sending.only_if_absent:
            raise failure  # it would stand in its own way, and be taken for somebody else's
        sending.check_unchanged()  # which would be why
        tries.again(failure)


def _content_type(key: str) -> str:
    guessed, encoding = mimetypes.guess_type(key, strict=False)
    return guessed if guessed and not encoding else "application/octet-stream"
