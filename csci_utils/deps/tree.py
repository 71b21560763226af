"""The dependency tree of an environment or of the lock: what is required against what is there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from csci_utils.deps.environments import read_environment
from csci_utils.deps.errors import InterpreterError, LockfileError, NotInstalledError
from csci_utils.deps.facts import Declared, Distribution, Environment, Lock, Locked, normal_name
from csci_utils.deps.graph import Graph
from csci_utils.deps.graph import Request as Wish
from csci_utils.deps.graph_building import Package, build_graph, environment_packages, wishes_of
from csci_utils.deps.options import Request, tell, with_request
from csci_utils.deps.places import Place, find_places, own_place, place_of
from csci_utils.deps.project import Project
from csci_utils.deps.standards import applies, markers_of, same_version
from csci_utils.deps.tree_lines import Step, lines_of, walk_down, walk_up


def environment_graph(environment: Environment, project: Project | None = None) -> Graph:
    """Give the graph of what an environment finds.

    Args:
        environment: where it is installed.
        project: whose Pipfile asks for it, where this is the project's own environment.
    """
    declared = project.declared if project is not None and environment.kind == "pipenv" else ()
    return build_graph(environment_packages(environment, declared), markers_of(environment))


def lock_graph(project: Project, environment: Environment | None) -> tuple[Graph, list[str]]:
    """Give the graph of what a project's lock would install here, and what the user should know.

    Raises:
        LockfileError: there is no lock, or it cannot be read.
    """
    if project.lock is None:
        raise LockfileError(project.lock_problem or f"{project.folder}: wanted a lock, found no Pipfile; make one")
    markers = markers_of(environment)
    packages, remarks = _lock_packages(project.lock, environment, markers, project.declared)
    return build_graph(packages, markers), remarks


def _lock_packages(
    lock: Lock, environment: Environment | None, markers: Mapping[str, str], declared: Iterable[Declared] = ()
) -> tuple[list[Package], list[str]]:
    """Give what a lock would install here.

    The lock has no requirements: those of a version are taken from the environment that has this version installed,
    and unknown where none has.

    Args:
        lock: the lock.
        environment: the one to ask; None for none.
        markers: what the markers of the entries are compared with, all of them.
        declared: what the Pipfile asks for.

    Returns:
        One package a name, and what the user should know.
    """
    installed = environment.active() if environment else {}
    wishes = wishes_of(declared, markers)
    entries: dict[str, Locked] = {}
    elsewhere = []
    for entry in lock.entries:
        if not applies(entry.marker, markers):
            elsewhere.append(entry.name)
        else:
            entries.setdefault(entry.name, entry)
    packages = [
        _locked(entry, _same(entry, installed.get(name)), *wishes.get(name, ((), ())))
        for name, entry in entries.items()
    ]
    return packages, [*_elsewhere(set(elsewhere) - set(entries)), *_unknown(packages, environment)]


def _locked(entry: Locked, found: Distribution | None, sections: Iterable[str], extras: Iterable[str]) -> Package:
    return Package(
        name=entry.name,
        spelled=found.spelled if found else entry.name,
        version=entry.version or (found.version if found else None),
        requires=found.requires if found else (),
        known=found is not None,
        declared=tuple(sections),
        asked=tuple(sorted({*entry.extras, *extras})),
        problems=found.problems if found else (),
    )


def _same(entry: Locked, found: Distribution | None) -> Distribution | None:
    """Give what is installed if it is what is locked: the version, or the commit of a repository."""
    if found is None:
        return None
    if entry.version is not None:
        return found if same_version(found.version, entry.version) else None
    commit = found.origin.commit if found.origin else None
    return None if entry.ref and commit and commit != entry.ref else found


def _elsewhere(names: Iterable[str]) -> Iterator[str]:
    listed = sorted(names)
    if listed:
        yield f"left out, since their markers are false here: {_some(listed)}"


def _unknown(packages: Iterable[Package], environment: Environment | None) -> Iterator[str]:
    unknown = sorted(each.name for each in packages if not each.known)
    if unknown:
        where = f"{environment.label} has other versions or none" if environment else "there is no environment"
        yield (
            f"a lock names no requirements, and those of {len(unknown)} entries are not known, since {where} "
            f"({_some(unknown)}); install what is locked: pipenv sync --dev"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


@click.command()
@with_request
@click.argument("names", nargs=-1, metavar="[NAME[EXTRA]]...")
@click.option("--why", multiple=True, metavar="NAME", help="Upwards: who requires it, up to what nothing requires.")
@click.option("--lock", is_flag=True, help="The lock instead of what is installed.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="How many levels below the first.")
def command(request: Request, *, names: tuple[str, ...], why: tuple[str, ...], lock: bool, depth: int | None) -> int:
    """Show the dependency tree: what each requires, with what is installed, conflicts and circles marked with !.

    Looked at is what --python names, else the project's own environment, else the main interpreter. A lock names no
    requirements: with --lock those of each locked version are taken from that environment, where it has this version.
    """
    if names and why:
        raise click.UsageError("wanted names to go down from or --why to go up from, found both; leave out one")
    project = request.read_project() if lock else request.read_project_if_any()
    environment = _environment(request, project)
    if lock and project is not None:
        graph, remarks = lock_graph(project, environment)
    else:
        graph, remarks = environment_graph(environment, project), []
    for remark in [*_unasked(environment), *remarks]:
        tell(remark)
    place = f"the lock as {environment.label} knows it" if lock else environment.label
    tops = [_wish(graph, name, place) for name in why or names] or list(graph.tops)
    steps = list((walk_up if why else walk_down)(graph, tops, depth=depth))
    for remark in _problems(graph, steps):
        tell(remark)
    request.answer(_data(graph, steps, environment, lock=lock), lines_of(graph, steps, up=bool(why)))
    return 0


def _environment(request: Request, project: Project | None) -> Environment:
    if len(request.pythons) > 1:
        raise click.UsageError(f"wanted one --python, found {len(request.pythons)}; look at one after the other")
    if request.pythons:
        place: Place | None = place_of(request.pythons[0])
    else:
        place, remarks = own_place(project) if project is not None else (None, [])
        for remark in remarks:
            tell(remark if place else f"{remark}; this is main")
    environment = read_environment(place or _main(), timeout_s=request.timeout_s)
    for problem in environment.problems:
        tell(problem)
    return environment


def _main() -> Place:
    places, _ = find_places(None, conda=False)
    if not places:
        raise InterpreterError("wanted an environment, found no Python on the path; name one with --python")
    return places[0]


def _unasked(environment: Environment) -> Iterable[str]:
    if not environment.markers:
        values = markers_of(environment)
        yield (
            f"{environment.label}: no interpreter to ask, so markers are compared with "
            f"Python {values['python_version']} on {values['sys_platform']}"
        )


def _wish(graph: Graph, text: str, place: str) -> Wish:
    """Read `name` or `name[extra,extra]`, in whatever spelling."""
    match = re.fullmatch(r"\s*([^\[\]]+?)\s*(?:\[([^\[\]]*)\])?\s*", text)
    name = normal_name(match[1]) if match else ""
    if match is None or name not in graph.nodes:
        close = difflib.get_close_matches(name, graph.nodes, n=1)
        hint = f"did you mean {close[0]}?" if close else "see what there is: tree --depth 0"
        raise NotInstalledError(f"wanted a name in {place}, found no {text!r}; {hint}")
    return name, frozenset(normal_name(each) for each in (match[2] or "").split(",") if each.strip())


def _problems(graph: Graph, steps: Sequence[Step]) -> Iterable[str]:
    shown = {step.name for step in steps}
    for name, node in graph.nodes.items():
        if name in shown:
            yield from (f"{node.spelled}: {problem}" for problem in node.problems)


def _data(graph: Graph, steps: Sequence[Step], environment: Environment, *, lock: bool) -> Mapping[str, Any]:
    shown = {step.name for step in steps}
    walked = {step.edge for step in steps if step.edge is not None}
    return {
        "of": "lock" if lock else "environment",
        "environment": {
            "label": environment.label,
            "kind": environment.kind,
            "python": environment.python,
            "version": environment.version,
        },
        "tops": list(dict.fromkeys(step.name for step in steps if step.level == 0)),
        "nodes": [node for name, node in graph.nodes.items() if name in shown],
        "edges": [edge for edge in graph.edges if edge in walked],
    }
