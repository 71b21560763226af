"""The pictures that results were made from: as they lie here, else as S3 holds them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from csci_utils.copies import recorded
from csci_utils.io import sha256_of
from csci_utils.s3 import S3Uri
from pipeline import settings
from pipeline.errors import BadNameError
from pipeline.folders import IMAGES
from pipeline.gallery.entries import Entry, PictureFile
from pipeline.names import check_name
from pipeline.results import Source, sources_in


def originals_of(entries: Iterable[Entry]) -> dict[str, PictureFile]:
    """The pictures that results were made from, by name; one that is to be had nowhere is left out.

    Raises:
        OSError: a picture that lies here cannot be read.
    """
    found: dict[str, PictureFile] = {}
    for entry in entries:
        if entry.image not in found and (original := _original_of(entry)) is not None:
            found[entry.image] = original
    return found


def image_sha256(entry: Entry) -> str | None:
    """The digest of the picture that a result was made from, where its record says so."""
    source = _source_of(entry)
    return None if source is None else source.sha256


def _original_of(entry: Entry) -> PictureFile | None:
    try:
        check_name(entry.image, "picture")
    except BadNameError:  # of a file without a record, which may be called anything
        return None
    path = settings.current().local_root / IMAGES / entry.image
    if path.is_file():
        size_bytes = path.stat().st_size
        return PictureFile(folder=IMAGES, name=entry.image, sha256=_digest(path), size_bytes=size_bytes, path=path)
    source = _source_of(entry)
    if source is None or settings.current().offline or not _is_in_force(source):
        return None
    return PictureFile(
        folder=IMAGES,
        name=entry.image,
        sha256=source.sha256,
        size_bytes=source.size_bytes,
        uri=S3Uri.parse(source.uri),
    )


def _source_of(entry: Entry) -> Source | None:
    return sources_in(entry.record).get("image")


def _is_in_force(source: Source) -> bool:
    """Whether a picture lies below the S3 root that may be asked."""
    return source.uri.startswith(f"{settings.current().s3_root}/")


def _digest(path: Path) -> str:
    """Of a picture here; a copy that is as it was fetched need not be read."""
    copy = recorded(path)
    return copy.sha256 if copy is not None and copy.holds(path) else sha256_of(path)
