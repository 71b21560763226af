"""The places where environments of a project are: which there are, before anything is asked."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csci_utils.deps.conda_and_pipenv import conda_environments, venv_of
from csci_utils.deps.errors import InterpreterError
from csci_utils.deps.facts import PlaceKind
from csci_utils.deps.pipfile import Pipfile
from csci_utils.deps.project import Project

_PYTHONS = ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an environment is, before anything is asked.

    Attributes:
        label: what it is called side by side with others.
        kind: how it was found.
        python: its interpreter, or None where there is none to ask.
        folder: its root, or the folder of installed distributions that was named.
    """

    label: str
    kind: PlaceKind
    python: Path | None
    folder: Path


def find_places(
    project: Project | None,
    *,
    named: Sequence[str] = (),
    conda: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> tuple[list[Place], list[str]]:
    """Find the main interpreter, the project's own environment, conda's environments, and those that were named.

    Nothing is started.

    Args:
        project: see `own_place`; None has no environment.
        named: interpreters, roots of environments, or folders of installed distributions.
        conda: whether to look for conda's.
        environ: the environment variables.

    Returns:
        The places, each once, and what the user should know of those that are missing.

    Raises:
        InterpreterError: one that was named is not there.
    """
    places = list(_main(environ))
    remarks = [] if places else ["no python3 on the path outside of virtual environments, so there is no main column"]
    if project is not None:
        own, more = own_place(project, environ=environ)
        places += [own] if own else []
        remarks += more
    if conda:
        for name, folder in conda_environments(environ).items():
            places.append(Place(label=f"conda:{name}", kind="conda", python=python_of(folder), folder=folder))
    places += [place_of(name) for name in named]
    return list(_each_once(places)), remarks


def own_place(
    project: Project, *, named: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> tuple[Place | None, list[str]]:
    """Find the environment that a project is to be seen in: the first that was named, else the project's own.

    With a Pipfile that is the one that pipenv would use. Without one it is the active one (`VIRTUAL_ENV`), else `.venv`
    or `venv` in the project's folder.

    Args:
        project: whose it is.
        named: interpreters, roots of environments, or folders of installed distributions.
        environ: the environment variables.

    Returns:
        The place, None if there is none, and what the user should know of it.

    Raises:
        InterpreterError: the one that was named is not there.
    """
    if named:
        return place_of(named[0]), []
    if project.pipfile is not None:
        return _pipenvs(project.pipfile, environ, make="sync" if project.lock else "install")
    active = environ.get("VIRTUAL_ENV")
    for folder in (*([Path(active)] if active else []), project.folder / ".venv", project.folder / "venv"):
        if folder.is_dir():
            return place_of(str(folder)), []
    return None, [f"no environment is active or below {project.folder}; name one with --python"]


def _pipenvs(pipfile: Pipfile, environ: Mapping[str, str], *, make: str) -> tuple[Place | None, list[str]]:
    """Give the environment that pipenv would use, and say so where that is the active one and not the project's own."""
    folder = venv_of(pipfile, environ=environ)
    kept = venv_of(pipfile, environ={name: value for name, value in environ.items() if name != "VIRTUAL_ENV"})
    remarks = []
    if os.path.realpath(folder) != os.path.realpath(kept):
        remarks.append(
            f"pipenv takes the active environment {folder} for the one of {pipfile.path.parent}, "
            f"which would be {kept}; to see that one: deactivate, or PIPENV_IGNORE_VIRTUALENVS=1"
        )
    if not folder.is_dir():
        return None, [*remarks, f"no pipenv environment at {folder}; make it: pipenv {make} --dev"]
    return Place(label="pipenv", kind="pipenv", python=python_of(folder), folder=folder), remarks


def place_of(name: str) -> Place:
    """Tell what somebody named: an interpreter, by its path or a name on PATH; an environment; a folder.

    Raises:
        InterpreterError: there is nothing of that name.
    """
    if not name.strip():
        raise InterpreterError("wanted an interpreter or a folder, found an empty name; name one")
    path = Path(os.path.abspath(os.path.expanduser(name)))
    if path.is_dir():
        python = python_of(path)
        return Place(label=name, kind="python" if python else "folder", python=python, folder=path)
    if not path.exists() and os.sep not in name and shutil.which(name):
        path = Path(shutil.which(name) or name)
    if not path.exists():
        raise InterpreterError(f"{name}: wanted an interpreter or a folder, found nothing; name another one")
    return Place(label=name, kind="python", python=path, folder=path.parent)


def python_of(folder: Path) -> Path | None:
    """Give the interpreter of an environment by its root, or None."""
    return next((folder / name for name in _PYTHONS if os.access(folder / name, os.X_OK)), None)


def is_venv(folder: Path) -> bool:
    """Tell whether a folder is the root of a virtual environment."""
    return (folder / "pyvenv.cfg").is_file()


def _main(environ: Mapping[str, str]) -> Iterator[Place]:
    """Give the Python that the path leads to outside of virtual environments; else what this one was made from."""
    folders = [each for each in environ.get("PATH", "").split(os.pathsep) if each and not is_venv(Path(each).parent)]
    found = next(
        (each for each in (shutil.which(n, path=os.pathsep.join(folders)) for n in ("python3", "python")) if each), None
    )
    found = found or getattr(sys, "_base_executable", None)
    if found:
        yield Place(label="main", kind="main", python=Path(found), folder=Path(found).parent)


def _each_once(places: Iterable[Place]) -> Iterator[Place]:
    seen = set()
    for place in places:
        key = os.path.abspath(place.python or place.folder)
        if key not in seen:
            seen.add(key)
            yield place
