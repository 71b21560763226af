"""Folders that a run makes for what it will write: tried before it begins, and not left behind empty when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from csci_utils.io import discard, scratch_path

from .errors import OutputError, output_error


class NewFolders:
    """Makes folders; when its block ends by an exception, those that were not there before go, if they are empty.

    Only then: of several processes that train together one may be done while another is about to write.
    """

    def __init__(self) -> None:
        self._made: list[Path] = []

    def __enter__(self) -> NewFolders:
        """Begin; there is nothing to do yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what is new and empty, the deepest first."""
        for folder in sorted(self._made, key=lambda path: -len(path.parts)) if kind is not None else ():
            with suppress(OSError):
                folder.rmdir()

    def make(self, folder: Path, *, what: str) -> None:
        """Make a folder where it is missing.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self._make(folder)
        except OSError as err:
            raise OutputError(
                f"{folder}: wanted a folder for {what}, and cannot make one: {err.strerror}; name another"
            ) from err

    def try_file(self, path: Path) -> None:
        """Try whether a file can be written there, since after hours of training it would be late to find out.

        Raises:
            OutputError: it cannot.
        """
        if path.is_dir():
            raise OutputError(f"{path}: wanted to write a file, found a folder of that name; remove or rename it")
        scratch = scratch_path(path)
        try:
            self._make(path.parent)
            scratch.touch()
        except OSError as err:
            raise output_error(path, err) from err
        finally:
            discard(scratch)

    def _make(self, folder: Path) -> None:
        self._made += [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def room_for(path: Path) -> Iterator[Path]:
    """Have the folder of a file that the block will write, tried; a new one goes again if the block fails.

    Raises:
        OutputError: no file can be written there.
    """
    with NewFolders() as folders:
        folders.try_file(path)
        yield path.parent
