"""Which part of a project a source belongs to: the package, or what only developers need, by its name and place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from csci_utils.deps.check_settings import CheckSettings

Part = Literal["package", "development", "build"]

ROOTS = (".", "src", "lib")
"""Where a project's own modules are."""

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


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a project.

    Attributes:
        folder: absolute.
        sources: their paths from there, with `/`.
        settings: what the project says about them.
        roots: folders that modules are imported from, besides `ROOTS`.
    """

    folder: Path
    sources: tuple[str, ...]
    settings: CheckSettings
    roots: tuple[str, ...] = ()

    def part_of(self, source: str) -> Part:
        """Tell whether a source belongs to the package, is for developers, or builds the package."""
        if is_under(source, self.settings.package):
            return "package"
        if source == "setup.py":
            return "build"
        path = PurePosixPath(source)
        developers = (
            is_under(source, self.settings.development)
            or source in _TOOL_FILES
            or _DEVELOPMENT_FILES.fullmatch(path.name)
            or any(map(_DEVELOPMENT_FOLDERS.fullmatch, path.parts[:-1]))
            or any(str(each) in self._test_folders or self._holds_tools(each) for each in path.parents)
        )
        return "development" if developers else "package"

    def _holds_tools(self, folder: PurePosixPath) -> bool:
        above = str(folder.parent)
        return folder.name in _TOOL_FOLDERS and (above == "." or above not in self._by_folder)

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
        if folder in (*ROOTS, *self.roots) or "__init__.py" in self._by_folder[folder]:
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


def _are_tests(names: set[str]) -> bool:
    tests = {each for each in names if re.fullmatch(r"test_.*\.py|.*_tests?\.py", each)}
    modules = names - tests - {"__init__.py", "conftest.py"}
    tested = {f"{match['of']}.py" for match in map(_TEST.fullmatch, tests) if match}
    return len(tests) > len(modules) and not tested & modules


def is_under(name: str, folders: Iterable[str]) -> bool:
    """Tell whether a path is one of those, or lies below one; `.` is above all."""
    return any(name == each or each == "." or name.startswith(f"{each}/") for each in folders)
