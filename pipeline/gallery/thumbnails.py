"""The folder of small pictures beside a page: named by digest, so that a second run makes only what is new."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csci_utils.io import atomic_path, scratch_folder
from csci_utils.luigi.failure import describe_failure
from csci_utils.s3 import (
    FAULTS_OF_ONE_OBJECT,
    ObjectMissingError,
    each,
    get,
    limits,
)
from pipeline.gallery.entries import PictureFile
from pipeline.gallery.shrinking import LARGE_PX, SMALL_PX, shrink, sides_of

THUMBS = "thumbs"
DIGITS = 24
"""Of a picture's sha256, in the names of its small ones."""

THUMB_NAME = re.compile(rf"([0-9a-f]{{{DIGITS}}})-([0-9]{{1,10}})x([0-9]{{1,10}})\.({SMALL_PX}|{LARGE_PX})\.jpg")


@dataclass(frozen=True, kw_only=True)
class Thumb:
    """The small ones of a picture; their names say its digest and its size in pixels, so the folder needs no index."""

    sha256: str
    width: int
    height: int

    @property
    def names(self) -> dict[int, str]:
        """Of the files, below the folder, by their longest side."""
        stem = f"{self.sha256[:DIGITS]}-{self.width}x{self.height}"
        return {side: f"{stem}.{side}.jpg" for side in sides_of(self.width, self.height)}


class Thumbs:
    """Small pictures in a folder, those of earlier runs among them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = _sizes_in(folder)
        self._at_work = threading.BoundedSemaphore(os.cpu_count() or 1)

    def find(self, sha256: str) -> Thumb | None:
        """The small ones of the picture with this digest, if they are there."""
        size = self._sizes.get(sha256[:DIGITS])
        return None if size is None else Thumb(sha256=sha256, width=size[0], height=size[1])

    def make(self, pictures: Sequence[PictureFile]) -> Iterator[tuple[PictureFile, Thumb | str]]:
        """Make the small ones of pictures, several at a time, and give them, or why there are none, in their order.

        Of a picture in S3 nothing else is kept. One that has changed there has another digest than was asked for.

        Raises:
            S3Error: the store refused or did not answer.
            OSError: the folder cannot be written.
        """
        from neural_style.images import hush_pillow

        hush_pillow()
        num_threads = os.cpu_count() or 1
        if any(picture.path is None for picture in pictures):  # who waits for the store takes no processor
            num_threads += limits().parallel_objects
        yield from zip(pictures, each(pictures, self._try_to_make, num_threads=num_threads), strict=True)

    def remove_all_but(self, used: Iterable[Thumb]) -> None:
        """Remove what no page needs any more; files of others stay."""
        names = {name for thumb in used for name in thumb.names.values()}
        for path in _files_in(self._folder):
            if THUMB_NAME.fullmatch(path.name) and path.name not in names:
                with suppress(OSError):
                    path.unlink()

    def _try_to_make(self, picture: PictureFile) -> Thumb | str:
        if (known := self.find(picture.sha256)) is not None:
            return known
        if picture.path is not None:
            return self._made_of(picture.path, picture.sha256)
        assert picture.uri is not None
        with scratch_folder(self._folder) as scratch:
            path = scratch / "picture"
            try:
                sha256 = get(picture.uri, path).sha256
            except ObjectMissingError:
                return "it is not in S3 any more"
            except FAULTS_OF_ONE_OBJECT as err:
                return describe_failure(err).sentence.removeprefix(f"{picture.uri}: ")
            return self.find(sha256) or self._made_of(path, sha256)

    def _made_of(self, path: Path, sha256: str) -> Thumb | str:
        from neural_style.errors import NeuralStyleError

        try:
            with self._at_work:
                shrunk = shrink(path)
        except (NeuralStyleError, MemoryError) as err:
            return describe_failure(err).sentence.removeprefix(f"{path}: ")
        thumb = Thumb(sha256=sha256, width=shrunk.width, height=shrunk.height)
        for side, name in sorted(thumb.names.items(), reverse=True):
            # Not synced: after a power cut it is empty, and made again.
            with atomic_path(self._folder / name, durable=False) as scratch:
                scratch.write_bytes(shrunk.jpegs[side])
        self._sizes[sha256[:DIGITS]] = (thumb.width, thumb.height)
        return thumb


def _sizes_in(folder: Path) -> dict[str, tuple[int, int]]:
    """The sizes of the pictures all of whose small ones are there, by the beginnings of their digests."""
    found = [THUMB_NAME.fullmatch(path.name) for path in _files_in(folder) if path.stat().st_size]
    sizes = {match[1]: (int(match[2]), int(match[3])) for match in found if match}
    names = {match[0] for match in found if match}
    return {
        digits: size
        for digits, size in sizes.items()
        if names.issuperset(Thumb(sha256=digits, width=size[0], height=size[1]).names.values())
    }


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
