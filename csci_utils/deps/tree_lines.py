"""Walking a graph down or up, each subtree once, and the walk as lines for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from csci_utils.deps.graph import Edge, Graph, Node, Request

Note = Literal["", "above", "circular"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of a tree.

    Attributes:
        level: 0 for a top.
        name: whose line it is.
        extras: those that it is asked for with here; upwards, those that bring what stands above it.
        edge: what leads to it; None for a top.
        last: whether it is the last below its parent.
        note: whether what is below it stands above already, or it closes a circle.
    """

    level: int
    name: str
    extras: frozenset[str]
    edge: Edge | None
    last: bool
    note: Note = ""


def walk_down(graph: Graph, tops: Iterable[Request], *, depth: int | None = None) -> Iterator[Step]:
    """Walk from names to what they require.

    Args:
        graph: where.
        tops: where to begin.
        depth: how many levels below the tops; None for all.
    """

    def following(at: Request) -> list[tuple[Request, Edge]]:
        return [((edge.target, frozenset(edge.extras)), edge) for edge in graph.below(*at)]

    return _walk(tops, following, depth)


def walk_up(graph: Graph, tops: Iterable[Request], *, depth: int | None = None) -> Iterator[Step]:
    """Walk from names to who requires them, up to what nothing requires.

    Args:
        graph: where.
        tops: where to begin; with extras, only requests for one of those count.
        depth: how many levels; None for all.
    """
    return _walk(
        tops, lambda at: [((edge.source, frozenset(edge.by_extras)), edge) for edge in graph.above(*at)], depth
    )


def _walk(
    tops: Iterable[Request], following: Callable[[Request], Sequence[tuple[Request, Edge]]], depth: int | None
) -> Iterator[Step]:
    shown: dict[Request, float] = {}  # with how many levels below it
    for top in tops:
        pending: list[tuple[int, Request, Edge | None, bool]] = [(0, top, None, True)]
        path: list[Request] = []
        on_path: set[Request] = set()
        while pending:
            level, at, edge, last = pending.pop()
            on_path.difference_update(path[level:])
            del path[level:]
            left = float("inf") if depth is None else depth - level
            more = following(at) if left > 0 else []
            note: Note = "circular" if at in on_path else "above" if more and shown.get(at, -1) >= left else ""
            yield Step(level=level, name=at[0], extras=at[1], edge=edge, last=last, note=note)
            if note:
                continue
            shown[at] = left
            path.append(at)
            on_path.add(at)
            pending += reversed([(level + 1, each, by, n == len(more)) for n, (each, by) in enumerate(more, start=1)])


def lines_of(graph: Graph, steps: Iterable[Step], *, up: bool = False) -> list[str]:
    """Draw steps as lines; what is wrong is marked with `!`.

    Args:
        graph: where they were walked.
        steps: from `walk_down` or `walk_up`.
        up: whether they were walked upwards.
    """
    lines = []
    rails: list[str] = []
    for step in steps:
        del rails[max(step.level - 1, 0) :]
        branch = ("`-- " if step.last else "|-- ") if step.level else ""
        lines.append("".join((*rails, branch, *_words(graph.nodes[step.name], step, up=up))))
        if step.level:
            rails.append("    " if step.last else "|   ")
    return lines


def _words(node: Node, step: Step, *, up: bool) -> Iterator[str]:
    extras = f"[{','.join(sorted(step.extras))}]" if step.extras else ""
    yield f"{node.spelled}{extras} {'-' if node.missing else node.version or '?'}"
    edge = step.edge
    if edge is not None:
        required = edge.required or "any"
        if up:
            target = f"{edge.target}[{','.join(edge.extras)}]" if edge.extras else edge.target
            yield f" (wants {target} {required})"
        else:
            yield f" ({required}{', by extra ' + ', '.join(edge.by_extras) if edge.by_extras else ''})"
    if node.declared and (up or edge is None):
        yield f" (Pipfile: {', '.join(node.declared)})"
    if not node.known:
        yield " (requirements unknown)"
    if edge is not None and edge.state != "ok":
        yield f" ! {'version unknown' if edge.state == 'unknown' else edge.state}"
    if step.note == "circular":
        yield " ! circular"
    elif step.note:
        yield " (above)"
