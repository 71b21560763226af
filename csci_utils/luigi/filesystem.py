# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Luigi's file systems, with what its own leave open: whole copies, exact keys, digests, errors of one sentence."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

from luigi.contrib.s3 import S3Client
from luigi.local_target import LocalFileSystem
from luigi.target import FileAlreadyExists, MissingParentDirectory

from csci_utils.io import atomic_path, discard, scratch_path, sweep_once, sync_folder
from csci_utils.s3 import S3Uri, client, delete, get, head, list_objects, missing, put, translated


class DestinationExistsError(FileAlreadyExists, RuntimeError):
    """Something is there that was not to be replaced; luigi raises one of these kinds here, and the other there."""


class AtomicFileSystem(LocalFileSystem):
    """Luigi's local file system, in which a copy appears whole or not at all."""

    def copy(self, old_path: str, new_path: str, raise_if_exists: bool = False) -> None:
        """Copy a file; what is there is replaced.

        Raises:
            DestinationExistsError: there is something, and ``raise_if_exists``.
            FileNotFoundError: there is nothing to copy.
        """
        self._refuse_replacing(new_path, raise_if_exists)
        if not os.path.exists(old_path):  # before a folder is made for it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old_path)
        with atomic_path(new_path) as scratch:
            shutil.copy(old_path, scratch)

    def move(self, old_path: str, new_path: str, raise_if_exists: bool = False) -> None:
        """Move a file or folder; between file systems a file is copied whole, then removed.

        Raises:
            DestinationExistsError: there is something, and ``raise_if_exists``.
            FileNotFoundError: there is nothing to move.
        """
        self._refuse_replacing(new_path, raise_if_exists)
        if not os.path.lexists(old_path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old_path)
        parent = Path(new_path).parent
        parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(old_path, new_path)
        except OSError as err:
            if err.errno != errno.EXDEV or os.path.isdir(old_path):
                raise
            self.copy(old_path, new_path)
            os.remove(old_path)
        sync_folder(parent)

    def mkdir(self, path: str, parents: bool = True, raise_if_exists: bool = False) -> None:
        """Make a folder; luigi's own takes one in the folder it runs in for one without a parent."""
        super().mkdir(os.path.abspath(path), parents=parents, raise_if_exists=raise_if_exists)

    def _refuse_replacing(self, path: str, raise_if_exists: bool) -> None:
        if raise_if_exists and os.path.lexists(path):
            raise DestinationExistsError(f"{path}: wanted a name that is free, found something; remove it first")


