"""A project: its folder, what it declares, and its lock."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from csci_utils.deps.errors import LockfileError, ProjectNotFoundError
from csci_utils.deps.facts import Declared, Lock, Locked, normal_name
from csci_utils.deps.lockfile import in_step, read_lock
from csci_utils.deps.package_metadata import PackageMetadata, read_package_metadata
from csci_utils.deps.pipfile import Pipfile, read_pipfile
from csci_utils.deps.requirements import read_requirements

MAX_DEPTH = 10
"""How many folders upwards a Pipfile is looked for, the first one included, unless PIPENV_MAX_DEPTH says so."""

_REQUIREMENTS = (".txt", ".in")
_SOURCES = ("*.py", "*/*.py", "src/*/*.py")
_NO_PIPFILES = (".lock", ".toml", ".py", ".cfg", ".yml", ".yaml", ".json")


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a project declares and locks.

    Attributes:
        folder: absolute, as pipenv sees it, which names the environment by it.
        pipfile: None where there is only a requirements.txt.
        requirements: the requirements file that was read, or None where there is a Pipfile.
        declared: the requirements of either, in the order of the file.
        lock: the Pipfile.lock, or None.
        lock_problem: why there is no lock, one sentence, or None; a project without a Pipfile needs none.
        remarks: what the user should know, one sentence each.
    """

    folder: Path
    pipfile: Pipfile | None
    requirements: Path | None
    declared: tuple[Declared, ...]
    lock: Lock | None
    lock_problem: str | None
    remarks: tuple[str, ...] = ()

    @cached_property
    def package(self) -> PackageMetadata:
        """What the project says of itself as a package."""
        return read_package_metadata(self.folder)

    @cached_property
    def lock_is_in_step(self) -> bool | None:
        """Whether the lock was made from this Pipfile; None where one of them is missing."""
        return in_step(self.lock, self.pipfile) if self.lock and self.pipfile else None

    def section(self, name: str) -> dict[str, Declared]:
        """Give the requirements of one section by name."""
        return {each.name: each for each in self.declared if each.section == name}

    def locked(self, name: str) -> tuple[Locked, ...]:
        """Give the entries of the lock for a name, at most one a section."""
        return tuple(each for each in (self.lock.entries if self.lock else ()) if each.name == normal_name(name))


def find_project(folder: Path | None, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Give the folder of the project, or its Pipfile where that has a name of its own.

    Args:
        folder: the one that was named, links followed, as they are for a pipenv that stands in it; a file is taken as
            it is, as pipenv takes PIPENV_PIPFILE. None: as pipenv finds it, by PIPENV_PIPFILE, else upwards from where
            we stand; where we stand if there is no Pipfile.
        environ: the environment variables.
    """
    if folder is not None:
        return folder.resolve() if folder.is_dir() else Path(os.path.abspath(folder))
    if environ.get("PIPENV_PIPFILE"):
        return Path(os.path.abspath(environ["PIPENV_PIPFILE"]))
    here = Path(os.path.abspath("."))
    named = environ.get("PIPENV_MAX_DEPTH", "")
    depth = 1 if environ.get("PIPENV_NO_INHERIT") else int(named) if named.isdecimal() else MAX_DEPTH
    return next((each for each in (here, *here.parents)[:depth] if (each / "Pipfile").is_file()), here)


def is_requirements(path: Path) -> bool:
    """Tell whether what a project is named by is a requirements file."""
    return path.is_file() and path.suffix in _REQUIREMENTS


def read_project(path: Path) -> Project:
    """Read what a project declares and locks: its Pipfile, else its requirements.txt.

    Args:
        path: its folder; or its Pipfile where that has a name of its own (its lock is then that name and `.lock`); or a
            requirements file, which is then taken though a Pipfile may lie beside it; its project's folder may lie
            above it.

    Raises:
        ProjectNotFoundError: there is neither.
        PipfileError, RequirementsError: what it declares cannot be read. (A lock that cannot be read is no error
            here: `lock_problem` says what is wrong with it.)
    """
    folder = path.parent if path.is_file() else path
    if path.is_file() and path.suffix in _REQUIREMENTS:
        remark = f"{path}: a requirements file, so that is taken, and nothing is locked"
        return _of_requirements(path, folder=_folder_of(path), remark=remark)
    if path.is_file() and path.suffix in _NO_PIPFILES:
        raise ProjectNotFoundError(
            f"{path}: wanted a folder, a Pipfile or a requirements file, found another file; name the folder it lies in"
        )
    if not folder.is_dir():
        raise ProjectNotFoundError(f"{folder}: wanted the folder of a project, found none; name one with --project")
    file = path if path.is_file() else folder / "Pipfile"
    if file.exists():
        pipfile = read_pipfile(file)
        lock, problem = _lock_of(pipfile)
        return Project(
            folder=folder,
            pipfile=pipfile,
            requirements=None,
            declared=pipfile.declared,
            lock=lock,
            lock_problem=problem,
            remarks=tuple(f"{each.file}:{each.line}: {each.problem}" for each in pipfile.declared if each.problem),
        )
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        raise ProjectNotFoundError(
            f"{folder}: wanted a Pipfile or a requirements.txt, found neither; name the project's folder with --project"
        )
    remark = f"{folder}: no Pipfile, so its requirements.txt is taken, and nothing is locked"
    return _of_requirements(requirements, folder=folder, remark=remark)


def _of_requirements(path: Path, *, folder: Path, remark: str) -> Project:
    return Project(
        folder=folder,
        pipfile=None,
        requirements=path,
        declared=read_requirements(path),
        lock=None,
        lock_problem=None,
        remarks=(remark,),
    )


def _folder_of(requirements: Path) -> Path:
    """Give the folder whose sources a requirements file is for: its own, unless it lies there with others of its kind.

    That is the repository it lies in, else the one above a folder that is called for them.
    """
    folder = requirements.parent
    for_them = folder.name == "requirements"
    if not for_them and any(next(folder.glob(each), None) for each in ("Pipfile", *_SOURCES)):
        return folder
    repository = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    return repository or (folder.parent if for_them else folder)


def _lock_of(pipfile: Pipfile) -> tuple[Lock | None, str | None]:
    path = pipfile.path.with_name(f"{pipfile.path.name}.lock")
    try:
        return read_lock(path), None
    except FileNotFoundError:
        return None, f"{path}: wanted a lock, found none; make it: pipenv lock"
    except LockfileError as err:
        return None, str(err)
