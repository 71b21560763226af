"""One named dependency: where it stands everywhere, and whether that agrees."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csci_utils.deps.errors import one_line
from csci_utils.deps.facts import Declared, Distribution, Environment, Locked
from csci_utils.deps.files import shown
from csci_utils.deps.options import Request, tell, with_request
from csci_utils.deps.table import NO_VERSION, declared_text, locked_text
from csci_utils.deps.text import columns

if TYPE_CHECKING:
    from csci_utils.deps.one_name import OneName, Requirer
    from csci_utils.deps.project import Project

_MOST_IMPORTS = 8


@click.command()
@with_request
@click.argument("name", metavar="NAME")
def command(request: Request, *, name: str) -> int:
    """Tell all about one dependency: declared, locked, installed, required, imported where; whether that agrees.

    NAME is a distribution in any spelling, else a module that one brings (yaml is PyYAML). Exit status 1 if it is
    nowhere, or if CI would break because of it, as `check` finds out.
    """
    from csci_utils.deps.one_name import all_about, find_name, near_names, survey

    project = request.read_project()
    environments = request.read_environments(project, modules=True)
    own = _own(request, project, environments)
    around = survey(project, environments, own)
    found = find_name(name, around)
    if found is None:
        near = near_names(name, around)
        hint = f"near it: {', '.join(near)}" if near else "see what there is: table"
        tell(f"{one_line(name)!r} is declared, locked, installed, required and imported nowhere; {hint}")
        request.answer({"name": None, "near": near}, [])
        return 1
    what = all_about(found, around)
    request.answer(what, list(_lines(what, project)))
    return 1 if what.breaks_ci else 0


def _own(request: Request, project: Project, environments: Sequence[Environment]) -> Environment | None:
    """Choose what to compare with: what was named, else the project's own."""
    from csci_utils.deps.environments import read_environment
    from csci_utils.deps.places import own_place

    place, _ = own_place(project, named=request.pythons)  # what there is to say of it has been said
    if place is None:
        return None
    own = next((each for each in environments if each.label == place.label), None)
    if own is None:  # it was read by another name
        read = read_environment(place, modules=True, timeout_s=request.timeout_s)
        prefix = os.path.realpath(read.prefix)
        own = next((each for each in environments if os.path.realpath(each.prefix) == prefix), read)
    return own


def _lines(what: OneName, project: Project) -> Iterator[str]:
    yield what.spelled if what.spelled == what.name else f"{what.spelled} ({what.name})"
    yield from _group("module", [[each] for each in what.modules])
    yield from _group("declared", list(_declarations(what, project)))
    yield from _group("locked", [list(_entry(each)) for each in what.locked])
    yield from _group("installed", [[each.environment, *_found(each.distribution)] for each in what.installed])
    yield from _group("required by", [_requirer(each) for each in what.required_by])
    yield from _group("imported", list(_imports(what, project.folder)))
    findings = [[f"{each.kind}: {each.sentence}. Mend: {each.mend}"] for each in what.findings]
    yield from _group("check", findings or [["nothing found"]])


def _group(heading: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = columns([[one_line(cell) for cell in row] for row in rows]) or ["-"]
    for number, line in enumerate(lines):
        yield f"  {'' if number else heading:12} {line}"


def _declarations(what: OneName, project: Project) -> Iterator[list[str]]:
    for each in what.declared:
        yield [_place(each.file, each.line, project.folder), f"[{each.section}]", declared_text(each), *_more(each)]
    if what.own is not None and what.own not in what.declared:
        yield [_place(what.own.file, what.own.line, project.folder), "the package's own", declared_text(what.own)]


def _entry(entry: Locked) -> Iterator[str]:
    yield from (f"[{entry.section}]", locked_text(entry), *_more(entry))


def _more(entry: Locked | Declared) -> Iterator[str]:
    if entry.extras:
        yield f"with {', '.join(entry.extras)}"
    if entry.editable:
        yield "editable"
    if entry.marker:
        yield f"if {entry.marker}"


def _found(distribution: Distribution) -> Iterator[str]:
    yield distribution.version or NO_VERSION
    yield distribution.path
    if distribution.hidden_by:
        yield f"hidden by {distribution.hidden_by}"
    if distribution.editable:
        yield f"editable, from {distribution.location}"
    elif distribution.origin:
        yield f"from {distribution.origin.url}"
    yield from distribution.problems


def _requirer(each: Requirer) -> list[str]:
    wish = f"wants {each.required or 'any'}"
    extras = f"with {' or '.join(each.by_extras)}" if each.by_extras else ""
    return [each.environment, f"{each.name} {each.version or NO_VERSION}", wish, each.state, extras]


def _imports(what: OneName, folder: Path) -> Iterator[list[str]]:
    for each in what.imported[:_MOST_IMPORTS]:
        needed = "" if each.need == "required" else each.need
        yield [_place(each.file, each.line, folder), each.module, each.part, needed]
    if len(what.imported) > _MOST_IMPORTS:
        yield [f"and {len(what.imported) - _MOST_IMPORTS} more; --json lists them"]


def _place(file: Path, line: int, folder: Path) -> str:
    return f"{shown(file, folder)}:{line}" if line else shown(file, folder)
