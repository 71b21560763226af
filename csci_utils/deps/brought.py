"""What a declaration brings besides itself: the requirements of requirements, by the metadata of an environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from csci_utils.deps.facts import Distribution, Environment, normal_name

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def brought_by(wanted: Iterable[tuple[str, tuple[str, ...]]], environment: Environment) -> dict[str, list[str]]:
    """Follow what is wanted through an environment, extras and markers considered.

    Args:
        wanted: names with their extras, both in normal form.
        environment: what is installed; what it lacks brings nothing.

    Returns:
        By name, which of the distributions that are reached require it; what is wanted itself is there only if
        something else requires it too.
    """
    active = environment.active()
    left = [(name, extra) for name, extras in wanted for extra in ("", *extras)]
    seen = set(left)
    found: dict[str, list[str]] = {}
    while left:
        name, extra = left.pop()
        for needed in _required(active.get(name), extra, environment.markers):
            target = normal_name(needed.name)
            if name not in found.setdefault(target, []):
                found[target].append(name)
            for each in ("", *map(normal_name, needed.extras)):
                if (target, each) not in seen:
                    seen.add((target, each))
                    left.append((target, each))
    return found


@cache
def requirement_of(text: str) -> Requirement | None:
    """Read a requirement as PEP 508 writes it; None for what is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def applies(marker: object, markers: Mapping[str, str], extra: str = "") -> bool:
    """Tell whether a requirement with a marker is meant for an environment; yes, where that cannot be told.

    Args:
        marker: as PEP 508 writes it, or None.
        markers: the environment's; what they do not say is taken from the interpreter that runs this.
        extra: the one that is asked for, or empty.
    """
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    if marker is None:
        return True
    try:
        return (marker if isinstance(marker, Marker) else Marker(str(marker))).evaluate({**markers, "extra": extra})
    except (InvalidMarker, UndefinedEnvironmentName, ValueError):
        return True


def _required(distribution: Distribution | None, extra: str, markers: Mapping[str, str]) -> Iterator[Requirement]:
    for text in distribution.requires if distribution else ():
        needed = requirement_of(text)
        if needed is not None and applies(needed.marker, markers, extra):
            yield needed
