"""Joining distributions to a graph: requirements read, markers compared, extras followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from csci_utils.deps.facts import Declared, Environment, normal_name
from csci_utils.deps.graph import Edge, Feature, Graph, Node, State, joined
from csci_utils.deps.standards import applies, fits, holds, in_order, is_brought, requirement_of

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True, kw_only=True)
class Package:
    """One distribution before it is joined with others.

    Attributes:
        name: in normal form.
        spelled: as its metadata writes it.
        version: None where nothing says it.
        requires: as PEP 508 writes them.
        known: whether `requires` is what it requires; False where nothing tells.
        declared: the sections of the Pipfile that name it.
        asked: the extras that those ask for, in normal form.
        problems: what is wrong with it, one sentence each.
    """

    name: str
    spelled: str
    version: str | None
    requires: tuple[str, ...] = ()
    known: bool = True
    declared: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """One requirement as it was read."""

    requirement: Requirement
    target: str
    extras: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Followed:
    """What came of following all extras: by wish, the extras that bring it; what each feature leads to and implies."""

    bringers: Mapping[tuple[str, int], set[str]]
    below: Mapping[Feature, set[Feature]]
    within: Mapping[Feature, set[str]]


def environment_packages(environment: Environment, declared: Iterable[Declared] = ()) -> list[Package]:
    """Give what an environment finds.

    Args:
        environment: where it is installed.
        declared: what the Pipfile that the environment belongs to asks for.
    """
    wishes = wishes_of(declared, environment.markers)
    packages = []
    for each in environment.active().values():
        sections, extras = wishes.get(each.name, ((), ()))
        packages.append(
            Package(
                name=each.name,
                spelled=each.spelled,
                version=each.version,
                requires=each.requires,
                declared=tuple(sections),
                asked=tuple(extras),
                problems=each.problems,
            )
        )
    return packages


def build_graph(packages: Iterable[Package], markers: Mapping[str, str]) -> Graph:
    """Join distributions by what they require.

    Args:
        packages: each name once.
        markers: what markers are compared with, all of them.
    """
    found = {each.name: each for each in sorted(packages, key=lambda each: each.name)}
    read = {name: _read(package, markers) for name, package in found.items()}
    wishes = {name: wanted for name, (wanted, _) in read.items()}
    asked = frozenset((name, extra) for name, package in found.items() for extra in package.asked)
    followed = _follow(wishes.get, [*((name, "") for name in wishes), *asked], markers)
    edges = sorted(
        {
            _edge(name, wish, found.get(wish.target), followed.bringers[name, n])
            for name, wanted in wishes.items()
            for n, wish in enumerate(wanted)
            if (name, n) in followed.bringers
        },
        key=lambda edge: (edge.source, edge.target, edge.by_extras, edge.required, edge.extras, edge.marker or ""),
    )
    extras = {name: sorted(extra for of, extra in followed.below if of == name and extra) for name in found}
    nodes = {name: _node(package, extras[name], read[name][1]) for name, package in found.items()}
    for name, wanted in wishes.items():
        for wish in (each for n, each in enumerate(wanted) if (name, n) in followed.bringers):
            nodes.setdefault(wish.target, Node(name=wish.target, spelled=wish.requirement.name, missing=True))
    return joined(nodes, edges, below=followed.below, within=followed.within, asked=asked)


def brought_by(wanted: Iterable[tuple[str, tuple[str, ...]]], environment: Environment) -> dict[str, list[str]]:
    """Follow what is wanted through an environment, extras and markers considered.

    Args:
        wanted: names with their extras, both in normal form.
        environment: what is installed; what it lacks brings nothing.

    Returns:
        By name, which of the distributions that are reached require it; what is wanted itself is there only if
        something else requires it too.
    """
    packages = {each.name: each for each in environment_packages(environment)}
    wishes = cache(lambda name: _read(packages[name], environment.markers)[0] if name in packages else None)
    starts = [(name, extra) for name, extras in wanted for extra in ("", *extras)]
    found: dict[str, list[str]] = {}
    for name, n in _follow(wishes, starts, environment.markers).bringers:
        by = found.setdefault((wishes(name) or [])[n].target, [])
        if name not in by:
            by.append(name)
    return found


def _read(package: Package, markers: Mapping[str, str]) -> tuple[list[_Wish], list[str]]:
    """Give the requirements of one distribution that can be read, and what is wrong with the others."""
    wishes, problems = [], []
    for text in package.requires:
        requirement = requirement_of(text)
        if requirement is None or holds(requirement.marker, markers) is None:
            problems.append(f"its requirement {text!r} cannot be read and is left out")
            continue
        extras = tuple(sorted(map(normal_name, requirement.extras)))
        wishes.append(_Wish(requirement=requirement, target=normal_name(requirement.name), extras=extras))
    return wishes, problems


def _follow(
    wishes: Callable[[str], Sequence[_Wish] | None], starts: Iterable[Feature], markers: Mapping[str, str]
) -> _Followed:
    """Follow features to all that they lead to; `wishes` gives None for what is not there."""
    bringers: dict[tuple[str, int], set[str]] = {}
    below: dict[Feature, set[Feature]] = {}
    within: dict[Feature, set[str]] = {}
    pending = [*starts]
    while pending:
        feature = name, extra = pending.pop()
        wanted = wishes(name)
        if feature in below or wanted is None:
            continue
        below[feature] = set()
        for n, wish in enumerate(wanted):
            if not is_brought(wish.requirement, markers, extra):
                continue
            more = {(wish.target, each) for each in wish.extras}
            if wish.target == name and more:  # `all` is often written as a request for the other extras
                within.setdefault(feature, set()).update(wish.extras)
            else:
                bringers.setdefault((name, n), set()).add(extra)
                more.add((wish.target, ""))
            below[feature] |= more
            pending += sorted(more)
    return _Followed(bringers=bringers, below=below, within=within)


def _edge(source: str, wish: _Wish, target: Package | None, bringers: Iterable[str]) -> Edge:
    requirement = wish.requirement
    return Edge(
        source=source,
        target=wish.target,
        required=f"@ {requirement.url}" if requirement.url else in_order(requirement.specifier),
        installed=target.version if target else None,
        state=_state(requirement, target),
        extras=wish.extras,
        by_extras=tuple(sorted(each for each in bringers if each)),
        marker=str(requirement.marker) if requirement.marker else None,
    )


def _state(requirement: Requirement, target: Package | None) -> State:
    if target is None:
        return "missing"
    if not requirement.specifier:
        return "ok"
    fitting = fits(target.version, str(requirement.specifier))
    return "unknown" if fitting is None else "ok" if fitting else "conflict"


def _node(package: Package, extras: Iterable[str], problems: Iterable[str]) -> Node:
    return Node(
        name=package.name,
        spelled=package.spelled,
        version=package.version,
        known=package.known,
        extras=tuple(extras),
        declared=package.declared,
        problems=(*package.problems, *problems),
    )


def wishes_of(declared: Iterable[Declared], markers: Mapping[str, str]) -> dict[str, tuple[list[str], list[str]]]:
    """Give by name the sections that declare it, and the extras that they ask for in this environment."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for each in declared:
        sections, extras = found.setdefault(each.name, ([], []))
        sections += [each.section] if each.section not in sections else []
        extras += each.extras if applies(each.marker, markers) else ()
    return {name: (sections, sorted(set(extras))) for name, (sections, extras) in found.items()}
