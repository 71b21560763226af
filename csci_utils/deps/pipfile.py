"""What a Pipfile declares, with the line of each entry, and the digest by which a lock knows it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.deps.entries import KNOWN_KEYS, SpecifierProblem, as_extras, as_specifier, marker_of, source_of
from csci_utils.deps.errors import PipfileError
from csci_utils.deps.facts import Declared, normal_name

NO_PACKAGES = ("source", "requires", "scripts", "pipfile", "pipenv", "build-system")
"""The tables that hold no requirements; every other one is a category, as pipenv takes it."""

_HEADER = re.compile(r"\s*\[+\s*(?P<name>[^\]]+?)\s*\]+")
_KEY = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[A-Za-z0-9_-]+))\s*(?P<dot>[.=])""")


@dataclass(frozen=True, kw_only=True)
class Pipfile:
    """A Pipfile.

    Attributes:
        path: the file.
        data: all of it, as TOML gives it.
        declared: its requirements, in the order of the file.
        requires: `python_version` and `python_full_version`, where it names them.
    """

    path: Path
    data: Mapping[str, Any]
    declared: tuple[Declared, ...]
    requires: Mapping[str, str]


def read_pipfile(path: Path) -> Pipfile:
    """Read a Pipfile.

    Raises:
        PipfileError: it is no TOML, or something in it cannot be a requirement.
        FileNotFoundError: there is none.
    """
    data, text = _parse(path)
    lines = _lines_of_entries(text)
    declared = tuple(
        _declared(spelled, wanted, section=section, file=path, line=lines.get((section, spelled), 0))
        for section, table in _sections(data, path)
        for spelled, wanted in table.items()
    )
    requires = data.get("requires", {})
    if not isinstance(requires, dict):
        raise PipfileError(f"{path}: wanted a table [requires], found {requires!r}; write python_version below it")
    return Pipfile(path=path, data=data, declared=declared, requires={k: str(v) for k, v in requires.items()})


def digests(pipfile: Pipfile) -> tuple[str, ...]:
    """Give the digests by which a lock that is in step may know this Pipfile.

    The first is that of today's pipenv, which compares names in their normal form; the second that of the pipenv
    before, which took them as they stand. A Pipfile without a `[[source]]` is counted with pipenv's own; where pip's
    configuration names further indexes, pipenv counts those in too, and another machine finds such a lock stale.

    Raises:
        PipfileError: a table that holds no requirements is of no kind that pipenv reads.
    """
    from plette import Pipfile as Model
    from plette.pipfiles import DEFAULT_SOURCE_TOML

    data = dict(pipfile.data)
    if "source" not in data:  # pipenv counts in the index that it would ask
        data |= tomllib.loads(DEFAULT_SOURCE_TOML)
    normal = {
        name: {normal_name(key): value for key, value in table.items()} if name not in NO_PACKAGES else table
        for name, table in data.items()
    }
    try:
        return tuple(str(Model(each).get_hash().value) for each in (normal, data))
    except (ValueError, TypeError, AttributeError, KeyError) as err:  # what it raises depends on what it stumbles over
        tables = ", ".join(f"[{name}]" for name in NO_PACKAGES if name in data)
        raise PipfileError(
            f"{pipfile.path}: wanted {tables} as pipenv reads them, found what it does not ({err}); mend that"
        ) from err


def _parse(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text), text
    except UnicodeDecodeError as err:
        raise PipfileError(f"{path}: wanted UTF-8, found other bytes at {err.start}; save it as UTF-8") from err
    except tomllib.TOMLDecodeError as err:
        raise PipfileError(f"{path}: wanted TOML, found {str(err)[:1].lower()}{str(err)[1:]}; mend that line") from err
    except IsADirectoryError as err:
        raise PipfileError(f"{path}: wanted a file, found a folder of that name; rename it") from err


def _sections(data: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in data.items():
        if name in NO_PACKAGES:
            continue
        if not isinstance(table, dict):
            raise PipfileError(f"{path}: wanted a table [{name}], found {table!r}; move it below [packages]")
        yield name, table


def _declared(spelled: str, wanted: object, *, section: str, file: Path, line: int) -> Declared:
    problem = None
    entry = wanted if isinstance(wanted, dict) else {"version": wanted}
    source, address = source_of(entry)
    version = entry.get("version", "*")
    if not isinstance(version, str):
        raise PipfileError(
            f'{file}:{line}: wanted a version of {spelled!r} in quotes, found {version!r}; write "{version}" or "*"'
        )
    if entry and not KNOWN_KEYS & entry.keys():
        dotted = f"{spelled}.{next(iter(entry))}"
        problem = f'an unquoted dot makes a table of {spelled!r}; write "{dotted}" in quotes'
    try:
        specifier = as_specifier(version)
        marker = marker_of(entry)
    except SpecifierProblem as err:
        specifier, marker, problem = version, None, str(err)
    return Declared(
        name=normal_name(spelled),
        spelled=spelled,
        section=section,
        specifier=specifier,
        extras=as_extras(entry.get("extras")),
        marker=marker,
        source=source,
        address=address,
        ref=None if entry.get("ref") is None else str(entry["ref"]),
        editable=entry.get("editable") is True,
        file=file,
        line=line,
        problem=problem,
    )


def _lines_of_entries(text: str) -> dict[tuple[str, str], int]:
    """Find the line of each entry: `name = ...` below its table, or a table `[packages.name]` of its own."""
    found: dict[tuple[str, str], int] = {}
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        key = _KEY.match(line)
        if header and not key:
            table = _split_key(header["name"])
            if len(table) > 1:
                found.setdefault((table[0], table[1]), number)
        elif key and len(table) == 1:
            found.setdefault((table[0], next(name for name in key.group("double", "single", "bare") if name)), number)
    return found


def _split_key(name: str) -> list[str]:
    parts = re.findall(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""", name)
    return ["".join(part) for part in parts]
