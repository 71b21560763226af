"""One table: which names conda has, the main interpreter has, and pipenv has in either section, with the version."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from csci_utils.deps.errors import one_line
from csci_utils.deps.facts import Declared, Distribution, Environment, Locked
from csci_utils.deps.options import Request, tell, with_request
from csci_utils.deps.project import Project
from csci_utils.deps.text import columns

CONDA, PIP, DEFAULT, DEVELOP = "conda", "pip", "pipenv default", "pipenv develop"

NO_VERSION = "?"
"""Stands where something is installed and nothing tells its version."""

_LOCKED_IN = {"packages": "default", "requirements": "default", "dev-packages": "develop"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one source has.

    Attributes:
        name: its heading.
        source: what it was read from, for people; None where there is no such thing.
        cells: the version by name; of what comes from no index its address, of what is not locked the specifier.
    """

    name: str
    source: str | None
    cells: Mapping[str, str]


def columns_of(project: Project, environments: Sequence[Environment]) -> list[Column]:
    """Give the four columns, in this order, and behind them one for each further category and each place by name.

    - `conda`: what the environments of conda have, as `conda list` shows it. Of several each cell names its own.
    - `pip`: what the main interpreter finds, as its `pip list` shows it.
    - `pipenv default`, `pipenv develop`: the sections of the lock, in full; without a lock those of the Pipfile; the
      first is requirements.txt where there is no Pipfile.

    Args:
        project: what is declared and locked.
        environments: the project's own is not looked at; what it holds is the lock's affair.
    """
    main = next((each for each in environments if each.kind == "main"), None)
    found = [
        Column(name=PIP, source=_place(main) if main else None, cells=_versions(_of_python(main) if main else ())),
        *_pipenv_columns(project),
    ]
    named = (each for each in environments if each.kind in ("python", "folder"))
    taken = {CONDA, *(each.name for each in found)}
    for each in named:
        name = each.label if each.label not in taken else each.prefix
        found.append(Column(name=name, source=_place(each), cells=_versions(each.active().values())))
    return [_conda_column(environments), *found]


def read_columns(request: Request) -> tuple[Project, list[Column]]:
    """Read the project and its columns, and tell what the user should know of them.

    Raises:
        DepsError: there is no project, or something that was named cannot be read.
    """
    project = request.read_project()
    if project.lock_problem:
        tell(f"{project.lock_problem}; until then the Pipfile's own entries are shown")
    return project, columns_of(project, request.read_environments(None))


def csv_of(found: Sequence[Column]) -> str:
    """Write columns as CSV: a heading, then a record a name in order; an empty field where it is missing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *(each.name for each in found)])
    writer.writerows(rows_of(found, missing=""))
    return text.getvalue()


def rows_of(found: Sequence[Column], *, missing: str) -> list[list[str]]:
    """Give a row a name, in the order of names: the name, then its cell in each column."""
    names = sorted({name for each in found for name in each.cells})
    return [[name, *(each.cells.get(name, missing) for each in found)] for name in names]


def _conda_column(environments: Sequence[Environment]) -> Column:
    condas = [each for each in environments if each.kind == "conda" or Path(each.prefix, "conda-meta").is_dir()]
    cells: dict[str, list[str]] = {}
    for environment in condas:
        for name, version in _versions(environment.active().values()).items():
            whose = f"{environment.label.removeprefix('conda:')} " if len(condas) > 1 else ""
            cells.setdefault(name, []).append(f"{whose}{version}")
    source = ", ".join(each.prefix for each in condas)
    return Column(name=CONDA, source=source or None, cells={name: "; ".join(each) for name, each in cells.items()})


def _pipenv_columns(project: Project) -> Iterator[Column]:
    """Give a column a section of the lock; without a lock, of what is declared."""
    file = project.pipfile.path if project.pipfile else project.requirements
    if project.lock is not None:
        file = project.lock.path
        entries = [(each.section, each.name, locked_text(each)) for each in project.lock.entries]
    else:
        entries = [
            (_LOCKED_IN.get(each.section, each.section), each.name, declared_text(each)) for each in project.declared
        ]
    sections: dict[str, dict[str, str]] = {"default": {}, "develop": {}}
    for section, name, cell in entries:
        sections.setdefault(section, {})[name] = cell
    for section, cells in sections.items():
        there = project.pipfile is not None or section == "default"
        yield Column(name=f"pipenv {section}", source=str(file) if there else None, cells=cells)


def _of_python(environment: Environment) -> Iterator[Distribution]:
    """Leave out what conda keeps that is no distribution of Python's: openssl, say."""
    return (each for each in environment.active().values() if Path(each.path).parent.name != "conda-meta")


def _versions(distributions: Iterable[Distribution]) -> dict[str, str]:
    return {each.name: each.version or NO_VERSION for each in distributions}


def _place(environment: Environment) -> str:
    return f"{environment.python or environment.prefix} (Python {environment.version or 'unknown'})"


def locked_text(entry: Locked) -> str:
    """Give the version of an entry, else where it comes from, `*` if the lock says neither."""
    return entry.version or _from(entry) or "*"


def declared_text(entry: Declared) -> str:
    """Give where an entry is to come from, else the versions that are wanted, `*` for any."""
    return _from(entry) or entry.specifier or "*"


def _from(entry: Locked | Declared) -> str | None:
    """Say where an entry comes from if no index gives it, as pip would be told: `git+https://host/x@commit`."""
    if entry.address is None:
        return None
    address = entry.address
    if entry.source in ("path", "url"):
        return f"path {address}" if entry.source == "path" else address
    scheme = "" if address.startswith(f"{entry.source}+") else f"{entry.source}+"
    return f"{scheme}{address}" + (f"@{entry.ref}" if entry.ref else "")


@click.command()
@with_request
@click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV: a heading, quotes as in RFC 4180, lines end in LF.")
def command(request: Request, *, as_csv: bool) -> int:
    """Say by name which of conda, pip and pipenv have it, at which version.

    \b
    conda           what conda's environments have, as `conda list` shows it; of several, NAME VERSION of each
    pip             what the main interpreter finds, as its `pip list` shows it
    pipenv default  [packages] with all that they bring, as locked; without a lock as the Pipfile declares them,
                    without a Pipfile as requirements.txt does
    pipenv develop  [dev-packages] in the same way

    Further categories of the Pipfile and what --python names follow, a column each. A cell is a version, `?` if
    nothing tells it, or the address of what comes from no index; without a lock what is declared, `*` for any.
    """  # noqa: D301 -- click's mark for a paragraph that is not wrapped
    if as_csv and request.as_json:
        raise click.UsageError("wanted --csv or --json, found both; leave one out")
    _, found = read_columns(request)
    lines = csv_of(found).removesuffix("\n").split("\n") if as_csv else _lines(found)
    request.answer(_data(found), lines)
    return 0


def _data(found: Sequence[Column]) -> dict[str, object]:
    names = sorted({name for each in found for name in each.cells})
    return {
        "columns": [{"name": each.name, "source": each.source, "num_names": len(each.cells)} for each in found],
        "rows": [{"name": name, "cells": {each.name: each.cells.get(name) for each in found}} for name in names],
    }


def _lines(found: Sequence[Column]) -> list[str]:
    heads = [(each.name, f"{len(each.cells)} names", each.source or "there is none") for each in found]
    rows = [["name", *(each.name for each in found)], *rows_of(found, missing="-")]
    return [*columns(heads), "", *columns([[one_line(cell) for cell in row] for row in rows])]
