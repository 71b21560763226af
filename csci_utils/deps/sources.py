"""The files of a project: its sources, package apart from what only developers need, and what else names tools.

In a git repository those are the files that git tracks or would track; elsewhere all below the folder, without what is
known to be made (environments, caches, `node_modules`, builds). What a link to a folder leads to can be imported by the
link's name, and is not read.
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
Held = Literal["module", "namespace"]

_MADE = {
    *(".git", ".hg", ".svn", ".bzr", "__pycache__", "node_modules", "site-packages", "build", "dist", "__pypackages__"),
    *(".venv", "venv", "env", ".env", "virtualenv", ".tox", ".nox", ".eggs", ".direnv", ".pipenv"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".cache"),
}
_NEVER_OURS = {"site-packages", "node_modules", "__pypackages__"}
_DEVELOPMENT_FOLDERS = re.compile(r"\..*|(.+[-_])?tests?([-_].+)?|testing|e2e|bench(marks?)?|docs?|examples?")
_DEVELOPMENT_FILES = re.compile(r"conftest\.py|test_.*\.py|.*_tests?\.py|tests\.py|(nox|fab|locust)file\.py|dodo\.py")
_TOOL_FOLDERS = frozenset(
    {
        *("scripts", "script", "tools", "ci", "dev", "hooks", "perf"),
        *("sample", "samples", "demo", "demos", "notebook", "notebooks", "docs_src"),
    }
)
"""For developers where they lie beside the package; in a package they are its own."""
_TOOL_FILES = frozenset({"tasks.py", "release.py", "duties.py", "pavement.py", "runtests.py"})
_PROJECT_FILES = frozenset({"manage.py", "setup.py", "pyproject.toml", "setup.cfg", "Pipfile", "requirements.txt"})
_TEST = re.compile(r"(test_)?(?P<of>.+?)(_tests?)?\.py")
_ROOTS = (".", "src", "lib")
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
    def _parts(self) -> dict[str, Part]:
        return {each: self._told_part(each) for each in self.sources}

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

    @cached_property
    def _by_folder(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for path in map(PurePosixPath, self.sources):
            found.setdefault(str(path.parent), set()).add(path.name)
        return found

    @cached_property
    def _test_folders(self) -> frozenset[str]:
        """Folders of whatever name that hold more tests than other modules, or pytest's settings; nothing tested."""
        return frozenset(
            folder
            for folder, names in self._by_folder.items()
            if folder != "." and (_are_tests(names) or ("conftest.py" in names and self._is_set_up(folder)))
        )

    def _is_set_up(self, folder: str) -> bool:
        """Tell whether a folder with a conftest.py is for tests alone: no package, nor one that holds the project's."""
        if folder in (*_ROOTS, *self.roots) or "__init__.py" in self._by_folder[folder]:
            return False
        packages = (PurePosixPath(each).name for each in self._packages_in.get(folder, ()))
        if not all(map(_DEVELOPMENT_FOLDERS.fullmatch, packages)):
            return False
        return not any((self.folder / folder / each).exists() for each in _PROJECT_FILES)

    @cached_property
    def _packages_in(self) -> dict[str, set[str]]:
        """Each folder to the outermost packages below it, however deep."""
        found: dict[str, set[str]] = {}
        for each, names in self._by_folder.items():
            above = PurePosixPath(each).parent
            if "__init__.py" in names and "__init__.py" not in self._by_folder.get(str(above), ()):
                for parent in PurePosixPath(each).parents:
                    found.setdefault(str(parent), set()).add(each)
        return found

    def part_of(self, source: str) -> Part:
        """Tell whether a source belongs to the package, is for developers, or builds the package."""
        return self._parts.get(source) or self._told_part(source)

    def _told_part(self, source: str) -> Part:
        if _is_under(source, self.settings.package):
            return "package"
        if source == "setup.py":
            return "build"
        path = PurePosixPath(source)
        developers = (
            _is_under(source, self.settings.development)
            or source in _TOOL_FILES
            or _DEVELOPMENT_FILES.fullmatch(path.name)
            or any(map(_DEVELOPMENT_FOLDERS.fullmatch, path.parts[:-1]))
            or any(str(each) in self._test_folders or self._holds_tools(each) for each in path.parents)
        )
        return "development" if developers else "package"

    def _holds_tools(self, folder: PurePosixPath) -> bool:
        above = str(folder.parent)
        return folder.name in _TOOL_FOLDERS and (above == "." or above not in self._by_folder)

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
        return self._found(module, dict.fromkeys((*_ROOTS, *self.roots)))

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
                return None
        return "namespace"

    def _is_file(self, name: str) -> bool:
        return name in self._known or (_is_under(name, self.links) and (self.folder / name).is_file())

    def _is_linked(self, folder: str) -> bool:
        return _is_under(folder, self.links) and (self.folder / folder).is_dir()


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
    theirs = [each for each in names if others and _is_under(each, others)]
    sources = {each for each in others if any(name.endswith(".py") and _is_under(name, [each]) for name in theirs)}
    return Tree(
        folder=folder,
        files=tuple(sorted({*names} - {*theirs})),
        settings=settings,
        roots=tuple(roots),
        links=tuple(each for each in links if not _is_under(each, others)),
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
    return [each for each in names if not made or not _is_under(each, made)]


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


def _are_tests(names: set[str]) -> bool:
    tests = {each for each in names if re.fullmatch(r"test_.*\.py|.*_tests?\.py", each)}
    modules = names - tests - {"__init__.py", "conftest.py"}
    tested = {f"{match['of']}.py" for match in map(_TEST.fullmatch, tests) if match}
    return len(tests) > len(modules) and not tested & modules


def _is_under(name: str, folders: Iterable[str]) -> bool:
    return any(name == each or each == "." or name.startswith(f"{each}/") for each in folders)


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
