"""The files of a project: its sources, package apart from what only developers need, and what else names tools.

In a git repository those are the files that git tracks or would track; elsewhere all below the folder, without what is
known to be made (environments, caches, `node_modules`, builds). Links to folders are not followed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from csci_utils.deps.check_settings import CheckSettings

Part = Literal["package", "development", "build"]

_MADE = {
    *(".git", ".hg", ".svn", ".bzr", "__pycache__", "node_modules", "site-packages", "build", "dist", "__pypackages__"),
    *(".venv", "venv", "env", ".env", "virtualenv", ".tox", ".nox", ".eggs", ".direnv", ".pipenv"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".cache"),
}
_DEVELOPMENT_FOLDERS = re.compile(r"\..*|tests?|testing|bench(marks?)?|docs?|examples?")
_DEVELOPMENT_FILES = re.compile(r"conftest\.py|test_.*\.py|.*_tests?\.py|tests\.py|noxfile\.py")
_GIT_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of a project.

    Attributes:
        folder: absolute.
        files: their paths from there, with `/`, sorted.
        settings: what the project says about them.
        remarks: what the user should know, one sentence each.
    """

    folder: Path
    files: tuple[str, ...]
    settings: CheckSettings
    remarks: tuple[str, ...] = ()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The files that are Python by their name."""
        return tuple(each for each in self.files if each.endswith(".py"))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.sources)

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(str(parent) for each in self.sources for parent in PurePosixPath(each).parents)

    @cached_property
    def _test_roots(self) -> frozenset[str]:
        return frozenset(self.root_of(each) for each in self.sources if self.part_of(each) == "development")

    def part_of(self, source: str) -> Part:
        """Tell whether a source belongs to the package, is for developers, or builds the package."""
        if _is_under(source, self.settings.package):
            return "package"
        if source == "setup.py":
            return "build"
        path = PurePosixPath(source)
        by_name = _DEVELOPMENT_FILES.fullmatch(path.name) or any(map(_DEVELOPMENT_FOLDERS.fullmatch, path.parts[:-1]))
        return "development" if by_name or _is_under(source, self.settings.development) else "package"

    def root_of(self, source: str) -> str:
        """Give the folder from which a source's own package is imported: the first one upwards that is none."""
        folder = PurePosixPath(source).parent
        while f"{folder}/__init__.py" in self._known:
            folder = folder.parent
        return str(folder)

    def has_module(self, module: str) -> bool:
        """Tell whether a dotted name is a module of the project, from its folder or from `src`."""
        return any(self._leads(root, module) for root in (".", "src"))

    def has_neighbour(self, module: str, source: str) -> bool:
        """Tell whether a source could import a module as one that lies beside it: as a script does, or a test.

        Asked last, since a folder's name may be that of a library (`plugins/flask/`).
        """
        roots = {self.root_of(source)}
        if self.part_of(source) == "development":
            roots |= self._test_roots
        first = module.partition(".")[0]
        return any(_join(root, first) in self._folders or _join(root, f"{first}.py") in self._known for root in roots)

    def _leads(self, root: str, module: str) -> bool:
        """Follow a dotted name: any name below a package is its own; a namespace is shared with libraries."""
        path = root
        for part in module.split("."):
            path = _join(path, part)
            if f"{path}.py" in self._known or f"{path}/__init__.py" in self._known:
                return True
            if path not in self._folders:
                return False
        return True


def read_tree(folder: Path, settings: CheckSettings) -> Tree:
    """Find the files of a project; a folder below it with a Pipfile of its own is another project."""
    names = sorted(_tracked(folder) or _walked(folder))
    others = {str(PurePosixPath(each).parent) for each in names if each.endswith("/Pipfile")}
    theirs = [each for each in names if others and _is_under(each, others)]
    sources = {each for each in others if any(name.endswith(".py") and _is_under(name, [each]) for name in theirs)}
    return Tree(
        folder=folder,
        files=tuple(sorted({*names} - {*theirs})),
        settings=settings,
        remarks=tuple(f"{folder / each} has a Pipfile of its own, so it is not looked at" for each in sorted(sources)),
    )


def _tracked(folder: Path) -> list[str]:
    """Ask git for the files that it tracks or would track; none where it does not say.

    Neither this process's repository nor a program that the repository's configuration names has a say in it.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    names = {os.fsdecode(each) for each in done.stdout.split(b"\0") if each}
    return [each for each in names if (folder / each).is_file()]  # one that was deleted is still tracked


def _walked(folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = [
            each
            for each in folders
            if each not in _MADE
            and not each.endswith((".egg-info", ".dist-info"))
            and not os.path.exists(os.path.join(path, each, "pyvenv.cfg"))
            and not os.path.isdir(os.path.join(path, each, "conda-meta"))
        ]
        for each in files:
            yield Path(path, each).relative_to(folder).as_posix()


def _is_under(name: str, folders: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in folders)


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
