"""Files that appear whole or not at all, and the records that lie beside them.

A file is written under a scratch name in its own folder, synced, and moved into place. The scratch name begins with a
dot, keeps the suffix, and names its owner, so that what a killed process left behind can be told from work under way.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FOREIGN_SCRATCH_AGE_S = 7 * 24 * 3600
"""A scratch file of another host or container is taken for abandoned after this long: its process cannot be seen."""

_NAME_BYTES = 255
_LONGEST_SUFFIX_BYTES = 64
_UNKNOWN_START = "0" * 8
_OWNER = r"(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-(?P<start>[0-9a-f]{8})"
_SCRATCH = re.compile(rf"\..*~scratch-{_OWNER}-[0-9a-f]{{8}}(?:\.[^/]*)?", re.DOTALL)
_CANNOT_SYNC_FOLDER = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF}

_swept: set[tuple[int, str]] = set()


@contextmanager
def atomic_path(
    target: str | os.PathLike[str], *, check: Callable[[Path], None] | None = None, durable: bool = True
) -> Iterator[Path]:
    """Yield a scratch path beside ``target`` that becomes ``target`` when the block ends well.

    Missing parent folders are made. After any exception, Ctrl-C included, an older ``target`` is as it was and the
    scratch file is gone. The file's permissions are those the block gave it (the umask's, for a plain ``open``).

    Args:
        target: the final path; its suffix is also the scratch path's.
        check: called with the finished scratch file before it is moved; what it raises stops the move.
        durable: whether it is to survive a power cut, for which the disk is waited for; a file that is sent elsewhere
            and removed need not.

    Raises:
        IsADirectoryError: ``target`` is a folder.
        FileNotFoundError: the block wrote nothing.
    """
    target = Path(target)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: wanted to write a file, found a folder of that name; remove or rename it")
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(target.parent)
    # A target that is a scratch file itself has an owner who publishes or removes it: one more would outlive both.
    scratch = target if is_scratch(target) else scratch_path(target)
    try:
        yield scratch
        publish(scratch, target, check=check, durable=durable)
    except BaseException:
        discard(scratch)
        raise


@contextmanager
def scratch_folder(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder for what is needed for a while; it goes when the block ends, after a kill with the next `sweep`.

    Args:
        parent: where it is made; made, too, if it is not there.
    """
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    sweep_once(parent)
    scratch = scratch_path(parent / "folder")
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def publish(scratch: Path, target: Path, *, check: Callable[[Path], None] | None = None, durable: bool = True) -> None:
    """Move a finished scratch file into place for good: checked, on the disk (if ``durable``), then renamed.

    Raises:
        FileNotFoundError: there is no scratch file.
    """
    if not scratch.is_file():
        raise FileNotFoundError(f"{target}: nothing was written to its scratch file {scratch.name}")
    if check is not None:
        check(scratch)
    if durable:
        sync(scratch)
    os.replace(scratch, target)
    if durable:
        sync_folder(target.parent)


def discard(scratch: Path) -> None:
    """Remove a scratch file or folder if it is there; a removal that fails must not hide the error that led here."""
    with suppress(OSError):
        _remove(scratch)


def scratch_path(target: str | os.PathLike[str]) -> Path:
    """Name a scratch file in the target's folder: a leading dot, its owner, a random part, the same suffix.

    The name never exceeds what a file system takes: a long stem is cut, a monstrous suffix left out.
    """
    target = Path(target)
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX_BYTES else ""
    ending = f"~scratch-{owner()}-{secrets.token_hex(4)}{suffix}"
    stem = target.name.removesuffix(suffix) if suffix else target.name
    return target.with_name("." + _cut(stem.lstrip("."), _NAME_BYTES - 1 - len(os.fsencode(ending))) + ending)


