"""Files that others wrote: only regular ones are opened, for a pipe or a device never ends; and paths for people."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class NotAFileError(OSError):
    """What lies there is none that could be read to its end; `what` names it: a folder, a pipe."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(errno.EINVAL, f"a {what} is no file", str(path))
        self.what = what


class TooLargeError(OSError):
    """A file is larger than anything of its kind that somebody wrote."""


def read_file(path: Path, *, largest_bytes: int | None = None) -> bytes:
    """Read a regular file, or the one that a link leads to.

    Raises:
        NotAFileError: it is a folder, a pipe, a socket or a device.
        TooLargeError: it is larger than `largest_bytes`.
        OSError: there is none, or it cannot be read.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(_KINDS.get(stat.S_IFMT(found.st_mode), "special file"), path)
    if largest_bytes is not None and found.st_size > largest_bytes:
        raise TooLargeError(errno.EFBIG, f"it is larger than {largest_bytes} bytes", str(path))
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Read a file of UTF-8, with a byte order mark or without; see `read_file`.

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    return read_file(path).decode("utf-8-sig")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of TOML; see `read_file`.

    Raises:
        ValueError: it is no TOML, or in another encoding than UTF-8.
    """
    return parse_toml(read_text(path))


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML.

    Raises:
        ValueError: it is none, or nested more deeply than can be read; the text begins with a small letter.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as err:
        raise ValueError("values that are nested too deeply") from err
    except tomllib.TOMLDecodeError as err:
        raise ValueError(f"{str(err)[:1].lower()}{str(err)[1:]}") from err


def shown(file: Path, folder: Path) -> str:
    """Give a path as it is shown to people: from the project's folder, where it lies below that."""
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()
