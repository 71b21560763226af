"""What a folder in S3 is, as a whole: by its flag, or, where somebody filled it by other means, by a listing.

Either costs a request or a few, never one a file.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from csci_utils.manifest import FLAG, FolderDamagedError, Manifest, stays_inside
from csci_utils.s3 import (
    AccessRefusedError,
    BucketMissingError,
    ObjectInfo,
    ObjectMissingError,
    S3Error,
    S3Uri,
    get_text,
    head,
    list_objects,
    missing,
)

logger = logging.getLogger("csci_utils.folder_look")

BY_FLAG = "flag"
BY_LISTING = "listing"

Belongs = Callable[[str], bool]
"""Tells by its name whether a file counts."""


@dataclass(frozen=True, kw_only=True)
class FolderInfo:
    """What a folder in S3 is, as a whole.

    Attributes:
        uri: where it lies.
        digest: 64 hexadecimal digits over names, sizes and digests of its files; by a listing, ETags for digests.
        known_by: "flag" or "listing".
        num_files: how many belong to it.
        size_bytes: of all of them.
        flag_etag: the version of the flag; empty without one.
    """

    uri: str
    digest: str
    known_by: str
    num_files: int
    size_bytes: int
    flag_etag: str = ""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a folder in S3; its bytes are told from others by ``sha256`` or ``etag``, of which one is given."""

    name: str
    uri: S3Uri
    size_bytes: int
    sha256: str | None = None
    etag: str | None = None


@dataclass(frozen=True)
class FolderLook:
    """A folder in S3, and its files, sorted by name."""

    info: FolderInfo
    files: list[RemoteFile]


def look_at_flag(root: S3Uri, known: FolderInfo | None, *, flag: str = FLAG) -> tuple[ObjectInfo | None, bool]:
    """Look by one HEAD at a folder's flag, and tell whether it is the one by which the folder was known before."""
    held = head(root.joined(flag))
    is_same = held is not None and known is not None and (known.uri, known.flag_etag) == (str(root), held.etag)
    return held, is_same


def look_at_folder(root: S3Uri, held: ObjectInfo | None, *, belongs: Belongs) -> FolderLook:
    """Tell what a folder in S3 is now.

    Args:
        root: the folder.
        held: its flag, as `look_at_flag` found it.
        belongs: which names count where the flag does not say.

    Raises:
        ObjectMissingError: there is neither a flag nor a file.
        BucketMissingError: there is no such bucket.
        FolderDamagedError: the flag cannot be read.
        S3Error: the store refused or failed.
    """
    manifest = _manifest(held) if held is not None and held.size_bytes else None
    if manifest is not None and held is not None:
        files = [
            RemoteFile(name=each.name, uri=root.joined(each.place), size_bytes=each.size_bytes, sha256=each.sha256)
            for each in manifest.entries
        ]
        return _look(root, files, known_by=BY_FLAG, flag_etag=held.etag)
    files = sorted(_listed(root, belongs), key=lambda file: file.name)
    if not files:
        raise _no_folder(root)
    logger.info("%s: has no manifest; its %d files are those that a listing shows", root, len(files))
    return _look(root, files, known_by=BY_LISTING)


def is_there(root: S3Uri, *, belongs: Belongs, flag: str = FLAG) -> bool:
    """Tell whether there is such a folder: by one HEAD of its flag, else by the first file that a listing shows."""
    return head(root.joined(flag)) is not None or any(True for _ in _listed(root, belongs))


def _manifest(held: ObjectInfo) -> Manifest | None:
    """Read a flag; None for one that says nothing, as those of other programs."""
    text = get_text(held.uri)
    manifest = Manifest.from_text(text)
    if manifest is None and text.strip():
        raise FolderDamagedError(f"{held.uri}: wanted a manifest, found something else; put the folder there again")
    return manifest


def _listed(root: S3Uri, belongs: Belongs) -> Iterator[RemoteFile]:
    prefix = f"{root.key}/"
    for info in list_objects(S3Uri(root.bucket, prefix)):
        name = info.uri.key.removeprefix(prefix)
        if not belongs(name):
            continue
        if not stays_inside(name):
            logger.warning("%s: left out: its name would lie outside of a copy of the folder", info.uri)
            continue
        yield RemoteFile(name=name, uri=info.uri, size_bytes=info.size_bytes, etag=info.etag)


def _look(root: S3Uri, files: list[RemoteFile], *, known_by: str, flag_etag: str = "") -> FolderLook:
    digest = hashlib.sha256(f"{known_by}\n".encode())
    for file in files:
        digest.update(f"{file.size_bytes} {file.sha256 or file.etag} {file.name}\n".encode("utf-8", "surrogatepass"))
    info = FolderInfo(
        uri=str(root),
        digest=digest.hexdigest(),
        known_by=known_by,
        num_files=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        flag_etag=flag_etag,
    )
    return FolderLook(info, files)


def _no_folder(root: S3Uri) -> S3Error:
    with suppress(AccessRefusedError):  # a store that will not say is taken at its word about the folder
        error = missing(S3Uri(root.bucket, f"{root.key}/"))
        if isinstance(error, BucketMissingError):
            return error
    return ObjectMissingError(f"{root}: there is no such folder: nothing lies below it; put it there")
