"""Distributions as facts: where each came from, and which of one name hides the others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from csci_utils.deps.facts import Distribution, Origin, normal_name
from csci_utils.deps.text import without_secrets

_DOUBLED = "more than one metadata folder has its name, {} is found first; reinstall it"


def distributions_of(raw: Iterable[Mapping[str, Any]]) -> tuple[Distribution, ...]:
    """Make facts of what a probe found, and tell which of one name hides the others.

    Args:
        raw: the entries of `probe.report`, in the order in which Python finds them.
    """
    first: dict[str, Distribution] = {}
    found = []
    for each in map(_distribution, raw):
        before = first.setdefault(each.name, each)
        if before is each:
            found.append(each)
        elif not _is_source_of(before, each):
            found.append(_hidden(each, before))
    doubled = {each.hidden_by for each in found if each.hidden_by and _in_one_folder(each.path, each.hidden_by)}
    return tuple(
        replace(each, problems=(*each.problems, _DOUBLED.format(each.path))) if each.path in doubled else each
        for each in found
    )


def _hidden(each: Distribution, before: Distribution) -> Distribution:
    doubled = _in_one_folder(each.path, before.path)
    problems = (*each.problems, _DOUBLED.format(before.path)) if doubled else each.problems
    return replace(each, hidden_by=before.path, problems=problems)


def _in_one_folder(path: str, other: str) -> bool:
    return os.path.dirname(path) == os.path.dirname(other)


def _is_source_of(editable: Distribution, other: Distribution) -> bool:
    """Tell the metadata that an editable installation leaves in its source, which lies on the path with it."""
    return (
        editable.editable
        and other.site == "path"
        and os.path.realpath(os.path.dirname(other.path)).startswith(os.path.realpath(editable.location))
    )


def _distribution(raw: Mapping[str, Any]) -> Distribution:
    direct = raw["direct_url"] or {}
    vcs, info = (part if isinstance(part, dict) else {} for part in (direct.get("vcs_info"), direct.get("dir_info")))
    in_source = raw["site"] == "path" and str(raw["path"]).endswith(".egg-info")
    editable = bool(info.get("editable")) or in_source
    source = _path_of(direct["url"]) if direct and editable else raw["folder"]
    return Distribution(
        name=normal_name(raw["name"]),
        spelled=raw["name"],
        version=raw["version"],
        path=raw["path"],
        location=source or raw["folder"],
        site=raw["site"],
        requires=tuple(map(without_secrets, raw["requires"])),
        extras=tuple(raw["extras"]),
        modules=tuple(raw["modules"]) if raw["modules"] is not None else None,
        installer=raw["installer"],
        editable=editable,
        origin=_origin(direct["url"], vcs) if direct else None,
        problems=tuple(raw["problems"]),
    )


def _path_of(url: str) -> str | None:
    """Give the folder that an address names; None where it is no address, or what it names can be none."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return None
    return path if path.isprintable() else None


def _origin(url: str, vcs: Mapping[str, Any]) -> Origin:
    name, commit = (each if isinstance(each, str) else None for each in (vcs.get("vcs"), vcs.get("commit_id")))
    return Origin(url=without_secrets(url), vcs=name, commit=commit)
