# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Targets that keep their suffix while they are written, and S3 targets that mean the exact key.

Names and behaviour of the first three classes are the course's (pset 4, "A new atomic write").
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from luigi.contrib.s3 import AtomicS3File, S3Target
from luigi.format import FileWrapper, Format, Nop, OutputPipeProcessWrapper
from luigi.local_target import LocalTarget, atomic_file
from luigi.target import AtomicLocalFile

from csci_utils.io import discard, publish, scratch_path
from csci_utils.luigi.filesystem import AtomicFileSystem, ExactKeyS3Client, local_scratch
from csci_utils.s3 import S3Uri, get, head, put

__all__ = [
    "BaseAtomicProviderLocalTarget",
    "ExactKeyS3Client",
    "ExactKeyS3Target",
    "SuffixPreservingLocalTarget",
    "suffix_preserving_atomic_file",
]


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


def _way(mode: str, path: str) -> str:
    """Return "r" or "w"; whether bytes or text go that way is the format's affair."""
    way = mode.replace("b", "").replace("t", "")
    if way not in ("r", "w"):
        raise ValueError(f"{path}: wanted mode 'r' or 'w', found {mode!r}")
    return way


class _Program(OutputPipeProcessWrapper):
    """A program (gzip) between a block and a file: luigi's ends with the block, and forgets the file behind it."""

    file: _TidyFile

    def close(self) -> None:
        """End the program; whatever fails on the way leaves nothing behind."""
        try:
            super().close()
        except BaseException:
            self.file.drop()
            raise

    def abort(self) -> None:
        """End the program without publishing."""
        try:
            super().abort()
        finally:
            self.file.drop()


def _writer(format: Format, file: _TidyFile) -> Any:
    """Return what a format makes of a file to write to."""
    writer: Any = format.pipe_writer(file)
    link = writer
    while link is not None and link is not file:
        inside = getattr(link, "__dict__", {})
        if type(link) is OutputPipeProcessWrapper:
            link.__class__ = _Program  # the format has made it, and would take no other
            inside["file"] = file
        link = inside.get("_stream")
    return writer


class BaseAtomicProviderLocalTarget(LocalTarget):
    """A local target whose way of writing atomically can be chosen: `atomic_provider`, in a subclass."""

    atomic_provider: type[AtomicLocalFile] = atomic_file
    fs = AtomicFileSystem()

    def exists(self) -> bool:
        """Tell whether the file is there; a bracket in a picture's name is no wildcard."""
        return os.path.exists(self.path)

    def open(self, mode: str = "r") -> Any:
        """Open for reading as `LocalTarget` does, for writing through `atomic_provider`.

        Raises:
            ValueError: the mode is neither.
        """
        if _way(mode, self.path) == "r":
            return super().open("r")
        self._refuse_folder()
        self.makedirs()
        return _writer(self.format, _tidied(self.atomic_provider)(self.path))

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


class _S3File(_TidyFile, AtomicS3File):
    """A local scratch file that is sent to S3 when its block ends well."""

    def generate_tmp_path(self, path: str) -> str:
        """Name the scratch file, in the system's folder for such."""
        with local_scratch(path) as scratch:
            return str(scratch)  # a name so far, that nothing bears

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
            ValueError: the mode is neither.
        """
        if _way(mode, self.path) == "w":
            return _writer(self.format, _S3File(self.path, self.fs, **self.s3_options))
        with local_scratch(self.path) as scratch:
            get(self.uri, scratch)
            file = io.BufferedReader(io.FileIO(scratch, "r"))  # stays readable without its name
        return self.format.pipe_reader(FileWrapper(file))

    @contextmanager
    def temporary_path(self) -> Iterator[str]:
        """Yield a local path (luigi's is one in S3 that no tool can write); what is there at the end is sent."""
        with local_scratch(self.path) as scratch:
            yield str(scratch)
            if not scratch.is_file():
                raise FileNotFoundError(f"{self.path}: nothing was written to its temporary path {scratch.name}")
            put(scratch, self.uri, extra=self.s3_options)
