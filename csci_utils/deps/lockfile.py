"""What a Pipfile.lock holds, and whether it is in step with its Pipfile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from csci_utils.deps.entries import SpecifierProblem, as_extras, marker_of, source_of, unusable
from csci_utils.deps.errors import LockfileError
from csci_utils.deps.facts import Lock, Locked, normal_name
from csci_utils.deps.files import NotAFileError, read_file
from csci_utils.deps.pipfile import Pipfile, digests
from csci_utils.deps.text import all_without_secrets, quoted

SPECIFICATION = 6
"""The `pipfile-spec` that is read; pipenv has written no other since 2017."""


def read_lock(path: Path) -> Lock:
    """Read a Pipfile.lock.

    Raises:
        LockfileError: it is no JSON, of another specification, or holds what is no entry.
        FileNotFoundError: there is none.
    """
    data = _parse(path)
    meta = data.get("_meta")
    specification = meta.get("pipfile-spec") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or specification != SPECIFICATION:
        raise LockfileError(
            f"{path}: wanted a lock of specification {SPECIFICATION}, found {specification!r}; "
            "make it anew: pipenv lock"
        )
    digest = meta.get("hash", {}).get("sha256") if isinstance(meta.get("hash"), dict) else None
    requires = meta.get("requires") if isinstance(meta.get("requires"), dict) else {}
    return Lock(
        path=path,
        sha256=str(digest) if digest else None,
        requires={key: str(value) for key, value in (requires or {}).items()},
        entries=tuple(_entries(data, path)),
    )


def in_step(lock: Lock, pipfile: Pipfile) -> bool:
    """Tell whether a lock was made from this Pipfile, as pipenv tells it: by the digest of what it declares."""
    return lock.sha256 in digests(pipfile)


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_file(path))
    except ValueError as err:  # JSON's and the encoding's errors are both one
        raise LockfileError(f"{path}: wanted JSON, found {err}; make it anew: pipenv lock") from err
    except RecursionError as err:
        raise LockfileError(f"{path}: wanted JSON, found it nested too deeply; make it anew: pipenv lock") from err
    except NotAFileError as err:
        raise LockfileError(f"{path}: wanted a file, found a {err.what} of that name; rename it") from err
    if not isinstance(data, dict):
        raise LockfileError(f"{path}: wanted an object, found {type(data).__name__}; make it anew: pipenv lock")
    return data


def _entries(data: Mapping[str, Any], path: Path) -> Iterator[Locked]:
    for section, table in data.items():
        if section == "_meta":
            continue
        if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
            found = quoted(table)
            raise LockfileError(f"{path}: wanted entries in {section!r}, found {found}; make it anew: pipenv lock")
        for name, entry in table.items():
            wrong = unusable(name, entry)
            if wrong is not None:
                raise LockfileError(f"{path}: {section}: {wrong}; make it anew: pipenv lock")
            yield _locked(name, all_without_secrets(entry), section=section)


def _locked(name: str, entry: Mapping[str, Any], *, section: str) -> Locked:
    source, address = source_of(entry)
    try:
        marker = marker_of({"markers": entry.get("markers")})
    except SpecifierProblem:  # pipenv has written it and reads it; what cannot be compared is kept as it stands
        marker = str(entry["markers"])
    version, hashes = entry.get("version"), entry.get("hashes")
    return Locked(
        name=normal_name(name),
        section=section,
        version=str(version).removeprefix("==").strip() if version not in (None, "*") else None,
        extras=as_extras(entry.get("extras")),
        marker=marker,
        source=source,
        address=address,
        ref=None if entry.get("ref") is None else str(entry["ref"]),
        editable=entry.get("editable") is True,
        hashes=len(hashes) if isinstance(hashes, list) else 0,
    )
