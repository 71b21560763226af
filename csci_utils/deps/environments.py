"""The environments that concern a project: which there are, and what is installed in each."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from csci_utils.deps import probe
from csci_utils.deps.conda import conda_environments, conda_packages
from csci_utils.deps.errors import InterpreterError
from csci_utils.deps.facts import Distribution, Environment, PlaceKind
from csci_utils.deps.installed import distributions_of
from csci_utils.deps.interpreter import TIMEOUT_S, ask
from csci_utils.deps.pipenv_venv import venv_of
from csci_utils.deps.pipfile import Pipfile
from csci_utils.deps.project import Project

_AT_A_TIME = 8
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


def read_environments(
    places: Sequence[Place], *, modules: bool = False, timeout_s: float = TIMEOUT_S
) -> list[Environment]:
    """Read what is installed at each place, several at a time.

    Args:
        places: from `find_places`.
        modules: whether to read what each distribution can be imported as.
        timeout_s: how long each interpreter may take.

    Returns:
        One environment a place, in their order, except that places of the same root become one. What cannot be read
        has no distributions and says so in its `problems`.

    Raises:
        InterpreterError: one that somebody named cannot be read.
    """
    unwanted = threading.Event()

    def read_one(place: Place) -> Environment:
        return read_environment(place, modules=modules, timeout_s=timeout_s, unwanted=unwanted)

    with ThreadPoolExecutor(max_workers=_AT_A_TIME) as pool:
        try:
            read = list(pool.map(read_one, places))
        except BaseException:  # also an interrupt: nobody waits for those that are left
            unwanted.set()
            pool.shutdown(cancel_futures=True)
            raise
    unique: dict[str, Environment] = {}
    for each in read:
        unique.setdefault(os.path.realpath(each.prefix) if each.python else each.label, each)
    return list(unique.values())


def read_environment(
    place: Place, *, modules: bool = False, timeout_s: float = TIMEOUT_S, unwanted: threading.Event | None = None
) -> Environment:
    """Read what is installed at one place: its interpreter is asked; a folder without one is read as it lies there.

    Args:
        place: from `find_places`.
        modules: whether to read what each distribution can be imported as.
        timeout_s: how long its interpreter may take.
        unwanted: once this is set, the interpreter is ended.

    Raises:
        InterpreterError: somebody named it, and it cannot be read.
    """
    problems = []
    if place.python is not None:
        try:
            return _asked(place, ask(place.python, modules=modules, timeout_s=timeout_s, unwanted=unwanted))
        except InterpreterError as err:
            if place.kind in ("python", "folder"):
                raise
            problems.append(f"{err}; its folders are read as they lie")
    elif place.kind == "pipenv" or _is_venv(place.folder):
        problems.append(
            f"{place.folder}: wanted an environment, found no interpreter in it that can be run; its folders are read "
            "as they lie; make it anew"
        )
    return replace(_from_folder(place, modules=modules), problems=tuple(problems))


def _main(environ: Mapping[str, str]) -> Iterator[Place]:
    """Give the Python that the path leads to outside of virtual environments; else what this one was made from."""
    folders = [each for each in environ.get("PATH", "").split(os.pathsep) if each and not _is_venv(Path(each).parent)]
    found = next(
        (each for each in (shutil.which(n, path=os.pathsep.join(folders)) for n in ("python3", "python")) if each), None
    )
    found = found or getattr(sys, "_base_executable", None)
    if found:
        yield Place(label="main", kind="main", python=Path(found), folder=Path(found).parent)


def _is_venv(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file()


def _each_once(places: Iterable[Place]) -> Iterator[Place]:
    seen = set()
    for place in places:
        key = os.path.abspath(place.python or place.folder)
        if key not in seen:
            seen.add(key)
            yield place


def _asked(place: Place, report: Mapping[str, Any]) -> Environment:
    prefix = Path(report["prefix"])
    found = distributions_of(report["distributions"])
    return Environment(
        label=place.label,
        kind=place.kind,
        python=report["executable"] or str(place.python),
        prefix=str(prefix),
        version=report["markers"]["python_full_version"],
        markers=report["markers"],
        stdlib=frozenset(report["stdlib"]) or None,
        distributions=(*found, *_only_condas(prefix, found)),
    )


def _from_folder(place: Place, *, modules: bool) -> Environment:
    """Read the folders of distributions below an environment that cannot be asked, or the one that was named."""
    patterns = ("lib/python*/site-packages", "lib64/python*/site-packages", "Lib/site-packages")
    folders = list(
        {each.resolve(): each for pattern in patterns for each in sorted(place.folder.glob(pattern))}.values()
    )
    raw = [entry for each in folders or [place.folder] for entry in probe.read_folder(str(each), "env", modules)]
    found = distributions_of(raw)
    numbers = re.search(r"python(\d+\.\d+)", str(folders[0] if folders else place.folder))
    if not found and place.kind == "folder" and not folders and not any(place.folder.glob("conda-meta")):
        raise InterpreterError(
            f"{place.label}: wanted an environment or a folder of installed distributions, found neither a Python "
            "nor any metadata; name another one"
        )
    return Environment(
        label=place.label,
        kind=place.kind,
        python=None,
        prefix=str(place.folder),
        version=numbers[1] if numbers else None,
        distributions=(*found, *_only_condas(place.folder, found)),
    )


def _only_condas(prefix: Path, found: Iterable[Distribution]) -> Iterator[Distribution]:
    known = {each.name for each in found}
    return (each for each in conda_packages(prefix) if each.name not in known)
