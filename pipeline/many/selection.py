"""Which pictures are meant: folders, patterns and lists become names, with one listing of what S3 holds."""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from csci_utils.luigi.listing import PAGE_KEYS, look_many
from csci_utils.s3 import ObjectInfo, S3Uri, each, list_objects
from pipeline.errors import PipelineError
from pipeline.folders import IMAGES
from pipeline.names import check_name, check_pattern

STANDARD_INPUT = "-"
_AT_A_TIME = 3
"""Parts of a listing; of these one is listed, while others are looked through."""

_GLOB = re.compile(r"[*?[]")
_END = re.compile(r"\\[Zz]$")
"""What the standard library ends a translated pattern with; since Python 3.14 it is the small letter."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a job is to style.

    Attributes:
        images: The pictures as S3 holds them, by name, in order of names; a name of theirs may be one that no
            result can have.
        missing: Names that were asked for and are not in S3.
        empty: Folders and patterns in which there is no picture.
    """

    images: Mapping[str, ObjectInfo] = field(default_factory=dict)
    missing: Sequence[str] = ()
    empty: Sequence[str] = ()


class NoListError(PipelineError):
    """A list of names cannot be read."""


def select(
    wanted: Sequence[str],
    *,
    lists: Sequence[Path],
    s3_root: str,
    on_part: Callable[[Sequence[str]], None] = lambda _names: None,
) -> Selection:
    """Find pictures below ``images/``.

    Args:
        wanted: Each a folder (``holiday/``: every picture at any depth below it), a pattern (with ``*``, ``?`` or
            ``[...]``, which stay within a folder, or ``**``, which does not; one that ends in a slash means all
            pictures below the folders that match), or a name.
        lists: Files of names, one a line; ``-`` is standard input. Names in them are no patterns.
        s3_root: ``s3://bucket/prefix``.
        on_part: Called with names that were found in a part of the listing, by several threads, while the next parts
            are listed; not with those that were given one by one.

    Raises:
        BadNameError: a name that is given as such is none, or no name can match a pattern.
        NoListError: a list cannot be read.
        S3Error: the store refused or did not answer, or there is no such bucket.
    """
    folder = S3Uri.parse(s3_root).joined(f"{IMAGES}/")
    patterns = [check_pattern(one) for one in dict.fromkeys(wanted) if one.endswith("/") or _GLOB.search(one)]
    names = [check_name(one, "picture") for one in dict.fromkeys(wanted) if one not in patterns]
    for path in lists:
        names += [check_name(name, f"picture (line {number} of {path})") for number, name in _lines(path)]
    matched = _matched(folder, patterns, on_part)
    found = {name: info for group in matched.values() for name, info in group.items()}
    single = [name for name in dict.fromkeys(names) if name not in found]
    addresses = {S3Uri(folder.bucket, folder.key + name): name for name in single}
    found |= {addresses[uri]: info for uri, info in look_many(addresses).items()}
    return Selection(
        images={name: found[name] for name in sorted(found)},
        missing=[name for name in single if name not in found],
        empty=[pattern for pattern, group in matched.items() if not group],
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give numbered lines that are not empty."""
    try:
        text = sys.stdin.read() if str(path) == STANDARD_INPUT else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        what = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
        raise NoListError(f"{path}: wanted a list of pictures' names, one a line, found none: {what}") from err
    for number, line in enumerate(text.split("\n"), start=1):
        if name := line.rstrip("\r"):
            yield number, name


def _matched(
    folder: S3Uri, patterns: Sequence[str], on_part: Callable[[Sequence[str]], None]
) -> dict[str, dict[str, ObjectInfo]]:
    """List once what any of the patterns can match, and give what each does; no hidden files and marks of folders."""
    beginnings = sorted({_beginning(pattern) for pattern in patterns})
    needed = [one for one in beginnings if not any(one != other and one.startswith(other) for other in beginnings)]
    infos = (info for one in needed for info in list_objects(S3Uri(folder.bucket, folder.key + one)))
    named = ((info.uri.key[len(folder.key) :], info) for info in infos)
    matchers = [_matcher(pattern) for pattern in patterns]
    meant = ((name, info) for name, info in named if name and not name.endswith("/") and not _is_hidden(name))

    def look_through(part: dict[str, ObjectInfo]) -> list[dict[str, ObjectInfo]]:
        groups = [{name: info for name, info in part.items() if matches(name)} for matches in matchers]
        if names := list(dict.fromkeys(chain.from_iterable(groups))):
            on_part(names)
        return groups

    matched: dict[str, dict[str, ObjectInfo]] = {pattern: {} for pattern in patterns}
    for groups in each(_parts(meant), look_through, num_threads=_AT_A_TIME):
        for pattern, group in zip(patterns, groups, strict=True):
            matched[pattern] |= group
    return matched


def _parts(named: Iterator[tuple[str, ObjectInfo]]) -> Iterator[dict[str, ObjectInfo]]:
    while part := dict(islice(named, PAGE_KEYS)):
        yield part


def _beginning(pattern: str) -> str:
    """What all matches begin with."""
    special = _GLOB.search(pattern)
    return pattern[: special.start()] if special else pattern


def _is_hidden(name: str) -> bool:
    """Whether a record or a scratch file is meant, which are no pictures."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def _matcher(pattern: str) -> Callable[[str], object]:
    """Return what tells whether a name is meant by a pattern."""
    from neural_style.picture_set import is_picture_name

    if not _GLOB.search(pattern):
        return lambda name: name.startswith(pattern) and is_picture_name(os.path.basename(name))
    pattern = f"{pattern}**" if pattern.endswith("/") else pattern
    matches: Callable[[str], object] = re.compile(_as_regex(pattern), re.DOTALL).fullmatch
    if pattern.endswith(("*", "?", "]")):  # whatever is there, of which what is no picture is not meant
        return lambda name: matches(name) and is_picture_name(os.path.basename(name))
    return matches


def _as_regex(pattern: str) -> str:
    """Translate a pattern; ``**`` as a whole component stands for any number of folders, or at the end for all."""
    parts = pattern.split("/")
    regex = ""
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            regex += ".+" if is_last else "(?:[^/]+/)*"
        else:
            regex += _component(part) + ("" if is_last else "/")
    return regex


def _component(part: str) -> str:
    regex, rest = "", part
    while rest:
        if match := re.match(r"\[!?\]?[^\]]*\]", rest):
            regex += "(?!/)" + _END.sub("", fnmatch.translate(match[0]))
            rest = rest[match.end() :]
            continue
        match = re.match(r"\*+", rest)
        regex += "[^/]*" if match else "[^/]" if rest[0] == "?" else re.escape(rest[0])
        rest = rest[match.end() if match else 1 :]
    return regex
