# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Targets that are folders: there once their flag is, written as a whole, replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NoReturn

from luigi.target import FileSystemTarget

from csci_utils.folder import atomic_folder, remove_folder, written
from csci_utils.io import is_scratch
from csci_utils.luigi.filesystem import AtomicFileSystem, ExactKeyS3Client, local_scratch
from csci_utils.manifest import FLAG, FolderDamagedError, Manifest, files_below, read_flag
from csci_utils.remote_folder import fetch_folder, read_remote_flag, remove_remote_folder, send_folder
from csci_utils.s3 import S3Uri, head, list_objects


class _Folder(FileSystemTarget):
    """What both kinds share.

    Args:
        path: of the folder, with or without a slash at the end.
        glob: what its content is called, as ``*.parquet``; at least one file must fit when it is written, and `files`
            gives those that do. Everything by default.
        flag: the name of the file inside that is written last.
    """

    def __init__(self, path: str | os.PathLike[str] | S3Uri, *, glob: str | None = None, flag: str = FLAG) -> None:
        super().__init__(path)
        if not flag or "/" in flag:
            raise ValueError(f"{path}: wanted the name of a file for the flag, found {flag!r}")
        self.glob = glob
        self.flag = flag

    def open(self, mode: str = "r") -> NoReturn:
        """Refuse: a folder is written through `temporary_path`, and read file by file."""
        raise IsADirectoryError(f"{self.path}: a folder; write into its temporary_path(), read each of its files()")

    def _belongs(self, name: PurePath) -> bool:
        """Tell whether a file belongs to a folder whose flag does not say."""
        return name != PurePath(self.flag) and not is_scratch(name) and (self.glob is None or name.match(self.glob))

    def _check_written(self, manifest: Manifest) -> None:
        if not manifest.matching(self.glob):
            raise FileNotFoundError(f"{self.path}: wanted files like {self.glob!r}, found none among those written")


class FolderTarget(_Folder):
    """A local folder that is there when its flag is."""

    fs = AtomicFileSystem()

    def exists(self) -> bool:
        """Tell whether the flag is there, by one look."""
        return os.path.isfile(os.path.join(self.path, self.flag))

    @contextmanager
    def temporary_path(self) -> Iterator[str]:
        """Yield a new, empty folder that becomes the target, with its flag, when the block ends well.

        After any exception an older folder is as it was, and nothing is left.

        Raises:
            FileNotFoundError: nothing was written, or nothing that fits the pattern.
            FileExistsError: there is a folder with something in it and without a flag; it was not made here.
        """
        with atomic_folder(self.path, flag=self.flag, check=self._check_written) as scratch:
            yield str(scratch)

    def files(self) -> dict[str, Path]:
        """Return the files that belong to the folder and fit the pattern: where each lies, by name.

        Raises:
            FileNotFoundError: there is no flag.
        """
        manifest = self.manifest()
        if manifest is None:
            found = sorted(path.relative_to(self.path) for path in files_below(Path(self.path)))
            return {name.as_posix(): Path(self.path, name) for name in found if self._belongs(name)}
        return {entry.name: Path(self.path, entry.name) for entry in manifest.matching(self.glob)}

    def manifest(self) -> Manifest | None:
        """Return what the flag says of the folder's files; None for the flag of another program.

        Raises:
            FileNotFoundError: there is no flag.
        """
        return read_flag(self.path, flag=self.flag)

    def check(self) -> None:
        """Compare every file with what the flag says.

        Raises:
            FolderDamagedError: one is missing, changed or too many, or the flag holds no manifest.
            FileNotFoundError: there is no flag.
        """
        manifest = self.manifest()
        if manifest is None:
            raise _no_manifest(os.path.join(self.path, self.flag))
        manifest.compare(self.path, flag=self.flag)

    def remove(self) -> None:
        """Remove the folder and all that is in it.

        Raises:
            FileNotFoundError: there is none.
            FileExistsError: it has no flag, so it was not made here.
        """
        remove_folder(self.path, flag=self.flag)


