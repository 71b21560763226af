"""What a report is made from, as digests: by them it is told whether a report that lies there still holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from csci_utils.deps.environments import read_environments
from csci_utils.deps.facts import Environment, as_data
from csci_utils.deps.options import Request
from csci_utils.deps.places import find_places
from csci_utils.deps.project import Project, find_project, read_project

PARTS = ("declared", "locked", "environments", "modules", "travis", "sources")
"""What can be compared, `modules` being environments with what can be imported; a report names what it is made from."""


def state_of(request: Request, parts: Iterable[str], *, without: Path) -> dict[str, str]:
    """Read what there is now, and give a digest of each part.

    Facts are compared, not files: a comment in a lock changes nothing, an included requirements file does.

    Args:
        request: which project, and which places by name.
        parts: of `PARTS`.
        without: a folder whose files are no sources: the reports themselves.

    Raises:
        DepsError: the project, or a place that was named, cannot be read.
        OSError: a file of the project cannot be read.
    """
    project = read_project(find_project(Path(request.project) if request.project else None))
    return {part: _digest(_READ[part](project, request, without)) for part in parts}


def why_other(made_from: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say what has changed, `environments changed`; None if nothing has."""
    changed = [part for part in now if made_from.get(part) != now[part]]
    return f"{', '.join(changed)} changed" if changed else None


def _declared(project: Project, _request: Request, _without: Path) -> Any:
    return {"folder": project.folder, "declared": project.declared, "package": project.package}


def _locked(project: Project, _request: Request, _without: Path) -> Any:
    return {"lock": project.lock, "problem": project.lock_problem, "in_step": project.lock_is_in_step}


def _environments(project: Project, request: Request, _without: Path) -> Any:
    return _read_environments(project, request, modules=False)


def _modules(project: Project, request: Request, _without: Path) -> Any:
    return _read_environments(project, request, modules=True)


def _read_environments(project: Project, request: Request, *, modules: bool) -> list[Environment]:
    places, _ = find_places(project, named=request.pythons)
    return read_environments(places, modules=modules, timeout_s=request.timeout_s)


def _travis(project: Project, _request: Request, _without: Path) -> Any:
    from csci_utils.deps.travis_plan import plan_of

    path = project.folder / ".travis.yml"
    return {"file": path.read_bytes().hex() if path.is_file() else None, "plan": plan_of(project)}


def _sources(project: Project, _request: Request, without: Path) -> Any:
    from csci_utils.deps.check_settings import read_settings
    from csci_utils.deps.sources import read_tree

    tree = read_tree(project.folder, read_settings(project.folder))
    return dict(_digests(project.folder, tree.files, os.path.realpath(without)))


def _digests(folder: Path, files: Iterable[str], without: str) -> Iterator[tuple[str, str]]:
    for name in files:
        if not os.path.realpath(folder / name).startswith(f"{without}{os.sep}"):
            with open(folder / name, "rb") as file:
                yield name, hashlib.file_digest(file, "sha256").hexdigest()


_READ = {
    "declared": _declared,
    "locked": _locked,
    "environments": _environments,
    "modules": _modules,
    "travis": _travis,
    "sources": _sources,
}


def _digest(facts: Any) -> str:
    text = json.dumps(as_data(facts), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
