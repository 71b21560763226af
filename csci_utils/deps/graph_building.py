"""Joining distributions to a graph: requirements read, markers compared, extras followed, circles found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from csci_utils.deps.circles import circles
from csci_utils.deps.facts import normal_name
from csci_utils.deps.graph import Edge, Feature, Graph, Node, Request, State

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
    """One requirement as it was read; `always` tells whether it is there without any extra."""

    requirement: Requirement
    target: str
    extras: tuple[str, ...]
    always: bool

    def holds(self, extra: str, markers: Mapping[str, str]) -> bool:
        """Tell whether an extra brings it; the empty one is the distribution itself."""
        if self.always or not extra:
            return self.always and not extra
        marker = self.requirement.marker
        return marker is not None and marker.evaluate({**markers, "extra": extra})


@dataclass(frozen=True, kw_only=True)
class _Followed:
    """What came of following all extras: by wish, the extras that bring it; what each feature leads to and implies."""

    bringers: Mapping[tuple[str, int], set[str]]
    below: Mapping[Feature, set[Feature]]
    within: Mapping[Feature, set[str]]


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
    followed = _follow(wishes, asked, markers)
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
    number = circles(followed.below)
    return Graph(
        nodes=dict(sorted(nodes.items())),
        edges=tuple(replace(edge, cycle=_in_circle(edge, number)) for edge in edges),
        tops=_tops(followed.below, number, asked),
        implied={feature: frozenset(_closure(feature, followed.within)) for feature in followed.below},
    )


def _read(package: Package, markers: Mapping[str, str]) -> tuple[list[_Wish], list[str]]:
    """Give the requirements of one distribution that can be read, and what is wrong with the others."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement

    wishes, problems = [], []
    for text in package.requires:
        try:
            requirement = Requirement(text)
            wishes.append(
                _Wish(
                    requirement=requirement,
                    target=normal_name(requirement.name),
                    extras=tuple(sorted(normal_name(each) for each in requirement.extras)),
                    always=requirement.marker is None or requirement.marker.evaluate({**markers, "extra": ""}),
                )
            )
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            problems.append(f"its requirement {text!r} cannot be read and is left out")
    return wishes, problems


def _follow(wishes: Mapping[str, list[_Wish]], asked: Iterable[Feature], markers: Mapping[str, str]) -> _Followed:
    bringers: dict[tuple[str, int], set[str]] = {}
    below: dict[Feature, set[Feature]] = {}
    within: dict[Feature, set[str]] = {}
    pending = [*((name, "") for name in wishes), *asked]
    while pending:
        feature = name, extra = pending.pop()
        if feature in below or name not in wishes:
            continue
        below[feature] = set()
        for n, wish in enumerate(wishes[name]):
            if not wish.holds(extra, markers):
                continue
            more = {(wish.target, each) for each in wish.extras}
            if wish.target == name and more:  # `all` is often written as a request for the other extras
                within.setdefault(feature, set()).update(wish.extras)
            else:
                bringers.setdefault((name, n), set()).add(extra)
                more.add((wish.target, ""))
            below[feature] |= more
            pending += more
    return _Followed(bringers=bringers, below=below, within=within)


def _edge(source: str, wish: _Wish, target: Package | None, bringers: Iterable[str]) -> Edge:
    requirement = wish.requirement
    return Edge(
        source=source,
        target=wish.target,
        required=f"@ {requirement.url}" if requirement.url else _in_order(requirement.specifier),
        installed=target.version if target else None,
        state=_state(requirement, target),
        extras=wish.extras,
        by_extras=tuple(sorted(each for each in bringers if each)),
        marker=str(requirement.marker) if requirement.marker else None,
    )


def _in_order(specifier: Iterable[object]) -> str:
    """Write the lower bound before the upper one."""
    return ",".join(sorted(map(str, specifier), reverse=True))


def _state(requirement: Requirement, target: Package | None) -> State:
    from packaging.version import InvalidVersion, Version

    if target is None:
        return "missing"
    if not requirement.specifier:
        return "ok"
    try:
        installed = Version(target.version or "")
    except InvalidVersion:
        return "unknown"
    return "ok" if requirement.specifier.contains(installed, prereleases=True) else "conflict"


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


def _in_circle(edge: Edge, number: Mapping[Feature, int]) -> bool:
    sources = {number.get((edge.source, each)) for each in edge.by_extras or ("",)}
    return any(number.get((edge.target, each), -1) in sources for each in ("", *edge.extras))


def _tops(
    below: Mapping[Feature, Iterable[Feature]], number: Mapping[Feature, int], asked: frozenset[Feature]
) -> tuple[Request, ...]:
    """Give one feature of each circle, of one or more, that nothing outside leads to; one entry a name."""
    reached = {
        number[low] for high, lows in below.items() for low in lows if low in below and number[low] != number[high]
    }
    members: dict[int, list[Feature]] = {}
    for feature in below:
        if number[feature] not in reached:
            members.setdefault(number[feature], []).append(feature)
    tops: dict[str, set[str]] = {}
    for each in members.values():
        name, extra = min(each, key=lambda feature: (feature not in asked, feature))
        tops.setdefault(name, set()).update({extra} - {""})
    return tuple((name, frozenset(tops[name])) for name in sorted(tops))


def _closure(feature: Feature, within: Mapping[Feature, Iterable[str]]) -> Iterator[str]:
    name, extra = feature
    found: set[str] = set()
    pending = [extra]
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += within.get((name, each), ())
            yield each
