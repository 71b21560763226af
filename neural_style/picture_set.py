"""The pictures of a folder, or of tar shards in it, as one sorted list whose items are read when they are wanted."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from .errors import DatasetError, PictureError, one_line

PICTURE_SUFFIXES = frozenset(
    (*(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"),)
    + (*(".jp2", ".ppm", ".pgm", ".tga", ".ico", ".pcx", ".sgi", ".qoi"),)
)
"""What a file's name ends with, in any case, that is taken for a picture; all other files are passed over."""

SHARD_SUFFIX = ".tar"

_MAX_FILE_BYTES = 2**30


class _Place(NamedTuple):
    """Where the bytes of a picture lie: of a file of its own from 0 on, of a shard's member from its own offset on."""

    path: str
    offset: int
    size_bytes: int


class PictureSet:
    """Pictures by number, in an order that depends on their names alone.

    They are the files at any depth below a folder whose names end as pictures' do, and the members of ``*.tar`` files
    there, named ``shard.tar/member.jpg``. What begins with a dot is left out, and so is what lies in such a folder.
    Links are followed. A shard is indexed once and read by seeking; nothing is unpacked, and no file stays open.

    Args:
        folders: one or several; also a shard by itself. Their pictures follow each other.

    Raises:
        DatasetError: one is not there, is no folder, cannot be read, or holds no picture; or a shard is damaged.
    """

    def __init__(self, folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        paths = [folders] if isinstance(folders, str | os.PathLike) else folders
        self.roots = [Path(path) for path in paths]
        if not self.roots:
            raise DatasetError("no folder of pictures was given; name one")
        self._names: list[str] = []
        self._places: list[_Place] = []
        for root in self.roots:
            found = _pictures_of(root)
            if not found:
                raise DatasetError(
                    f"{root}: no pictures in it: wanted files like .jpg or .png at any depth, or in .tar files; "
                    "check the folder"
                )
            for name in sorted(found, key=_sorting_key):
                self._names.append(name)
                self._places.append(found[name])

    def __len__(self) -> int:
        return len(self._names)

    def name(self, number: int) -> str:
        """Return a picture's name: its path below its folder, with slashes."""
        return self._names[number]

    def read(self, number: int) -> bytes:
        """Return the bytes of a picture's file; from any thread.

        Raises:
            PictureError: they are not there any more, may not be read, or are too many for a picture.
            DatasetError: they cannot be read just now, which says nothing about the picture.
        """
        place, name = self._places[number], one_line(self._names[number])
        if place.size_bytes > _MAX_FILE_BYTES:
            raise PictureError(f"{name}: its file has {place.size_bytes} bytes, more than any picture to train on")
        try:
            with open(place.path, "rb", buffering=0) as file:
                return _read_at(file.fileno(), place)
        except (FileNotFoundError, PermissionError) as err:
            raise PictureError(f"{name}: the picture cannot be read: {err.strerror}") from err
        except OSError as err:
            raise DatasetError(f"{place.path}: cannot be read: {err.strerror}; see to it and go on from there") from err

    def digest(self) -> str:
        """Return 64 hexadecimal digits that change with any picture's name or size, or their number."""
        sha256 = hashlib.sha256()
        for name, place in zip(self._names, self._places, strict=True):
            sha256.update(f"{place.size_bytes} {name}\n".encode("utf-8", "surrogateescape"))
        return sha256.hexdigest()


def is_picture_name(name: str) -> bool:
    """Tell by its name whether a file is taken for a picture; nothing in it may begin with a dot."""
    return _has_suffix(name, PICTURE_SUFFIXES)


def is_dataset_file(name: str) -> bool:
    """Tell by its name whether a file is taken for a picture or for a shard of pictures."""
    return _has_suffix(name, PICTURE_SUFFIXES | {SHARD_SUFFIX})


def dataset_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the pictures and shards below a folder, by their names in it.

    Raises:
        OSError: a folder cannot be read.
    """
    return {name: Path(entry.path) for name, entry in _files_below(folder)}


def _has_suffix(name: str, suffixes: Set[str]) -> bool:
    parts = name.split("/")
    return posixpath.splitext(parts[-1])[1].lower() in suffixes and not any(part[:1] == "." for part in parts)


def _sorting_key(name: str) -> tuple[str, ...]:
    """Put what lies in one folder together, as the published script's loader does."""
    *folders, last = name.split("/")
    return (*folders, "", last)


def _pictures_of(root: Path) -> dict[str, _Place]:
    try:
        if root.is_file() and root.suffix.lower() == SHARD_SUFFIX:
            return {f"{root.name}/{name}": place for name, place in _members(root)}
        return dict(_below(root))
    except FileNotFoundError as err:
        raise DatasetError(f"{root}: there is no such folder of pictures; check the name") from err
    except NotADirectoryError as err:
        raise DatasetError(f"{root}: wanted a folder of pictures, found a file; name the folder it lies in") from err
    except OSError as err:
        raise DatasetError(f"{err.filename or root}: cannot be read: {err.strerror}") from err


def _below(root: Path) -> Iterator[tuple[str, _Place]]:
    for name, entry in _files_below(root):
        if is_picture_name(entry.name):
            yield name, _Place(entry.path, 0, entry.stat().st_size)
        else:
            yield from ((f"{name}/{member}", place) for member, place in _members(Path(entry.path)))


def _files_below(root: str | os.PathLike[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Give pictures and shards; a folder that links lead to twice is read once, or a circle had no end."""
    seen: set[tuple[int, int]] = set()
    waiting = [(os.fspath(root), "")]
    while waiting:
        folder, prefix = waiting.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif is_dataset_file(entry.name) and entry.is_file():
                    yield prefix + entry.name, entry


def _members(shard: Path) -> Iterator[tuple[str, _Place]]:
    """Give the pictures in a tar file; of several members of one name the last counts, as when it is unpacked."""
    try:
        with tarfile.open(shard, "r:") as file:
            while (member := file.next()) is not None:
                file.members.clear()  # type: ignore[attr-defined]  # or all of them stayed in memory
                name = posixpath.normpath(member.name).lstrip("/")
                if member.isreg() and not member.issparse() and is_picture_name(name):
                    yield name, _Place(str(shard), member.offset_data, member.size)
            _refuse_early_end(shard, file.offset)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as err:
        raise DatasetError(
            f"{shard}: cannot be read as a tar file, it may be cut short, damaged or compressed: {one_line(str(err))}; "
            "fetch or write it again"
        ) from err


def _refuse_early_end(shard: Path, offset: int) -> None:
    """Tell the end of a tar file, a block of zeros, from damage, at which the library takes it for ended, too."""
    with shard.open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"it does not go on as a tar file after {offset} bytes")


def _read_at(handle: int, place: _Place) -> bytes:
    """Read a picture's bytes, as far as they are there."""
    left, offset, chunks = place.size_bytes, place.offset, []
    while left > 0 and (chunk := os.pread(handle, left, offset)):
        chunks.append(chunk)
        left, offset = left - len(chunk), offset + len(chunk)
    return b"".join(chunks)
