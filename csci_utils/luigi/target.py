# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Targets that keep their suffix while they are written, and S3 targets that mean the exact key.

Names and behaviour of the first three classes are the course's (pset 4, "A new atomic write").
"""

from __future__ import annotations

import functools
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from luigi.contrib.s3 import AtomicS3File, S3Client, S3Target
from luigi.format import FileWrapper, Format, Nop
from luigi.local_target import LocalTarget, atomic_file
from luigi.target import AtomicLocalFile

from csci_utils.io import discard, publish, scratch_path
from csci_utils.s3 import S3Uri, client, get, head, put, translated


class _TidyFile(AtomicLocalFile):
    """A scratch file that goes at once when its block fails; luigi's own waits for the garbage collector."""

    def close(self) -> None:
        """Publish what was written; whatever fails on the way leaves nothing behind."""
        if self.closed:
            return
        try:
            io.BufferedWriter.close(self)
            self.move_to_final_destination()
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Close without publishing, and remove the scratch file."""
        with suppress(OSError, ValueError):  # a full disk, a file that was never opened
            io.BufferedWriter.close(self)
        discard(Path(self.tmp_path))

    def __exit__(self, exc_type: Any, exc: Any, traceback: Any) -> None:
        if exc_type:
            self.drop()
        else:
            self.close()

    def __del__(self) -> None:
        self.drop()


class suffix_preserving_atomic_file(_TidyFile, atomic_file):  # noqa: N801  # the course's name
    """luigi's `atomic_file`, whose scratch file has the suffix of the file it becomes."""

    def generate_tmp_path(self, path: str) -> str:
        """Name the scratch file."""
        return str(scratch_path(path))

    def move_to_final_destination(self) -> None:
        """Sync, then replace."""
        publish(Path(self.tmp_path), Path(self.path))


@functools.cache
def _tidied(provider: type[AtomicLocalFile]) -> Any:
    """Return a provider that cleans up after itself; luigi's own `atomic_file` does not."""
    return provider if issubclass(provider, _TidyFile) else type(provider.__name__, (_TidyFile, provider), {})


class BaseAtomicProviderLocalTarget(LocalTarget):
    """A local target whose way of writing atomically can be chosen: `atomic_provider`, in a subclass."""

    atomic_provider: type[AtomicLocalFile] = atomic_file

    def exists(self) -> bool:
        """Tell whether the file is there; a bracket in a picture's name is no wildcard."""
        return os.path.exists(self.path)

    def open(self, mode: str = "r") -> Any:
        """Open for reading as `LocalTarget` does, for writing through `atomic_provider`."""
        if mode.replace("b", "").replace("t", "") != "w":
            return super().open(mode)
        self._refuse_folder()
        self.makedirs()
        return self.format.pipe_writer(_tidied(self.atomic_provider)(self.path))

    @contextmanager
    def temporary_path(self) -> Iterator[str]:
        """Yield a path that becomes the target when the block ends well.

        After any exception an older file is as it was and the scratch file is gone.

        Raises:
            FileNotFoundError: the block wrote nothing.
            IsADirectoryError: the target is a folder.
        """
        self._refuse_folder()
        self.makedirs()
        writer = _tidied(self.atomic_provider)(self.path)
        scratch = Path(writer.tmp_path)
        try:
            scratch.unlink()  # luigi makes an empty file, which would pass for a result when nothing is written
            yield str(scratch)
            if not scratch.exists():
                raise FileNotFoundError(f"{self.path}: nothing was written to its temporary path {scratch.name}")
            writer.close()
        except BaseException:
            writer.drop()
            raise

    def _refuse_folder(self) -> None:
        if os.path.isdir(self.path):
            raise IsADirectoryError(f"{self.path}: wanted to write a file, found a folder of that name")


class SuffixPreservingLocalTarget(BaseAtomicProviderLocalTarget):
    """A local target for tools that read the format from the suffix."""

    atomic_provider = suffix_preserving_atomic_file


