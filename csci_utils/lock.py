"""One process at a time at one file, where the file system can tell."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger("csci_utils.lock")

_LONGEST_NAME_BYTES = 200

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    fcntl = importlib.import_module("fcntl")


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Keep other processes and threads that lock the same path out of the block; yield whether one was there before.

    The lock lies beside ``path`` as ``.<name>.lock`` and goes with its last holder. The kernel gives it back when a
    process dies; what is left of it then is taken over and removed by the next. Where files cannot be locked, or none
    can be made, the block runs unlocked: it has to be correct without, and only does more work than needed.
    """
    path = Path(path)
    lock, handle, waited = lock_path(path), None, False
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, waited = _take(path)
    try:
        yield waited
    finally:
        if handle is not None:
            _give_back(lock, handle)


def sweep_locks(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the locks below a folder that nobody holds: what a process left that was killed; return their paths."""
    removed = []
    for lock in Path(folder).rglob(".*.lock") if fcntl is not None else ():
        with suppress(OSError):
            handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # held
                os.close(handle)
                continue
            _give_back(lock, handle)
            removed.append(lock)
    return removed


def lock_path(path: str | os.PathLike[str]) -> Path:
    """Name the lock of a file; a name too long for that is told by its hash."""
    path = Path(path)
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.lock")


def _take(path: Path) -> tuple[int | None, bool]:
    """Return the path's lock, open and locked, and whether another holder was there first."""
    if fcntl is None:
        return None, False
    lock, waited = lock_path(path), False
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            waited |= _wait(path, handle)
            if _is_at(lock, handle):
                return handle, waited
        except BaseException as err:
            if isinstance(err, OSError):  # no locks here: nobody waits for the file
                _give_back(lock, handle)
            else:
                os.close(handle)
            raise
        os.close(handle)  # its last holder removed it while this one waited
        waited = True


def _wait(path: Path, handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("%s: waiting for another process that makes the same file", path)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    return False


def _is_at(lock: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(lock), os.fstat(handle))
    except FileNotFoundError:
        return False


def _give_back(lock: Path, handle: int) -> None:
    try:
        with suppress(OSError):
            if _is_at(lock, handle):
                lock.unlink()  # while it is held: who waits for it sees that it is gone, and makes a new one
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process forked meanwhile would hold it on
    finally:
        os.close(handle)
