"""What is installed where: every distribution of every environment side by side, and what differs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from csci_utils.deps.facts import Distribution, Environment
from csci_utils.deps.options import Request, with_request
from csci_utils.deps.standards import same_version
from csci_utils.deps.text import columns

DifferenceKind = Literal["missing", "version", "hidden", "editable", "vcs", "url", "problem"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that makes a distribution differ from environment to environment, or from a plain installation.

    Attributes:
        kind: `missing` on this side; another `version` than the first that has it; `hidden` behind one that Python
            finds first; `editable`; from a repository (`vcs`) or a `url`; a `problem` with its metadata.
        environment: the label of the side.
        sentence: the same for people.
    """

    kind: DifferenceKind
    environment: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One name in all environments.

    Attributes:
        name: in normal form.
        found: what each environment finds, by label; None where it has none.
        differences: what differs, empty if nothing.
    """

    name: str
    found: Mapping[str, Distribution | None]
    differences: tuple[Difference, ...]


def side_by_side(environments: Sequence[Environment]) -> list[Row]:
    """Put environments beside each other, a row a name, in the order of names."""
    active = {each.label: each.active() for each in environments}
    hidden: dict[str, list[tuple[str, Distribution]]] = {}
    for environment in environments:
        for each in environment.distributions:
            if each.hidden_by is not None:
                hidden.setdefault(each.name, []).append((environment.label, each))
    rows = []
    for name in sorted({name for found in active.values() for name in found}):
        found = {label: by_name.get(name) for label, by_name in active.items()}
        rows.append(Row(name=name, found=found, differences=tuple(_differences(name, found, hidden.get(name, [])))))
    return rows


def _differences(
    name: str, found: Mapping[str, Distribution | None], hidden: Sequence[tuple[str, Distribution]]
) -> Iterator[Difference]:
    first = next((each for each in found.values() if each is not None), None)
    for label, each in found.items():
        if each is None:
            yield Difference(kind="missing", environment=label, sentence=f"{label} has no {name}")
        else:
            yield from _peculiarities(label, each, first)
    for label, each in hidden:
        yield Difference(
            kind="hidden",
            environment=label,
            sentence=f"{label} finds {each.hidden_by} before {each.path} ({each.version}, {_SITES[each.site]})",
        )
        yield from (Difference(kind="problem", environment=label, sentence=f"{each.path}: {p}") for p in each.problems)


_SITES = {
    "env": "the environment's own",
    "user": "the user's",
    "system": "the base interpreter's",
    "path": "from a .pth file",
}


def _peculiarities(label: str, each: Distribution, first: Distribution | None) -> Iterator[Difference]:
    if first is not None and not same_version(each.version, first.version):
        what = f"{label} has {each.spelled} {each.version}, others {first.version}"
        yield Difference(kind="version", environment=label, sentence=what)
    if each.editable:
        what = f"{label} has {each.spelled} as a link to {each.location}"
        yield Difference(kind="editable", environment=label, sentence=what)
    if each.origin is not None and not (each.editable and each.origin.vcs is None):
        commit = f" at {each.origin.commit}" if each.origin.commit else ""
        what = f"{label} has {each.spelled} from {each.origin.url}{commit}"
        yield Difference(kind="vcs" if each.origin.vcs else "url", environment=label, sentence=what)
    for problem in each.problems:
        yield Difference(kind="problem", environment=label, sentence=f"{each.path}: {problem}")


@click.command()
@with_request
@click.option("--differing", is_flag=True, help="Only what differs.")
@click.option("--paths", is_flag=True, help="A line for each distribution of each environment, with its path.")
def command(request: Request, *, differing: bool, paths: bool) -> int:
    """List every distribution with version and path, side by side, and say what differs.

    Looked at are the main interpreter, the project's own environment, conda's environments, and what --python names.
    """
    environments = request.read_environments(request.read_project_if_any())
    rows = [row for row in side_by_side(environments) if row.differences or not differing]
    lines = _path_lines(environments, rows) if paths else _table(environments, rows)
    request.answer(_data(environments, rows), lines)
    return 0


def _data(environments: Sequence[Environment], rows: Sequence[Row]) -> Any:
    names = {row.name for row in rows}
    return {
        "environments": [
            {
                "label": each.label,
                "kind": each.kind,
                "python": each.python,
                "prefix": each.prefix,
                "version": each.version,
                "problems": each.problems,
                "distributions": [found for found in each.distributions if found.name in names],
            }
            for each in environments
        ],
        "rows": [
            {
                "name": row.name,
                "versions": {label: found.version if found else None for label, found in row.found.items()},
                "differences": row.differences,
            }
            for row in rows
        ],
    }


def _path_lines(environments: Sequence[Environment], rows: Sequence[Row]) -> list[str]:
    names = {row.name for row in rows}
    return columns(
        [
            (environment.label, each.spelled, each.version or "?", each.path, "hidden" if each.hidden_by else "")
            for environment in environments
            for each in sorted(environment.distributions, key=lambda each: each.name)
            if each.name in names
        ]
    )


def _table(environments: Sequence[Environment], rows: Sequence[Row]) -> list[str]:
    """Give the environments, the folders by number, the table whose cells name those numbers, and the notes."""
    folders: dict[str, int] = {}
    for environment in environments:
        for each in environment.distributions:
            folders.setdefault(os.path.dirname(each.path), len(folders) + 1)
    table = [("name", *(each.label for each in environments), "what differs")]
    for row in rows:
        cells = [_cell(each, folders) for each in row.found.values()]
        table.append((row.name, *cells, "; ".join(_by_kind(row.differences))))
    heads = [(each.label, f"Python {each.version or 'unknown'}", each.python or each.prefix) for each in environments]
    notes = [
        each.sentence for row in rows for each in row.differences if each.kind not in ("missing", "version", "editable")
    ]
    return [
        *columns(heads),
        *(f"[{number}] {folder}" for folder, number in folders.items()),
        "",
        *columns(table),
        *(["", *notes] if notes else []),
    ]


def _cell(each: Distribution | None, folders: Mapping[str, int]) -> str:
    return f"{each.version or '?'} [{folders[os.path.dirname(each.path)]}]" if each else "-"


def _by_kind(differences: Sequence[Difference]) -> Iterator[str]:
    """Give each kind once with the labels that it concerns."""
    kinds: dict[str, list[str]] = {}
    for each in differences:
        labels = kinds.setdefault(each.kind, [])
        if each.environment not in labels:
            labels.append(each.environment)
    return (f"{kind}: {', '.join(labels)}" for kind, labels in kinds.items())
