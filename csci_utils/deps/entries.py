"""What the entries of a Pipfile and of its lock have in common: versions, extras, markers, where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from csci_utils.deps.facts import VCS, Source, normal_name
from csci_utils.deps.text import quoted

MARKER_KEYS = (
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_version",
    "python_full_version",
    "implementation_name",
    "implementation_version",
)
"""Markers that an entry may give one by one, `sys_platform = "== 'win32'"`."""

KNOWN_KEYS = {
    *("version", "extras", "markers", "path", "file", "url", "ref", "editable", "index", "subdirectory", "hashes"),
    *("no_binary", "skip_resolver", "name", "pip_args", *VCS, *MARKER_KEYS),
}
"""A table with none of these is no entry."""


class SpecifierProblem(ValueError):  # noqa: N818 -- never leaves this package: it becomes a fact's `problem`
    """A version or a marker is written in a way that nothing can read."""


def as_specifier(version: str) -> str:
    """Give what versions are wanted in normal form: empty for any, `==1.2` for a bare `1.2`.

    Raises:
        SpecifierProblem: it is no specifier.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = version.strip()
    if text in ("", "*"):
        return ""
    bare = re.match(r"[0-9a-zA-Z]", text)
    try:
        SpecifierSet(f"=={text}" if bare else text)
    except InvalidSpecifier as err:
        raise SpecifierProblem(f"wanted versions like '>=1.2,<2', found {quoted(version)}; mend or leave out") from err
    return f"=={text}" if bare else ",".join(part.strip() for part in text.split(","))


def marker_of(entry: Mapping[str, Any]) -> str | None:
    """Join the markers of an entry, together or one by one, into one.

    Raises:
        SpecifierProblem: it is no marker.
    """
    from packaging.markers import InvalidMarker, Marker

    given = [str(entry["markers"])] if entry.get("markers") else []
    given += [f"{key} {entry[key]}" for key in MARKER_KEYS if entry.get(key)]
    if not given:
        return None
    text = given[0] if len(given) == 1 else " and ".join(f"({each})" for each in given)
    try:
        return str(Marker(text))
    except InvalidMarker as err:
        what = f"wanted a marker like \"sys_platform == 'linux'\", found {quoted(text)}; mend it"
        raise SpecifierProblem(what) from err


def as_extras(given: object) -> tuple[str, ...]:
    """Give extras in normal form, sorted; several may stand in one string."""
    words = [given] if isinstance(given, str) else given if isinstance(given, Iterable) else []
    return tuple(sorted({normal_name(part) for word in words for part in str(word).split(",") if part.strip()}))


def source_of(entry: Mapping[str, Any]) -> tuple[Source, str | None]:
    """Tell where an entry comes from, and its address."""
    key = next((each for each in (*VCS, "path", "file", "url") if each in entry), None)
    if key is None:
        return "index", None
    address = str(entry[key])
    if key in VCS:
        return key, address
    return ("url" if re.match(r"(?!file:)[a-z][a-z0-9+.-]+://", address, re.IGNORECASE) else "path"), address


def unusable(name: str, entry: Mapping[str, Any]) -> str | None:
    """Say what in an entry nothing can use, whatever else it holds: its name, or an address; None if all is well."""
    if not name.strip() or not name.isprintable():
        return f"wanted the name of a distribution, found {name!r}"
    texts = [str(entry[each]) for each in (*VCS, "path", "file", "url", "ref") if each in entry]
    odd = next((each for each in texts if not each.isprintable()), None)
    return f"wanted an address of {name}, found {quoted(odd)}" if odd is not None else None
