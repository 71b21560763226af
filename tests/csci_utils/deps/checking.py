"""Small projects, their locks and environments, and what `check` finds in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from csci_utils.deps.check import check
from csci_utils.deps.environments import read_environment
from csci_utils.deps.facts import Environment
from csci_utils.deps.pipfile import digests, read_pipfile
from csci_utils.deps.places import Place
from csci_utils.deps.project import read_project
from tests.csci_utils.deps.making import make_dist


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their paths from a folder; the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_lock(
    folder: Path, default: Mapping[str, str], develop: Mapping[str, str] = {}, requires: Mapping[str, str] = {}
) -> None:
    """Write a lock that is in step with the folder's Pipfile: names and versions."""
    digest = digests(read_pipfile(folder / "Pipfile"))[0]
    lock = {
        "_meta": {"hash": {"sha256": digest}, "pipfile-spec": 6, "requires": requires, "sources": []},
        "default": {name: {"version": f"=={version}"} for name, version in default.items()},
        "develop": {name: {"version": f"=={version}"} for name, version in develop.items()},
    }
    (folder / "Pipfile.lock").write_text(json.dumps(lock, indent=4))


def environment_with(folder: Path, modules: Mapping[str, Sequence[str]], **requires: Sequence[str]) -> Environment:
    """An environment that is a folder: `name==version` to the files that it has; names to requirements."""
    folder.mkdir(exist_ok=True)
    for spelled, files in modules.items():
        name, _, version = spelled.partition("==")
        make_dist(folder, name, version or "1.0", files=files, requires=requires.get(name, ()))
    return read_environment(Place(label="named", kind="folder", python=None, folder=folder), modules=True)


def found(folder: Path, environment: Environment | None = None) -> list[tuple[str, str]]:
    """The kinds and names that `check` finds."""
    return [(each.kind, each.name) for each in check(read_project(folder), environment).findings]
