"""Which nodes of a graph require each other in a circle."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


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