class S3FolderTarget(_Folder):
    """A folder in S3 that is there when its flag is.

    What else lies under its prefix is neither taken for its content nor touched.
    """

    def __init__(self, path: str | S3Uri, *, glob: str | None = None, flag: str = FLAG) -> None:
        super().__init__(path, glob=glob, flag=flag)
        uri = S3Uri.parse(self.path)
        self.uri = S3Uri(uri.bucket, uri.key.rstrip("/"))
        if not self.uri.key:
            raise ValueError(f"{path}: wanted a folder in the bucket, found the bucket itself; give a key below it")

    @property
    def fs(self) -> ExactKeyS3Client:
        """Luigi's face to the store."""
        return ExactKeyS3Client()

    @property
    def flag_uri(self) -> S3Uri:
        """The exact key that makes it exist."""
        return self.uri.joined(self.flag)

    def exists(self) -> bool:
        """Tell by one HEAD of its exact key whether the flag is there."""
        return head(self.flag_uri) is not None

    @contextmanager
    def temporary_path(self) -> Iterator[str]:
        """Yield a new, empty local folder whose files are sent, the flag last, when the block ends well.

        After any exception an older folder in S3 is as it was, and nothing is left, here or there.

        Raises:
            FileNotFoundError: nothing was written, or nothing that fits the pattern.
            S3Error: the store refused or failed.
        """
        with local_scratch(self.uri.key) as scratch:
            scratch.mkdir()
            yield str(scratch)
            manifest = written(scratch, target=self.path, flag=self.flag)
            self._check_written(manifest)
            send_folder(scratch, self.uri, manifest=manifest, flag=self.flag)

    def files(self) -> dict[str, S3Uri]:
        """Return the files that belong to the folder and fit the pattern: where each lies, by name.

        Raises:
            ObjectMissingError: there is no flag.
        """
        manifest = self.manifest()
        if manifest is None:
            return self._listed()
        return {entry.name: self.uri.joined(entry.place) for entry in manifest.matching(self.glob)}

    def manifest(self) -> Manifest | None:
        """Return what the flag says of the folder's files; None for the flag of another program.

        Raises:
            ObjectMissingError: there is no flag.
        """
        return read_remote_flag(self.uri, flag=self.flag)

    def fetch(self, target: str | os.PathLike[str]) -> Manifest:
        """Make a local folder (a `FolderTarget` of the same flag) of it, every file compared with the flag.

        Raises:
            ObjectMissingError: there is no flag.
            FolderDamagedError: a file is not what the flag says, or the flag holds no manifest.
        """
        return fetch_folder(self.uri, target, flag=self.flag)

    def check(self) -> None:
        """Compare sizes with what the flag says, by one listing; `fetch` compares digests.

        Raises:
            FolderDamagedError: a file is missing or of another size, or the flag holds no manifest.
            ObjectMissingError: there is no flag.
        """
        manifest = self.manifest()
        if manifest is None:
            raise _no_manifest(self.flag_uri)
        held = {info.uri: info.size_bytes for info in list_objects(S3Uri(self.uri.bucket, f"{self.uri.key}/"))}
        for entry in manifest.entries:
            uri = self.uri.joined(entry.place)
            if held.get(uri) != entry.size_bytes:
                what = f"wanted {entry.size_bytes} bytes, found {held.get(uri, 'none')}"
                raise FolderDamagedError(f"{uri}: {what}; make the folder again")

    def remove(self) -> None:
        """Remove the flag, then what it names."""
        remove_remote_folder(self.uri, flag=self.flag)

    def _listed(self) -> dict[str, S3Uri]:
        root = S3Uri(self.uri.bucket, f"{self.uri.key}/")
        found = {info.uri.key.removeprefix(root.key): info.uri for info in list_objects(root)}
        files = (name for name in found if name and not name.endswith("/"))  # others mark folders
        names = sorted(name for name in files if self._belongs(PurePosixPath(name)))
        return {name: found[name] for name in names}


def _no_manifest(flag: Any) -> FolderDamagedError:
    return FolderDamagedError(
        f"{flag}: wanted a manifest, found the flag of another program; there is nothing to compare"
    )