class ExactKeyS3Client(S3Client):
    """luigi's S3 client on this process's one client: exact keys, verified transfers, no ``[s3]`` section.

    It holds nothing, so tasks that hold it can be pickled and forked.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    @property  # type: ignore[misc]  # luigi's can be set; ours is the process's own
    def s3(self) -> Any:
        """A boto3 resource, for what luigi does itself (listings, copies)."""
        import boto3

        with translated("S3", "set it up"):
            resource = boto3.session.Session().resource("s3")
        resource.meta.client = client()
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

    def put(self, local_path: str, destination_s3_path: str, **kwargs: Any) -> None:
        """Send a file, with its digest."""
        put(local_path, S3Uri.parse(destination_s3_path), extra=kwargs)

    def put_multipart(self, local_path: str, destination_s3_path: str, part_size: int = 0, **kwargs: Any) -> None:
        """Send a file, in parts where it is big."""
        self.put(local_path, destination_s3_path, **kwargs)

    def remove(self, path: str, recursive: bool = True, skip_trash: bool = True) -> bool:
        """Remove the object of exactly this key (luigi's removes all that lies under it); False when there is none."""
        uri = S3Uri.parse(path)
        if head(uri) is None:
            return False
        with translated(uri, "remove it"):
            client().delete_object(Bucket=uri.bucket, Key=uri.key)
        return True

    def mkdir(self, path: str, parents: bool = True, raise_if_exists: bool = False) -> None:
        """Do nothing: S3 has no folders, and luigi's marker objects would be taken for pictures."""


class _S3File(_TidyFile, AtomicS3File):
    """A local scratch file that is sent to S3 when its block ends well."""

    def generate_tmp_path(self, path: str) -> str:
        """Name the scratch file, in the system's folder for such."""
        return str(_local_scratch(path))

    def move_to_final_destination(self) -> None:
        """Send, then remove the scratch file."""
        super().move_to_final_destination()
        discard(Path(self.tmp_path))


class ExactKeyS3Target(S3Target):
    """An S3 target that is there when its exact key is, and whose bytes are checked both ways."""

    def __init__(self, path: str | S3Uri, format: Format = Nop, **kwargs: Any) -> None:
        super().__init__(str(path), format=format, client=ExactKeyS3Client(), **kwargs)

    @property
    def uri(self) -> S3Uri:
        """Where it lies."""
        return S3Uri.parse(self.path)

    def exists(self) -> bool:
        """Tell by one HEAD whether there is an object of exactly this key."""
        return head(self.uri) is not None

    def open(self, mode: str = "r") -> Any:
        """Open a checked copy for reading, or a scratch file that is sent when it is closed without an exception.

        Raises:
            ObjectMissingError: there is no such object to read.
        """
        if mode not in ("r", "w"):
            raise ValueError(f"{self.path}: wanted mode 'r' or 'w', found {mode!r}")
        if mode == "w":
            return self.format.pipe_writer(_S3File(self.path, self.fs, **self.s3_options))
        scratch = _local_scratch(self.path)
        try:
            get(self.uri, scratch)
            file = io.BufferedReader(io.FileIO(scratch, "r"))
        finally:
            discard(scratch)  # the open file stays readable
        return self.format.pipe_reader(FileWrapper(file))

    @contextmanager
    def temporary_path(self) -> Iterator[str]:
        """Yield a local path (luigi's is one in S3 that no tool can write); what is there at the end is sent."""
        scratch = _local_scratch(self.path)
        try:
            yield str(scratch)
            if not scratch.is_file():
                raise FileNotFoundError(f"{self.path}: nothing was written to its temporary path {scratch.name}")
            put(scratch, self.uri, extra=self.s3_options)
        finally:
            discard(scratch)


def _local_scratch(path: str) -> Path:
    return scratch_path(Path(tempfile.gettempdir(), Path(path).name))
