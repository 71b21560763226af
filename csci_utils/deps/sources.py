"""The files of a project: its sources, the modules that they are, and what else names tools.

In a git repository those are the files that git tracks or would track; elsewhere all below the folder, without what is
known to be made (environments, caches, `node_modules`, builds). What a link to a folder leads to can be imported by the
link's name, and is not read.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from csci_utils.deps.check_settings import CheckSettings
from csci_utils.deps.parts import ROOTS, Part, Parts, is_under

Held = Literal["module", "namespace"]

_MADE = {
    *(".git", ".hg", ".svn", ".bzr", "__pycache__", "node_modules", "site-packages", "build", "dist", "__pypackages__"),
    *(".venv", "venv", "env", ".env", "virtualenv", ".tox", ".nox", ".eggs", ".direnv", ".pipenv"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".cache"),
}
_NEVER_OURS = {"site-packages", "node_modules", "__pypackages__"}
_GIT_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of a project.

    Attributes:
        folder: absolute.
        files: their paths from there, with `/`, sorted.
        settings: what the project says about them.
        roots: folders that modules are imported from, besides the project's, `src` and `lib`.
        links: those of its paths that lead to a folder elsewhere.
        remarks: what the user should know, one sentence each.
    """

    folder: Path
    files: tuple[str, ...]
    settings: CheckSettings
    roots: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The files that are Python by their name."""
        return tuple(each for each in self.files if each.endswith(".py"))

    @cached_property
    def _known(self) -> frozenset[str]:
        compiled = (each for each in self.files if each.endswith((".pyi", ".pyx")))
        return frozenset([*self.sources, *(f"{each.rpartition('.')[0]}.py" for each in compiled)])

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(str(parent) for each in self.sources for parent in PurePosixPath(each).parents)

    @cached_property
    def _parts(self) -> Parts:
        return Parts(folder=self.folder, sources=self.sources, settings=self.settings, roots=self.roots)

    @cached_property
    def _part_of(self) -> dict[str, Part]:
        return {each: self._parts.part_of(each) for each in self.sources}

    @cached_property
    def _roots_with(self) -> dict[tuple[Part, str], tuple[str, ...]]:
        """The roots from which a first name may lead somewhere: all of them for tests, the package's for the package.

        Each source then looks into few of them, where there are as many as sources.
        """
        holders: dict[str, set[str]] = {}  # a folder to the names in it
        for path in map(PurePosixPath, (*self._known, *self._folders, *self.links)):
            holders.setdefault(str(path.parent), set()).add(path.stem if str(path) in self._known else path.name)
        roots = {self.root_of(each): set[Part]() for each in self.sources}
        for each in self.sources:
            roots[self.root_of(each)] |= {"development", self.part_of(each)}
        found: dict[tuple[Part, str], list[str]] = {}
        for root, parts in sorted(roots.items()):
            for part in parts:
                for name in holders.get(root, ()):
                    found.setdefault((part, name), []).append(root)
        return {key: tuple(each) for key, each in found.items()}

    def part_of(self, source: str) -> Part:
        """Tell whether a source belongs to the package, is for developers, or builds the package."""
        return self._part_of.get(source) or self._parts.part_of(source)

    def root_of(self, source: str) -> str:
        """Give the folder from which a source's own package is imported: the first one upwards that is none."""
        folder = PurePosixPath(source).parent
        while f"{folder}/__init__.py" in self._known:
            folder = folder.parent
        return str(folder)

    def holds(self, module: str) -> Held | None:
        """Tell whether a dotted name is a module of the project, or a namespace that libraries may share, or neither.

        It is looked for where the project's own modules are: in its folder, in `src`, in `lib`, in `roots`.
        """
        return self._found(module, dict.fromkeys((*ROOTS, *self.roots)))

    def holds_near(self, module: str, source: str) -> Held | None:
        """Tell the same of a module that a source could import since it lies beside it or above, as scripts do."""
        root = PurePosixPath(self.root_of(source))
        return self._found(module, [str(each) for each in (root, *root.parents)])

    def holds_somewhere(self, module: str, source: str) -> Held | None:
        """Tell the same of a module in any folder, which only what starts the program could know of.

        Tests may reach any module, for their configuration can put every folder on the path; the package those of its
        own. Asked last: far from its importer a folder that is called like a library (`plugins/flask/`) is about it.
        """
        part: Part = "development" if self.part_of(source) == "development" else "package"
        return self._found(module, self._roots_with.get((part, module.partition(".")[0]), ()))

    def _found(self, module: str, roots: Iterable[str]) -> Held | None:
        found: Held | None = None
        for root in roots:
            led = self._leads(root, module)
            if led == "module":
                return led
            found = found or led
        return found

    def _leads(self, root: str, module: str) -> Held | None:
        """Follow a dotted name: any name below a package is its own; a namespace is shared with libraries."""
        path = root
        for part in module.split("."):
            path = _join(path, part)
            if self._is_file(f"{path}.py") or self._is_file(f"{path}/__init__.py"):
                return "module"
            if path not in self._folders and not self._is_linked(path):
                made = path != _join(root, part) and (self.folder / f"{path}.py").is_file()  # and ignored by git
                return "module" if made else None
        return "namespace"

    def _is_file(self, name: str) -> bool:
        return name in self._known or (is_under(name, self.links) and (self.folder / name).is_file())

    def _is_linked(self, folder: str) -> bool:
        return is_under(folder, self.links) and (self.folder / folder).is_dir()