class ExactKeyS3Client(S3Client):
    """luigi's S3 client on this process's one client: exact keys, verified transfers, no ``[s3]`` section.

    It holds nothing, so tasks that hold it can be pickled and forked.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    @property  # type: ignore[misc]  # luigi's can be set; ours is the process's own
    def s3(self) -> Any:
        """A boto3 resource, for what luigi does itself."""
        import boto3
        from boto3.s3 import inject

        with translated("S3", "set it up"):
            resource = boto3.session.Session().resource("s3")
        resource.meta.client = ours = client()
        for name in ("upload_file", "download_file", "upload_fileobj", "download_fileobj", "copy"):
            if not hasattr(ours, name):  # botocore made it, and what boto3 adds is what its resources call
                setattr(ours, name, MethodType(getattr(inject, name), ours))
        return resource

    def exists(self, path: str) -> bool:
        """Tell by one HEAD whether there is an object of exactly this key."""
        return head(S3Uri.parse(path)) is not None

    def get_key(self, path: str) -> Any:
        """Return boto3's summary of the object, None when there is none."""
        uri = S3Uri.parse(path)
        return self.s3.ObjectSummary(uri.bucket, uri.key) if head(uri) is not None else None

    def get(self, s3_path: str, destination_local_path: str) -> None:
        """Fetch an object, checked."""
        get(S3Uri.parse(s3_path), destination_local_path)

    def get_as_bytes(self, s3_path: str) -> bytes:
        """Return an object's bytes, checked."""
        with local_scratch(s3_path) as scratch:
            get(S3Uri.parse(s3_path), scratch)
            return scratch.read_bytes()

    def put(self, local_path: str, destination_s3_path: str, **kwargs: Any) -> None:
        """Send a file, with its digest."""
        put(local_path, S3Uri.parse(destination_s3_path), extra=kwargs)

    def put_string(self, content: str | bytes, destination_s3_path: str, **kwargs: Any) -> None:
        """Send a text, with its digest."""
        with local_scratch(destination_s3_path) as scratch:
            scratch.write_bytes(content.encode() if isinstance(content, str) else content)
            put(scratch, S3Uri.parse(destination_s3_path), extra=kwargs)

    def put_multipart(self, local_path: str, destination_s3_path: str, part_size: int = 0, **kwargs: Any) -> None:
        """Send a file, in parts where it is big."""
        self.put(local_path, destination_s3_path, **kwargs)

    def copy(  # type: ignore[override]  # luigi's takes what is for copies of folders
        self, source_path: str, destination_path: str, raise_if_exists: bool = False, **kwargs: Any
    ) -> tuple[int, int]:
        """Copy the object of exactly this key inside the store, its digest and its type too.

        Returns:
            One, and its size in bytes: luigi's answer.

        Raises:
            ObjectMissingError: there is nothing to copy.
            DestinationExistsError: there is something, and ``raise_if_exists``.
        """
        source, destination = S3Uri.parse(source_path), S3Uri.parse(destination_path)
        info = head(source)
        if info is None:
            raise missing(source)
        if raise_if_exists and head(destination) is not None:
            raise DestinationExistsError(f"{destination}: wanted a key that is free, found an object; remove it first")
        if source != destination:
            from boto3.s3.inject import copy as copy_in_s3  # in parts where it is big; nothing else here needs boto3

            with translated(source, f"copy it to {destination}"):
                same = {"CopySourceIfMatch": f'"{info.etag.strip(chr(34))}"'}
                where = {"Bucket": source.bucket, "Key": source.key}
                copy_in_s3(client(), where, destination.bucket, destination.key, ExtraArgs=same | kwargs)
        return 1, info.size_bytes

    def move(  # type: ignore[override]  # luigi's own S3 client names them so
        self, source_path: str, destination_path: str, raise_if_exists: bool = False, **kwargs: Any
    ) -> None:
        """Copy, then remove; S3 cannot rename.

        Raises:
            ObjectMissingError, DestinationExistsError: as `copy`.
        """
        self.copy(source_path, destination_path, raise_if_exists=raise_if_exists, **kwargs)
        if S3Uri.parse(source_path) != S3Uri.parse(destination_path):
            delete(S3Uri.parse(source_path))

    def rename_dont_move(self, path: str, dest: str) -> None:
        """Move to a key that is free (S3 has no folders to move into)."""
        self.move(path, dest, raise_if_exists=True)

    def remove(self, path: str, recursive: bool = True, skip_trash: bool = True) -> bool:
        """Remove the object of exactly this key (luigi's removes all that lies under it); False when there is none."""
        uri = S3Uri.parse(path)
        if head(uri) is None:
            return False
        delete(uri)
        return True

    def isdir(self, path: str) -> bool:
        """Tell by one listing whether anything lies under this key."""
        return next(list_objects(_as_folder(path)), None) is not None

    is_dir = isdir

    def listdir(
        self, path: str, start_time: Any = None, end_time: Any = None, return_key: bool = False
    ) -> Iterator[Any]:
        """Give the addresses of all that lies under this key, or as luigi does where it is asked for more."""
        if start_time or end_time or return_key:
            yield from super().listdir(path, start_time=start_time, end_time=end_time, return_key=return_key)
        else:
            yield from (str(info.uri) for info in list_objects(_as_folder(path)))

    def mkdir(self, path: str, parents: bool = True, raise_if_exists: bool = False) -> None:
        """Make nothing: S3 has no folders, and luigi's marker objects would be taken for pictures.

        Raises:
            DestinationExistsError: something lies there already, and ``raise_if_exists``.
            MissingParentDirectory: nothing lies in the folder above, and not ``parents``.
        """
        if raise_if_exists and self.isdir(path):
            raise DestinationExistsError(f"{path}: wanted a folder that is not there yet, found one")
        above = os.path.dirname(path.rstrip("/"))
        if not parents and not self.isdir(above):
            raise MissingParentDirectory(f"{path}: wanted a folder in {above}, found nothing there")


@contextmanager
def local_scratch(path: str) -> Iterator[Path]:
    """Yield a local path for the bytes of an object, and remove it at the end."""
    scratch = scratch_path(Path(tempfile.gettempdir(), Path(path).name))
    sweep_once(scratch.parent)
    try:
        yield scratch
    finally:
        discard(scratch)


def _as_folder(path: str) -> S3Uri:
    uri = S3Uri.parse(path)
    return S3Uri(uri.bucket, f"{uri.key.rstrip('/')}/" if uri.key else "")
