"""The pictures that results were made from: as they lie here, else as S3 holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csci_utils.copies import recorded
from csci_utils.io import sha256_of
from csci_utils.luigi.listing import look_many
from csci_utils.s3 import ObjectInfo, S3Uri
from pipeline import settings
from pipeline.errors import BadNameError
from pipeline.folders import IMAGES
from pipeline.gallery.entries import Entry, PictureFile
from pipeline.names import check_name
from pipeline.results import Source, sources_in


@dataclass(frozen=True, kw_only=True)
class Originals:
    """The pictures that results were made from; those that are to be had nowhere are left out.

    Attributes:
        now: As they are, by name: as S3 has them where that is known to differ from what lies here.
        former: Those here that S3 has replaced, and that a result was made from.
    """

    now: Mapping[str, PictureFile]
    former: Sequence[PictureFile]


def originals_of(entries: Sequence[Entry]) -> Originals:
    """The pictures that results were made from.

    S3 is asked only about those that lie here and of which a result was made that was not made from what lies here.

    Raises:
        OSError: a picture that lies here cannot be read.
        S3Error: the store refused or did not answer.
    """
    here = {name: file for name in {entry.image for entry in entries} if (file := _local(name)) is not None}
    there = [entry for entry in entries if entry.image not in here and _is_nameable(entry.image)]
    now = {entry.image: file for entry in reversed(there) if (file := _remote(entry)) is not None}
    newer = _newer(entries, here)
    wanted = {image_sha256(entry) for entry in entries}
    return Originals(now={**here, **now, **newer}, former=[here[name] for name in newer if here[name].sha256 in wanted])


def image_sha256(entry: Entry) -> str | None:
    """The digest of the picture that a result was made from, where its record says so."""
    source = _source_of(entry)
    return None if source is None else source.sha256


def _newer(entries: Iterable[Entry], here: Mapping[str, PictureFile]) -> dict[str, PictureFile]:
    """Of pictures that lie here those that S3 holds another of, by name: the one that it holds."""
    made = [(entry, file) for entry in entries if entry.image in here and (file := _remote(entry)) is not None]
    others = [(entry, file) for entry, file in made if file.sha256 != here[entry.image].sha256]
    held = look_many(file.uri for _, file in others if file.uri is not None)
    newer: dict[str, PictureFile] = {}
    for entry, file in others:
        info, source = held.get(file.uri) if file.uri is not None else None, _source_of(entry)
        assert source is not None
        if info is None or _is_copy_of(info, here[entry.image]):
            continue
        if entry.image not in newer or info.etag == source.etag:  # of any other its own bytes tell the digest
            newer[entry.image] = file
    return newer


def _is_copy_of(info: ObjectInfo, file: PictureFile) -> bool:
    copy = recorded(file.path) if file.path is not None else None
    return copy is not None and (copy.uri, copy.etag, copy.sha256) == (str(info.uri), info.etag, file.sha256)


def _local(name: str) -> PictureFile | None:
    path = settings.current().local_root / IMAGES / name
    if not _is_nameable(name) or not path.is_file():
        return None
    return PictureFile(folder=IMAGES, name=name, sha256=_digest(path), size_bytes=path.stat().st_size, path=path)


def _remote(entry: Entry) -> PictureFile | None:
    """The picture that a result was made from, as it was then, where S3 may be asked for it."""
    source = _source_of(entry)
    if source is None or settings.current().offline or not _is_in_force(source):
        return None
    uri = S3Uri.parse(source.uri)
    return PictureFile(folder=IMAGES, name=entry.image, sha256=source.sha256, size_bytes=source.size_bytes, uri=uri)


def _is_nameable(name: str) -> bool:
    """Whether a picture may be called so; a file without a record may be called anything."""
    try:
        check_name(name, "picture")
    except BadNameError:
        return False
    return True


def _source_of(entry: Entry) -> Source | None:
    return sources_in(entry.record).get("image")


def _is_in_force(source: Source) -> bool:
    """Whether a picture lies below the S3 root that may be asked."""
    return source.uri.startswith(f"{settings.current().s3_root}/")


def _digest(path: Path) -> str:
    """Of a picture here; a copy that is as it was fetched need not be read."""
    copy = recorded(path)
    return copy.sha256 if copy is not None and copy.holds(path) else sha256_of(path)
