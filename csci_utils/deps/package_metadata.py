"""What a project says of itself as a package: pyproject.toml, setup.cfg and setup.py, read and never run."""

from __future__ import annotations

import ast
import configparser
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PackageMetadata:
    """What a project says of itself; what its setup.py computes is not among it.

    Attributes:
        name: as it is spelled, or None.
        requires_python: the versions of Python, `>=3.11`, or None.
        classifiers: as they stand.
        requires: its requirements, as PEP 508 writes them.
        extras: the requirements of each extra.
        files: those that said so.
    """

    name: str | None = None
    requires_python: str | None = None
    classifiers: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def read_package_metadata(folder: Path) -> PackageMetadata:
    """Read what the files of a folder say; the standard's file goes before the older ones.

    A file that cannot be read says nothing: what is wrong with it is for the tool that builds the package to say.
    """
    found: dict[str, Any] = {}
    files = []
    for name, read in (("setup.py", _setup_py), ("setup.cfg", _setup_cfg), ("pyproject.toml", _pyproject)):
        try:
            said = {key: value for key, value in read(folder / name).items() if value}
        except (OSError, ValueError, SyntaxError, configparser.Error, RecursionError):
            continue
        if said:
            found |= said
            files.append(folder / name)
    return PackageMetadata(
        name=_text(found.get("name")),
        requires_python=_text(found.get("requires_python")),
        classifiers=_texts(found.get("classifiers")),
        requires=_texts(found.get("requires")),
        extras={str(k): _texts(v) for k, v in found["extras"].items()} if isinstance(found.get("extras"), dict) else {},
        files=tuple(files),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.splitlines()
    return tuple(str(each).strip() for each in value if str(each).strip()) if isinstance(value, (list, tuple)) else ()


def _pyproject(path: Path) -> dict[str, Any]:
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    keys = {
        "name": "name",
        "requires-python": "requires_python",
        "classifiers": "classifiers",
        "dependencies": "requires",
        "optional-dependencies": "extras",
    }
    return {ours: project.get(theirs) for theirs, ours in keys.items()} if isinstance(project, dict) else {}


def _setup_cfg(path: Path) -> dict[str, Any]:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(path.read_text(encoding="utf-8"))
    extras = "options.extras_require"
    return {
        "name": config.get("metadata", "name", fallback=None),
        "requires_python": config.get("options", "python_requires", fallback=None),
        "classifiers": config.get("metadata", "classifiers", fallback=None),
        "requires": config.get("options", "install_requires", fallback=None),
        "extras": {key: config.get(extras, key) for key in config[extras]} if config.has_section(extras) else None,
    }


def _setup_py(path: Path) -> dict[str, Any]:
    """Read the literal arguments of `setup(...)`, and those that are names of literals."""
    tree = ast.parse(path.read_bytes())
    literals: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            literals |= {each.id: _literal(node.value) for each in targets if isinstance(each, ast.Name)}
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) == "setup":
            arguments |= {each.arg: each.value for each in node.keywords if each.arg}
    keys = {
        "name": "name",
        "python_requires": "requires_python",
        "classifiers": "classifiers",
        "install_requires": "requires",
        "extras_require": "extras",
    }
    return {
        ours: literals.get(arguments[theirs].id)
        if isinstance(arguments[theirs], ast.Name)
        else _literal(arguments[theirs])
        for theirs, ours in keys.items()
        if theirs in arguments
    }


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
