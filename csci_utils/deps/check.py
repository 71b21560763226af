"""What CI will miss: imports, Pipfile, lock and environment against each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csci_utils.deps.environments import read_environments
from csci_utils.deps.facts import Environment
from csci_utils.deps.files import shown
from csci_utils.deps.findings import BREAKING, KINDS, Finding, finding
from csci_utils.deps.options import Request, tell, with_request
from csci_utils.deps.places import own_place
from csci_utils.deps.project import Project

if TYPE_CHECKING:
    from csci_utils.deps.check_facts import Facts

_NO_ENVIRONMENT = "until then what is installed is not looked at, and what brings an import is told by names: a guess"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was looked at, and what was found.

    Attributes:
        folder: the project's.
        environment: the root of the environment that was looked at, or None.
        sources: how many were read.
        imported: how many distributions they import.
        findings: those that break CI first, then by kind and name.
        accepted: by reason, what the project's exceptions have left out.
        remarks: what the user should know.
    """

    folder: Path
    environment: str | None
    sources: int
    imported: int
    findings: tuple[Finding, ...]
    accepted: Mapping[str, tuple[Finding, ...]]
    remarks: tuple[str, ...] = ()

    @property
    def breaks_ci(self) -> bool:
        """Whether CI would fail."""
        return any(each.breaks_ci for each in self.findings)


def check(project: Project, environment: Environment | None) -> Report:
    """Compare what the sources of a project import with what it declares, locks and has installed.

    Args:
        project: its sources are read, never run.
        environment: its environment, read with modules, or None.

    Raises:
        SettingsError: `[tool.csci_utils.deps]` of its pyproject.toml cannot be used.
        RequirementsError: its requirements for developers cannot be read.
    """
    from csci_utils.deps.check_facts import read_facts

    return report_of(read_facts(project, environment))


def report_of(facts: Facts) -> Report:
    """Compare what was read."""
    from csci_utils.deps.check_imports import check_unused, check_uses, uses_of
    from csci_utils.deps.check_lock import check_installed, check_lock, check_pythons

    folder, environment = facts.project.folder, facts.environment
    uses = uses_of(facts)
    found = [
        *check_uses(facts, uses),
        *check_lock(facts),
        *check_pythons(facts),
        *(check_unused(facts, uses) if facts.parsed else ()),
        *check_installed(facts),
        *_unparsed(folder, {name: (each.problem, each.line) for name, each in facts.parsed.items()}),
    ]
    accepted: dict[str, tuple[Finding, ...]] = {each.reason: () for each in facts.settings.exceptions}
    left = []
    for each in sorted(found, key=lambda each: (not each.breaks_ci, list(KINDS).index(each.kind), each.name)):
        reason = next((e.reason for e in facts.settings.exceptions if e.covers(each, folder=folder)), None)
        if reason is None:
            left.append(each)
        else:
            accepted[reason] += (each,)
    return Report(
        folder=folder,
        environment=environment.prefix if environment else None,
        sources=len(facts.parsed),
        imported=len(uses),
        findings=tuple(left),
        accepted=accepted,
        remarks=(*facts.tree.remarks, *_sourceless(facts), *_needless(accepted, environment)),
    )


def _unparsed(folder: Path, problems: Mapping[str, tuple[str | None, int]]) -> Iterator[Finding]:
    version = "{}.{}".format(*sys.version_info)
    for name, (problem, line) in problems.items():
        if problem is not None:
            yield finding(
                "unparsed",
                name,
                file=folder / name,
                line=line,
                sentence=f"what it imports is not known: Python {version} says {problem}",
                mend="mend it, or make an exception for it",
            )


def _sourceless(facts: Facts) -> Iterator[str]:
    if not facts.parsed:
        yield (
            f"{facts.project.folder}: no source lies below it, so what is used is not known; "
            "name the folder of the project with --project"
        )


def _needless(accepted: Mapping[str, tuple[Finding, ...]], environment: Environment | None) -> Iterator[str]:
    """Say which exceptions are for nothing; without an environment less is found."""
    for reason, found in accepted.items():
        if not found and environment is not None:
            yield f"an exception in pyproject.toml is for nothing that is found ({reason}); remove it"


def environment_of(request: Request, project: Project) -> Environment | None:
    """Read the environment that was named, else the project's own; tell the user if there is none.

    Raises:
        InterpreterError: the one that was named cannot be read.
    """
    if len(request.pythons) > 1:
        tell("only the first --python is looked at")
    place, remarks = own_place(project, named=request.pythons)
    for remark in remarks:
        tell(remark if place else f"{remark}; {_NO_ENVIRONMENT}")
    if place is None:
        return None
    (environment,) = read_environments([place], modules=True, timeout_s=request.timeout_s)
    for problem in environment.problems:
        tell(problem)
    return environment


def lines_of(report: Report) -> Iterator[str]:
    """Write a report for people: file, line, kind, name, sentence, command."""
    for each in report.findings:
        file = shown(each.file, report.folder)
        where = f"{file}:{each.line}" if each.line else file
        yield f"{where}: {each.kind}: {each.name}: {each.sentence}. Mend: {each.mend}"
    if not report.findings:
        yield f"nothing found: {report.sources} sources import {report.imported} distributions"


def _list_kinds(breaking: bool) -> str:
    return "\n".join(f"  {kind:18}{says}" for kind, says in KINDS.items() if (kind in BREAKING) is breaking)


_HELP = f"""Find what CI will miss: compare imports, Pipfile, lock and environment.

The sources are read, never run: those that git tracks or would track, elsewhere all below the folder. Notebooks are not
read. Tests, docs, benchmarks, examples, samples, notebooks, scripts, tools and hidden folders are for developers, the
rest is the package, and so is every category of the Pipfile but dev-packages. What no tool can see stands in
pyproject.toml below [tool.csci_utils.deps]: development, package, modules, exceptions (kind, name, file, reason).

\b
Exit status 1, CI would break:
{_list_kinds(True)}

\b
Told as well, and no reason for status 1:
{_list_kinds(False)}
"""


@click.command(help=_HELP)
@with_request
def command(request: Request) -> int:
    """Answer with what was found."""
    project = request.read_project()
    report = check(project, environment_of(request, project))
    for remark in report.remarks:
        tell(remark)
    request.answer(report, list(lines_of(report)))
    return 1 if report.breaks_ci else 0
