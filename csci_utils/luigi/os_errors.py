"""The operating system's errors in words: the path, what is wrong with it, what to do."""

from __future__ import annotations

import errno
import os
import re
from ast import literal_eval
from pathlib import Path

from csci_utils.io import is_scratch

_IN_THE_WAY = "remove or rename it"
_NO_PERMISSION = "permission denied; let this user read and write there, or choose another place"
_WORDS = {
    errno.ENOENT: "there is no such file or folder; check its name",
    errno.ENOTDIR: f"a folder was wanted, and a file has its name or that of a folder above; {_IN_THE_WAY}",
    errno.EISDIR: f"a file was wanted, and a folder has its name; {_IN_THE_WAY}",
    errno.EEXIST: f"something else has that name already; {_IN_THE_WAY}",
    errno.ENOTEMPTY: f"a folder of that name holds files; {_IN_THE_WAY}",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "the file system can only be read; choose another place",
    errno.ENAMETOOLONG: "the name is longer than the file system takes; choose a shorter one",
    errno.ELOOP: "its links lead in a circle; mend them",
    errno.ENOSPC: "no space is left on the disk; free some and run again",
    errno.EDQUOT: "this user's share of the disk is full; free some and run again",
    errno.EIO: "the disk could not be read or written; check it",
    errno.EMFILE: "too many files are open; use fewer workers, or raise the limit (ulimit -n)",
    errno.ENFILE: "this machine has too many files open; close some programs and run again",
}
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TEXT = re.compile(rf"\[Errno (?P<code>\d+)\] (?P<words>.*?)(?:: (?P<path>{_QUOTED})(?: -> (?P<to>{_QUOTED}))?)?")


def describe_os_error(err: OSError) -> str:
    """Say what the system refused: ``PATH: what is wrong; what to do``.

    Of what is scratch, or lies in it, the folder around it is named, which a user knows, and of a move the file it was
    to become.
    """
    words = _WORDS.get(err.errno or 0) or _lower(err.strerror or "the system refused")
    path = _known_to_users(err)
    return f"{path}: {words}" if path else words


def parse_os_error(text: str) -> OSError | None:
    """Read an error back from its text, ``[Errno 20] Not a directory: 'x'``; None for any other text."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    code, words = int(found["code"]), found["words"]
    if found["path"] is None:
        return OSError(code, words)
    to = literal_eval(found["to"]) if found["to"] else None
    return OSError(code, words, literal_eval(found["path"]), None, to)


def _known_to_users(err: OSError) -> str:
    """Return the path to name; empty when there is none."""
    named = [os.fsdecode(each) for each in (err.filename2, err.filename) if isinstance(each, str | bytes | os.PathLike)]
    around = [_around_scratch(path) for path in named]
    return next((path for path, known in zip(named, around, strict=True) if known == path), (around or [""])[0])


def _around_scratch(path: str) -> str:
    """Return the folder around the scratch file or folder in a path; the path itself where there is none."""
    above = [each for each in (Path(path), *Path(path).parents) if is_scratch(each)]
    return str(above[-1].parent) if above else path


def _lower(words: str) -> str:
    return words if words[:2].isupper() else words[:1].lower() + words[1:]
