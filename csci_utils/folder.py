"""Folders that appear whole or not at all, each with a flag inside that says what belongs to it."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from csci_utils.io import discard, scratch_path, sweep_once, sync, sync_folder
from csci_utils.manifest import FLAG, Manifest, files_below

_PLACING_TRIES = 20
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def atomic_folder(
    target: str | os.PathLike[str], *, flag: str = FLAG, check: Callable[[Manifest], None] | None = None
) -> Iterator[Path]:
    """Yield a scratch folder beside ``target`` that becomes ``target``, with its flag, when the block ends well.

    An older folder is replaced as a whole. After any exception, Ctrl-C included, it is as it was and nothing is left.

    Args:
        target: the final path; the scratch folder has its suffix.
        flag: the name of the file that is written last.
        check: called with the finished manifest before anything is moved; what it raises stops the move.

    Raises:
        NotADirectoryError: ``target`` is something else than a folder.
        FileExistsError: it is a folder with something in it and without a flag, so it was not made here.
        FileNotFoundError: the block wrote nothing.
    """
    target = Path(os.path.realpath(target))
    _refuse_foreign(target, flag)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(target.parent)
    scratch = scratch_path(target)
    try:
        scratch.mkdir()
        yield scratch
        manifest = written(scratch, target=target, flag=flag)
        if check is not None:
            check(manifest)
        Path(scratch, flag).write_text(manifest.to_text(), encoding="utf-8")
        _sync_all(scratch)
        _refuse_foreign(target, flag)
        _place(scratch, target)
    except BaseException:
        discard(scratch)
        raise
    discard(scratch)  # what was there before


def written(scratch: Path, *, target: object, flag: str = FLAG) -> Manifest:
    """Describe what was written to a scratch folder, but for a flag.

    Raises:
        FileNotFoundError: nothing was.
        FolderDamagedError: something in it is neither a folder nor a finished file.
    """
    manifest = Manifest.of(scratch, flag=flag)
    if not manifest.entries:
        raise FileNotFoundError(f"{target}: nothing was written to its scratch folder {scratch.name}")
    return manifest


def remove_folder(target: str | os.PathLike[str], *, flag: str = FLAG) -> None:
    """Remove a folder so that it is whole until it is gone.

    Raises:
        FileNotFoundError: there is none.
        FileExistsError: it has something in it and no flag, so it was not made here.
    """
    target = Path(os.path.realpath(target))
    _refuse_foreign(target, flag)
    aside = scratch_path(target)
    os.rename(target, aside)
    discard(aside)


def _refuse_foreign(target: Path, flag: str) -> None:
    """What has no flag is none of ours, which appear with it: a wrong path must not cost somebody's pictures."""
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target}: wanted to write a folder, found a file of that name; remove or rename it")
    if target.is_dir() and not Path(target, flag).is_file() and any(target.iterdir()):
        what = f"there is a folder without the flag {flag}, so it was not made here"
        raise FileExistsError(f"{target}: {what}; remove it, or choose another path")


def _sync_all(folder: Path) -> None:
    for path in files_below(folder):
        sync(path)
    for parent, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(parent))


def _place(scratch: Path, target: Path) -> None:
    """Make the scratch folder the target; what was there before is the scratch folder then."""
    if not any(_placed(scratch, target) for _ in range(_PLACING_TRIES)):
        raise FileExistsError(f"{target}: other processes replace this folder again and again; let one of them do it")
    sync_folder(target.parent)


def _placed(scratch: Path, target: Path) -> bool:
    """Try to place it; False where another process moved its own there at the same time."""
    try:
        os.rename(scratch, target)
        return True
    except OSError as err:
        if err.errno not in _TAKEN:
            raise
    try:
        if not _exchange(scratch, target):
            _swap(scratch, target)
        return True
    except OSError as err:
        if err.errno not in (*_TAKEN, errno.ENOENT):
            raise
    return False


def _exchange(one: Path, other: Path) -> bool:
    """Give each of two paths the other's name, in one step; False where the system cannot (other than Linux)."""
    rename: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _swap(scratch: Path, target: Path) -> None:
    """Do the same in three steps, with a moment in which there is no target; never one with half of it."""
    aside = scratch_path(target)
    try:
        os.rename(target, aside)
        os.rename(scratch, target)
        os.rename(aside, scratch)
    except BaseException:
        if not target.exists():
            with suppress(FileNotFoundError):
                os.rename(aside, target)
        discard(aside)
        raise
