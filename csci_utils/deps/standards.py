"""Versions, markers and requirements, read and compared as the standards of packaging say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version

    from csci_utils.deps.facts import Environment


@cache
def requirement_of(text: str) -> Requirement | None:
    """Read a requirement as PEP 508 writes it; None for what is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def markers_of(environment: Environment | None) -> dict[str, str]:
    """Give all values that markers are compared with; this Python's where an environment cannot be asked."""
    from packaging.markers import default_environment

    ours = {key: str(value) for key, value in default_environment().items()}
    if environment is None or environment.markers:
        return ours | dict(environment.markers if environment else {})
    version = environment.version
    return ours | ({"python_version": version, "python_full_version": f"{version}.0"} if version else {})


def holds(marker: object, markers: Mapping[str, str], extra: str = "") -> bool | None:
    """Tell whether a marker is true in an environment; None where that cannot be told.

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
        return None


def applies(marker: object, markers: Mapping[str, str]) -> bool:
    """Tell whether what has this marker is meant for an environment; yes, where that cannot be told."""
    return holds(marker, markers) is not False


def is_brought(requirement: Requirement, markers: Mapping[str, str], extra: str) -> bool:
    """Tell whether just this extra brings a requirement; the empty one is the distribution itself."""
    always = applies(requirement.marker, markers)
    return always if not extra else not always and holds(requirement.marker, markers, extra) is not False


def in_order(specifier: Iterable[object]) -> str:
    """Write versions that are wanted as people do, the lower bound before the upper one: `>=2,<3`."""
    return ",".join(sorted(map(str, specifier), reverse=True))


def version_of(text: str | None) -> Version | None:
    """Read a version; None for what is none."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text or "")
    except InvalidVersion:
        return None


def same_version(one: str | None, other: str | None) -> bool:
    """Tell whether two versions are one; where they cannot be read, whether they are one text."""
    versions = version_of(one), version_of(other)
    return one == other or (None not in versions and versions[0] == versions[1])


def fits(version: str | None, specifier: str) -> bool | None:
    """Tell whether a version is wanted, a pre-release or not; None where one of the two cannot be read."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    found = version_of(version)
    try:
        return None if found is None else SpecifierSet(specifier).contains(found, prereleases=True)
    except InvalidSpecifier:
        return None
