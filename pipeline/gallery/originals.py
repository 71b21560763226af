"""The pictures that results were made from: as they lie here, else as S3 holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from csci_utils.copies import recorded
from csci_utils.io import sha256_of
from csci_utils.s3 import ObjectInfo, S3Uri
from pipeline import settings
from pipeline.errors import BadNameError
from pipeline.folders import IMAGES
from pipeline.gallery.entries import Entry, PictureFile
from pipeline.gallery.present import address_below, held_at
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


def originals_of(entries: Iterable[Entry]) -> Originals:
    """The pictures that results were made from.

    S3 is asked only about those of which results, and what lies here, know several versions.

    Raises:
        OSError: a picture that lies here cannot be read.
        S3Error: the store refused or did not answer.
    """
    versions = {name: _Versions(name=name, here=_local(name)) for name in map(_nameable, entries) if name is not None}
    for entry in entries:
        if entry.image in versions:
            versions[entry.image].add(_source_of(entry))
    held = held_at(each.uri for each in versions.values() if each.uri is not None and each.are_several())
    now = {name: file for name, each in versions.items() if (file := each.now(held)) is not None}
    former = [each.here for name, each in versions.items() if each.here and each.is_former(now.get(name))]
    return Originals(now=now, former=former)


def image_sha256(entry: Entry) -> str | None:
    """The digest of the picture that a result was made from, where its record says so."""
    source = _source_of(entry)
    return None if source is None else source.sha256


@dataclass(kw_only=True)
class _Versions:
    """What is known of one picture.

    Attributes:
        name: Below ``images/``.
        here: What lies here.
        uri: Where it lies in S3, if S3 may be asked.
        sources: What results were made from there.
        wanted: Digests of what results were made from, there or elsewhere.
    """

    name: str
    here: PictureFile | None
    uri: S3Uri | None = None
    sources: list[Source] = field(default_factory=list)
    wanted: set[str] = field(default_factory=set)

    def add(self, source: Source | None) -> None:
        """Take note of what a result was made from."""
        if source is None:
            return
        self.wanted.add(source.sha256)
        now, uri = settings.current(), address_below(source, IMAGES)
        if uri is not None and str(uri) == f"{now.s3_root}/{IMAGES}/{self.name}" and not now.offline:
            self.uri = uri
            self.sources.append(source)

    def are_several(self) -> bool:
        """Whether there is more than one, so that S3 has to be asked which it holds."""
        digests = {source.sha256 for source in self.sources}
        return len(digests | ({self.here.sha256} if self.here else set())) > 1

    def now(self, held: Mapping[S3Uri, ObjectInfo]) -> PictureFile | None:
        """The one that S3 holds, if it says so; else the one here."""
        if self.uri is None or (self.here and not self.are_several()):
            return self.here
        first, info = self.sources[0], held.get(self.uri)
        if info is None:
            return self.here or self._there(first.sha256, first.size_bytes)
        sha256 = self._digest_of(info)
        return self.here if self.here and self.here.sha256 == sha256 else self._there(sha256, info.size_bytes)

    def is_former(self, now: PictureFile | None) -> bool:
        """Whether what lies here is what a result was made from, and not what there is now."""
        return self.here is not None and now is not self.here and self.here.sha256 in self.wanted

    def _there(self, sha256: str, size_bytes: int) -> PictureFile:
        return PictureFile(folder=IMAGES, name=self.name, sha256=sha256, size_bytes=size_bytes, uri=self.uri)

    def _digest_of(self, info: ObjectInfo) -> str:
        """The digest of a version, if anything knows it; else a text that is no digest and tells it from others."""
        copy = recorded(self.here.path) if self.here and self.here.path else None
        known = {source.etag: source.sha256 for source in self.sources}
        if copy is not None and copy.uri == str(self.uri):
            known[copy.etag] = copy.sha256
        return known.get(info.etag) or info.sha256 or f"version {info.etag}"


def _nameable(entry: Entry) -> str | None:
    """The name of the picture; a file without a record may be called anything, and is no picture's result then."""
    try:
        entry.image.encode()
        return check_name(entry.image, "picture")
    except (BadNameError, UnicodeEncodeError):
        return None


def _local(name: str) -> PictureFile | None:
    path = settings.current().local_root / IMAGES / name
    if not path.is_file():
        return None
    return PictureFile(folder=IMAGES, name=name, sha256=_digest(path), size_bytes=path.stat().st_size, path=path)


def _source_of(entry: Entry) -> Source | None:
    return sources_in(entry.record).get("image")


def _digest(path: Path) -> str:
    """Of a picture here; a copy that is as it was fetched need not be read."""
    copy = recorded(path)
    return copy.sha256 if copy is not None and copy.holds(path) else sha256_of(path)
