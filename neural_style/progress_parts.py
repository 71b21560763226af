"""Progress of a whole, told by those who do its parts."""

from __future__ import annotations

from collections.abc import Callable


def part_of(on_progress: Callable[[float], None] | None, start: float, end: float) -> Callable[[float], None] | None:
    """Return what tells ``on_progress`` about a part that takes it from ``start`` to ``end``, of 0 to 1."""
    if on_progress is None:
        return None
    told = on_progress
    return lambda fraction: told(start + (end - start) * fraction)