def is_scratch(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path's name is one that `scratch_path` gives."""
    return _SCRATCH.fullmatch(Path(path).name) is not None


def owner() -> str:
    """Name this process as scratch names do, so that `is_abandoned` can tell later whether it is gone."""
    return _owner_of(os.getpid())


def is_abandoned(path: str | os.PathLike[str], named_owner: str) -> bool:
    """Tell whether a file's owner, as `owner` named it, is gone.

    One of another host or container, which cannot be seen, is taken for gone when the file is older than
    `FOREIGN_SCRATCH_AGE_S`; a text that names no owner, for one that lives.
    """
    match = re.fullmatch(_OWNER, named_owner)
    return match is not None and _abandoned(Path(path), match)


def sweep(folder: str | os.PathLike[str], *, recursive: bool = False) -> list[Path]:
    """Remove the scratch files and folders of processes that are gone, and return their paths.

    Those of live processes stay. Those of other hosts and containers, whose processes cannot be seen, go when they are
    older than `FOREIGN_SCRATCH_AGE_S`. A file or folder that vanishes meanwhile, or cannot be removed, is passed over.
    """
    removed = []
    for path in _candidates(Path(folder), recursive=recursive):
        match = _SCRATCH.fullmatch(path.name)
        if match is None or not _abandoned(path, match):
            continue
        with suppress(OSError):
            _remove(path)
            removed.append(path)
    return removed


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hash a file as a stream."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: str | os.PathLike[str]) -> str:
    """Hash a file as S3 does for the ETag of what was sent in one part; it guards against accidents only."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def record_path(path: str | os.PathLike[str]) -> Path:
    """Name the record of a file: ``.<name>.json`` beside it (a name too long for that is cut and told by its hash)."""
    path = Path(path)
    name = f".{path.name}.json"
    if len(os.fsencode(name)) > _NAME_BYTES:
        ending = f"~{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.json"
        name = "." + _cut(path.name, _NAME_BYTES - 1 - len(ending)) + ending
    return path.with_name(name)


def read_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read the record of the file at ``path``; None when it is missing, unreadable or not a JSON object."""
    try:
        record = json.loads(record_path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write the record of the file at ``path``, whole or not at all, in an order that does not change."""
    text = json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"
    with atomic_path(record_path(path)) as scratch:
        scratch.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Have the system write a file to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system lets a folder be synced at all."""
    try:
        sync(folder)
    except OSError as err:
        if err.errno not in _CANNOT_SYNC_FOLDER:
            raise


def _cut(name: str, max_bytes: int) -> str:
    """Shorten a name to so many bytes without leaving half a character."""
    while len(os.fsencode(name)) > max_bytes:
        name = name[:-1]
    return name


def sweep_once(folder: Path) -> None:
    """Sweep a folder unless this process has done so before."""
    key = (os.getpid(), os.path.realpath(folder))
    if key not in _swept:
        _swept.add(key)
        sweep(folder)


def _candidates(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Give files, and the folders that are scratch as a whole: what lies in those is their owner's affair."""
    for parent, folders, names in os.walk(folder):
        scratch = [name for name in folders if is_scratch(name)]
        folders[:] = [name for name in folders if name not in scratch] if recursive else []
        for name in (*names, *scratch):
            yield Path(parent, name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _abandoned(path: Path, owner: re.Match[str]) -> bool:
    if owner["host"] != _host_token():
        try:
            return time.time() - _last_change_s(path) > FOREIGN_SCRATCH_AGE_S
        except OSError:
            return False
    pid = int(owner["pid"])
    if not _alive(pid):
        return True
    start = _start_token(pid)
    return _UNKNOWN_START not in (start, owner["start"]) and start != owner["start"]


def _last_change_s(path: Path) -> float:
    """Return when a file was written last; a folder is as young as the youngest thing in it."""
    within = list(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []
    return max(each.lstat().st_mtime for each in (path, *within))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    stat = _stat_fields(pid)
    return stat is None or stat[0] not in ("Z", "X")  # killed, and not yet waited for by its parent


@functools.cache
def _host_token() -> str:
    """Tell this host and container from others: process ids mean something only inside one."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text().strip())
    with suppress(OSError):
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return _short_hash("\n".join(parts))


@functools.cache
def _owner_of(pid: int) -> str:
    return f"{_host_token()}-{pid}-{_start_token(pid)}"


def _start_token(pid: int) -> str:
    """Tell a process from a later one of the same id; a fixed token where the system does not say."""
    stat = _stat_fields(pid)
    return _UNKNOWN_START if stat is None else _short_hash(f"{_boot_id()}\n{stat[19]}")


def _stat_fields(pid: int) -> list[str] | None:
    """Return what follows the program's name in ``/proc/<pid>/stat``: [0] is the state, [19] the start in ticks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields if len(fields) > 19 else None


@functools.cache
def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
