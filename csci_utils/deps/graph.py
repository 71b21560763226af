"""Who requires whom: distributions as nodes, requirements as edges, each compared with what is there.

An extra counts where it is asked for and nowhere else: the requirements of `moto[server]` stand below whoever asks for
`moto[server]`. A requirement whose marker is false is not there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar

State = Literal["ok", "missing", "conflict", "unknown"]
Feature = tuple[str, str]
"""A name and one of its extras; the empty extra is the distribution itself."""
Request = tuple[str, frozenset[str]]
"""A name, and the extras that it is asked for with."""

Thing = TypeVar("Thing")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One name in the graph.

    Attributes:
        name: in normal form.
        spelled: as its metadata writes it; of what is missing, as its first requirement does.
        version: what is there; None where nothing says it, or it is missing.
        missing: whether it is required and not there.
        known: whether what it requires is known.
        extras: those that somebody asks for.
        declared: the sections of the Pipfile that name it.
        problems: what is wrong with it, one sentence each.
    """

    name: str
    spelled: str
    version: str | None = None
    missing: bool = False
    known: bool = True
    extras: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One requirement.

    Attributes:
        source: who requires.
        target: what is required.
        required: the versions, empty for any; `@ URL` for an address.
        installed: the version that is there, or None.
        state: `ok`; `missing`; `conflict` where another version is there; `unknown` where they cannot be compared.
        extras: those of the target that are asked for.
        by_extras: those of the source that bring it; empty if it is always required.
        marker: as written, or None.
        cycle: whether it is part of a circle.
    """

    source: str
    target: str
    required: str
    installed: str | None
    state: State
    extras: tuple[str, ...] = ()
    by_extras: tuple[str, ...] = ()
    marker: str | None = None
    cycle: bool = False


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Names and requirements.

    Attributes:
        nodes: by name, in the order of names.
        edges: in the order of source, target, extras and versions.
        tops: what nothing else requires, with the extras that the Pipfile asks for; one of each circle that nothing
            outside of it requires.
        implied: by feature, the extras that it stands for: `all` may be `server` and `client`; always itself.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    tops: tuple[Request, ...]
    implied: Mapping[Feature, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def _out(self) -> dict[str, list[Edge]]:
        return _grouped((each.source, each) for each in self.edges)

    @cached_property
    def _into(self) -> dict[str, list[Edge]]:
        return _grouped((each.target, each) for each in self.edges)

    def wanted(self, name: str, extras: Iterable[str]) -> frozenset[str]:
        """Give all extras that a request for some stands for."""
        return frozenset(part for each in ("", *extras) for part in self.implied.get((name, each), {each}))

    def below(self, name: str, extras: Iterable[str]) -> list[Edge]:
        """Give what a distribution requires when it is asked for with these extras."""
        wanted = self.wanted(name, extras)
        return [each for each in self._out.get(name, []) if not each.by_extras or wanted & set(each.by_extras)]

    def above(self, name: str, extras: Iterable[str]) -> list[Edge]:
        """Give who requires a distribution; with extras, only who asks for one of them."""
        some = set(extras)
        edges = self._into.get(name, [])
        return [each for each in edges if not some or some & self.wanted(name, each.extras)]


def joined(
    nodes: Mapping[str, Node],
    edges: Iterable[Edge],
    *,
    below: Mapping[Feature, set[Feature]],
    within: Mapping[Feature, set[str]],
    asked: frozenset[Feature],
) -> Graph:
    """Join nodes and edges to a graph.

    Args:
        nodes: by name.
        edges: in their order.
        below: what each feature leads to.
        within: the extras that a feature stands for.
        asked: the features that somebody declares.
    """
    number = circles(below)
    return Graph(
        nodes=dict(sorted(nodes.items())),
        edges=tuple(replace(edge, cycle=_in_circle(edge, number)) for edge in edges),
        tops=_tops(below, number, asked),
        implied={feature: frozenset(_closure(feature, within)) for feature in below},
    )


def _grouped(pairs: Iterable[tuple[str, Thing]]) -> dict[str, list[Thing]]:
    found: dict[str, list[Thing]] = {}
    for key, thing in pairs:
        found.setdefault(key, []).append(thing)
    return found


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


def circles(below: Mapping[Key, Iterable[Key]]) -> dict[Key, int]:
    """Give each node a number that it shares with those it lies in a circle with, and with no others.

    Tarjan's strongly connected components, without recursion: a chain may be longer than Python's stack.

    Args:
        below: what each node leads to; a node that leads nowhere may be missing.
    """
    order: dict[Key, int] = {}
    lowest: dict[Key, int] = {}
    number: dict[Key, int] = {}
    waiting: list[Key] = []
    for start in below:
        if start in order:
            continue
        path: list[tuple[Key, Iterator[Key]]] = []
        following: Key | None = start
        while following is not None or path:
            if following is not None:
                order[following] = lowest[following] = len(order)
                waiting.append(following)
                path.append((following, iter(below.get(following, ()))))
            key, rest = path[-1]
            following = _next_unseen(key, rest, order=order, lowest=lowest, number=number)
            if following is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[key])
                if lowest[key] == order[key]:
                    _close(key, waiting, number)
    return number


def _next_unseen(
    key: Key, rest: Iterator[Key], *, order: Mapping[Key, int], lowest: dict[Key, int], number: Mapping[Key, int]
) -> Key | None:
    for each in rest:
        if each not in order:
            return each
        if each not in number:  # seen and not closed: it leads to here
            lowest[key] = min(lowest[key], order[each])
    return None


def _close(key: Key, waiting: list[Key], number: dict[Key, int]) -> None:
    mine = len(number)
    while True:
        member = waiting.pop()
        number[member] = mine
        if member == key:
            return
