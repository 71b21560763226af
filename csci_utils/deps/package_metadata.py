"""What a project says of itself as a package: pyproject.toml, setup.cfg and setup.py, read and never run."""

from __future__ import annotations

import ast
import configparser
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.deps.files import read_file, read_text, read_toml
from csci_utils.deps.text import without_secrets


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
        roots: the folders, from the project's, that its modules are imported from: where its packages are looked for,
            and what pytest puts on the path.
    """

    name: str | None = None
    requires_python: str | None = None
    classifiers: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    roots: tuple[str, ...] = ()


def read_package_metadata(folder: Path) -> PackageMetadata:
    """Read what the files of a folder say; the standard's file goes before the older ones.

    A file that cannot be read says nothing: what is wrong with it is for the tool that builds the package to say.
    """
    found: dict[str, Any] = {}
    files = []
    roots: list[str] = []
    for name, read in _READERS.items():
        try:
            said = {key: value for key, value in read(folder / name).items() if value}
        except (OSError, ValueError, SyntaxError, configparser.Error, RecursionError, MemoryError):
            continue
        roots += said.pop("roots", ())
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
        roots=tuple(dict.fromkeys(_below(roots))),
    )


def _below(roots: list[str]) -> Iterator[str]:
    """Give folders as paths from the project's, and leave out what lies elsewhere."""
    for each in map(PurePosixPath, roots):
        if not each.is_absolute() and ".." not in each.parts:
            yield str(each)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.splitlines()
    texts = [without_secrets(str(each).strip()) for each in value] if isinstance(value, (list, tuple)) else []
    return tuple(filter(None, texts))


def _pyproject(path: Path) -> dict[str, Any]:
    data = read_toml(path)
    project = data.get("project", {})
    keys = {
        "name": "name",
        "requires-python": "requires_python",
        "classifiers": "classifiers",
        "dependencies": "requires",
        "optional-dependencies": "extras",
    }
    said = {ours: project.get(theirs) for theirs, ours in keys.items()} if isinstance(project, dict) else {}
    return said | {"roots": list(_roots_in_pyproject(data))}


def _roots_in_pyproject(data: Mapping[str, Any]) -> Iterator[str]:
    tool = data.get("tool")
    yield from _texts(_dug(tool, "setuptools", "packages", "find", "where"))
    yield from _package_dirs(_dug(tool, "setuptools", "package-dir"))
    for table in (_dug(tool, "pytest", "ini_options"), _dug(tool, "pytest")):
        given = _dug(table, "pythonpath")
        yield from given.split() if isinstance(given, str) else _texts(given)
    packages = _dug(tool, "poetry", "packages")
    for each in packages if isinstance(packages, list) else ():
        yield from _texts([_dug(each, "from") or ""])
    for each in _texts(_dug(tool, "hatch", "build", "targets", "wheel", "packages")):
        yield str(PurePosixPath(each).parent)


def _dug(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _package_dirs(given: Any) -> Iterator[str]:
    """Give the roots that `package_dir` names: the one of all packages, or the folder above a package of that name."""
    for name, folder in given.items() if isinstance(given, dict) else ():
        if not name:
            yield str(folder)
        elif PurePosixPath(str(folder)).parts[-1:] == (str(name),):
            yield str(PurePosixPath(str(folder)).parent)


def _setup_cfg(path: Path) -> dict[str, Any]:
    config = _config(path)
    dirs = (each.partition("=") for each in config.get("options", "package_dir", fallback="").splitlines())
    where = config.get("options.packages.find", "where", fallback="").split()
    pythonpath = config.get("tool:pytest", "pythonpath", fallback="").split()
    extras = "options.extras_require"
    return {
        "name": config.get("metadata", "name", fallback=None),
        "requires_python": config.get("options", "python_requires", fallback=None),
        "classifiers": config.get("metadata", "classifiers", fallback=None),
        "requires": config.get("options", "install_requires", fallback=None),
        "extras": {key: config.get(extras, key) for key in config[extras]} if config.has_section(extras) else None,
        "roots": [*_package_dirs({name.strip(): each.strip() for name, _, each in dirs if each}), *where, *pythonpath],
    }


def _pytest_ini(path: Path) -> dict[str, Any]:
    return {"roots": _config(path).get("pytest", "pythonpath", fallback="").split()}


def _config(path: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(read_text(path))
    return config


def _setup_py(path: Path) -> dict[str, Any]:
    """Read the literal arguments of `setup(...)`, and those that are names of literals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the source's own, such as an odd backslash
        tree = ast.parse(read_file(path))
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
        "package_dir": "package_dir",
    }
    said = {
        ours: literals.get(arguments[theirs].id)
        if isinstance(arguments[theirs], ast.Name)
        else _literal(arguments[theirs])
        for theirs, ours in keys.items()
        if theirs in arguments
    }
    return said | {"roots": list(_package_dirs(said.pop("package_dir", None)))}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


_READERS = {
    "setup.py": _setup_py,
    "setup.cfg": _setup_cfg,
    "pyproject.toml": _pyproject,
    "pytest.ini": _pytest_ini,
    "tox.ini": _pytest_ini,
}