def read_tree(folder: Path, settings: CheckSettings, *, roots: Iterable[str] = ()) -> Tree:
    """Find the files of a project; a folder below it with a Pipfile of its own is another project.

    Args:
        folder: the project's.
        settings: what the project says about its files.
        roots: folders that its modules are imported from, as its package and pytest are told.
    """
    found = sorted(_tracked(folder) or _walked(folder))
    names = [each for each in found if (folder / each).is_file()]  # git tracks a file that is gone, too
    links = [each for each in found if (folder / each).is_dir() and (folder / each).is_symlink()]
    others = {str(PurePosixPath(each).parent) for each in names if each.endswith("/Pipfile")}
    theirs = [each for each in names if others and is_under(each, others)]
    sources = {each for each in others if any(name.endswith(".py") and is_under(name, [each]) for name in theirs)}
    return Tree(
        folder=folder,
        files=tuple(sorted({*names} - {*theirs})),
        settings=settings,
        roots=tuple(roots),
        links=tuple(each for each in links if not is_under(each, others)),
        remarks=(
            *(f"{folder / each} has a Pipfile of its own, so it is not looked at" for each in sorted(sources)),
            *_named_for_nothing(settings, found),
        ),
    )


def _named_for_nothing(settings: CheckSettings, files: Iterable[str]) -> Iterator[str]:
    there = {*files}
    there |= {str(parent) for each in there for parent in PurePosixPath(each).parents}
    for key, named in (("development", settings.development), ("package", settings.package)):
        for each in named:
            if each not in there:
                yield f"pyproject.toml: {key} names {each!r}, and no file is or lies below that; mend or remove it"


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
    parents = {parent for each in names for parent in PurePosixPath(each).parents}
    made = {str(each) for each in parents if each.name in _NEVER_OURS or (each.name and _is_environment(folder / each))}
    return [each for each in names if not made or not is_under(each, made)]


def _walked(folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = [
            each
            for each in folders
            if each not in _MADE
            and not each.endswith((".egg-info", ".dist-info"))
            and not _is_environment(Path(path, each))
        ]
        for each in (*files, *(each for each in folders if os.path.islink(os.path.join(path, each)))):
            yield Path(path, each).relative_to(folder).as_posix()


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists() or (folder / "conda-meta").is_dir()


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
