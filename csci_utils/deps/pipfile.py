"""What a Pipfile declares, with the line of each entry, and the digest by which a lock knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.deps.entries import (
    KNOWN_KEYS,
    SpecifierProblem,
    as_extras,
    as_specifier,
    marker_of,
    source_of,
    unusable,
)
from csci_utils.deps.errors import PipfileError
from csci_utils.deps.facts import Declared, normal_name
from csci_utils.deps.files import NotAFileError, parse_toml, read_text
from csci_utils.deps.text import all_without_secrets, quoted, without_secrets

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
        raise PipfileError(
            f"{path}: wanted a table [requires], found {quoted(requires)}; write python_version below it"
        )
    return Pipfile(path=path, data=data, declared=declared, requires={k: str(v) for k, v in requires.items()})


def wanted_python(requires: Mapping[str, str]) -> str:
    """Give the version of Python that a Pipfile's or a lock's `requires` names, `3.11` or `3.11.7`; empty for any."""
    return requires.get("python_full_version") or requires.get("python_version") or ""


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
        data |= parse_toml(DEFAULT_SOURCE_TOML)
    normal = {
        name: {normal_name(key): value for key, value in table.items()} if name not in NO_PACKAGES else table
        for name, table in data.items()
    }
    try:
        return tuple(str(Model(each).get_hash().value) for each in (normal, data))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as err:  # by what it stumbles over
        tables = ", ".join(f"[{name}]" for name in _uncounted(data, data.keys())) or "tables"
        what = f"wanted {tables} as pipenv reads it, found what it does not ({without_secrets(str(err))}); mend that"
        raise PipfileError(f"{pipfile.path}: {what}") from err


def _uncounted(data: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Give the tables that pipenv cannot count, told by counting each beside a source that it can."""
    from plette import Pipfile as Model
    from plette.pipfiles import DEFAULT_SOURCE_TOML

    for name in names:
        try:
            Model({**parse_toml(DEFAULT_SOURCE_TOML), name: data[name]}).get_hash()
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            yield name


def _parse(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = read_text(path)
        return parse_toml(text), text
    except UnicodeDecodeError as err:
        raise PipfileError(f"{path}: wanted UTF-8, found other bytes at {err.start}; save it as UTF-8") from err
    except ValueError as err:
        raise PipfileError(f"{path}: wanted TOML, found {without_secrets(str(err))}; mend that line") from err
    except NotAFileError as err:
        raise PipfileError(f"{path}: wanted a file, found a {err.what} of that name; rename it") from err


def _sections(data: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in data.items():
        if name in NO_PACKAGES:
            continue
        if not isinstance(table, dict):
            found = quoted(table)
            raise PipfileError(f"{path}: wanted a table [{name}], found {found}; move it below [packages]")
        yield name, table


def _declared(spelled: str, wanted: object, *, section: str, file: Path, line: int) -> Declared:
    problem = None
    wanted = all_without_secrets(wanted)
    entry = wanted if isinstance(wanted, dict) else {"version": wanted}
    source, address = source_of(entry)
    version = entry.get("version", "*")
    wrong = unusable(spelled, entry)
    if wrong is not None:
        raise PipfileError(f"{file}:{line}: {wrong}; mend or remove that line")
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
            found.setdefault((table[0], next(filter(None, key.group("double", "single", "bare")), "")), number)
    return found


def _split_key(name: str) -> list[str]:
    parts = re.findall(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""", name)
    return ["".join(part) for part in parts]
