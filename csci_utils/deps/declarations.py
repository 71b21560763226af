"""What a project's declarations amount to: for the package, for developers, and by the package's own metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from csci_utils.deps.facts import Declared, Distribution, Environment, normal_name
from csci_utils.deps.files import read_file
from csci_utils.deps.project import Project
from csci_utils.deps.requirements import read_requirements
from csci_utils.deps.standards import in_order, is_brought, requirement_of

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DEVELOPMENT = "dev-packages"
DEVELOPMENT_FILES = (
    *("requirements-dev.txt", "dev-requirements.txt", "requirements_dev.txt", "requirements/dev.txt"),
    *("requirements-test.txt", "test-requirements.txt", "requirements_test.txt", "requirements/test.txt"),
)
"""Beside a requirements.txt: what developers need."""


@dataclass(frozen=True, kw_only=True)
class Declarations:
    """What is declared, by name; each entry once for every name that it is known by.

    Attributes:
        package: what an installation without development has: `packages`, categories, requirements.txt.
        development: what only developers have.
        own: what the package itself requires by its metadata, with the extras that the project installs of it.
        itself: the project's own entry, or None where the project does not install itself.
        own_counts: whether `own` counts as declared: the project installs itself, and does not repeat it. One that
            repeats more than half of it is taken to repeat all.
    """

    package: Mapping[str, Declared]
    development: Mapping[str, Declared]
    own: Mapping[str, Declared]
    itself: Declared | None
    own_counts: bool

    @property
    def for_package(self) -> Mapping[str, Declared]:
        """What the package may import."""
        return {**self.own, **self.package} if self.own_counts else self.package

    @property
    def all(self) -> Mapping[str, Declared]:
        """What developers may import."""
        return {**self.development, **self.for_package}

    def wanted(self, *, development: bool) -> list[tuple[str, tuple[str, ...]]]:
        """Give names with extras: what an installation begins with."""
        itself = {self.itself.name: self.itself, **self.own} if self.itself else {}
        found = {**itself, **self.package, **(self.development if development else {})}
        return [(name, each.extras) for name, each in found.items()]


def declarations_of(project: Project, environment: Environment | None) -> Declarations:
    """Put together what a project declares.

    Args:
        project: its folder is looked into for requirements of developers if it has no Pipfile.
        environment: by it an entry that has another name than what it installs (a repository) is known by both.
    """
    declared = [*project.declared, *(_for_developers(project) if project.pipfile is None else ())]
    itself = next((each for each in declared if _is_itself(each, project)), None)
    others = [each for each in declared if not _is_itself(each, project)]
    own = {**_own_as_installed(project, itself, environment), **_own(project, itself.extras if itself else ())}
    package = _by_name((each for each in others if each.section != DEVELOPMENT), environment)
    return Declarations(
        package=package,
        development=_by_name((each for each in others if each.section == DEVELOPMENT), environment),
        own=own,
        itself=itself,
        own_counts=itself is not None and len(own.keys() & package.keys()) * 2 <= len(own),
    )


def installed_as(declared: Declared, environment: Environment | None) -> Distribution | None:
    """Find what an entry has installed: by its name, else by where it came from."""
    active = environment.active() if environment else {}
    if declared.name in active or declared.source == "index" or not declared.address:
        return active.get(declared.name)
    wanted = _plain(declared.address)
    for each in active.values():
        if each.origin is not None and _plain(each.origin.url) == wanted:
            return each
        if declared.source == "path" and Path(each.location) == (declared.file.parent / declared.address).resolve():
            return each
    return None


def _plain(address: str) -> str:
    return address.partition("#")[0].rstrip("/").removesuffix(".git").rpartition("://")[2].rpartition("@")[2]


def _by_name(declared: Iterable[Declared], environment: Environment | None) -> dict[str, Declared]:
    found: dict[str, Declared] = {}
    for each in declared:
        installed = installed_as(each, environment)
        for name in (each.name, installed.name if installed else each.name):
            found.setdefault(name, each)
    return found


def _is_itself(declared: Declared, project: Project) -> bool:
    if declared.source == "path" and declared.address:
        address = declared.address.removeprefix("file://")
        return (declared.file.parent / address).resolve() == project.folder.resolve()
    return project.package.name is not None and declared.name == normal_name(project.package.name)


def _for_developers(project: Project) -> Iterator[Declared]:
    known = {each.name for each in project.declared}
    for file in development_files(project):
        found = read_requirements(file)
        yield from (replace(each, section=DEVELOPMENT) for each in found if each.name not in known)


def development_files(project: Project) -> list[Path]:
    """Find the requirements for developers, in the project's folder and beside its requirements file."""
    beside = project.requirements.parent if project.requirements else project.folder
    folders = dict.fromkeys((project.folder, beside.parent if beside.name == "requirements" else beside))
    files = [folder / name for folder in folders for name in DEVELOPMENT_FILES]
    return [each for each in files if each.is_file() and each != project.requirements]


def _own(project: Project, extras: Iterable[str]) -> dict[str, Declared]:
    """Read what the package requires; an extra may name others of the package itself."""
    package = project.package
    by_extra = {normal_name(extra): texts for extra, texts in package.extras.items()} | {"": package.requires}
    left = ["", *extras]
    seen = set(left)
    found: dict[str, Declared] = {}
    while left:
        for needed in filter(None, map(requirement_of, by_extra.get(left.pop(), ()))):
            if package.name and normal_name(needed.name) == normal_name(package.name):
                more = {normal_name(each) for each in needed.extras} - seen
                seen |= more
                left += more
            else:
                file, line = _place_of(needed.name, project)
                found.setdefault(normal_name(needed.name), _as_declared(needed, file=file, line=line))
    return found


def _own_as_installed(
    project: Project, itself: Declared | None, environment: Environment | None
) -> dict[str, Declared]:
    """Read from the installed metadata what the project's own files compute: all of it, or some of the extras."""
    installed = installed_as(itself, environment) if itself else None
    if itself is None or installed is None or environment is None:
        return {}
    package = project.package
    known = {normal_name(each) for each in package.extras} | ({""} if package.requires else set())
    computed = {"", *itself.extras} - known
    found = {}
    for needed in filter(None, map(requirement_of, installed.requires)):
        if any(is_brought(needed, environment.markers, extra) for extra in computed):
            file = project.package.files[-1] if project.package.files else project.folder
            found[normal_name(needed.name)] = _as_declared(needed, file=file, line=0)
    return found


def _as_declared(needed: Requirement, *, file: Path, line: int) -> Declared:
    return Declared(
        name=normal_name(needed.name),
        spelled=needed.name,
        section="packages",
        specifier=in_order(needed.specifier),
        extras=tuple(sorted(map(normal_name, needed.extras))),
        marker=str(needed.marker) if needed.marker else None,
        file=file,
        line=line,
    )


def _place_of(name: str, project: Project) -> tuple[Path, int]:
    """Find the line of a file of the package that begins to name a requirement."""
    pattern = re.compile(rf"""(?:^|["'])\s*{re.escape(name)}\s*(?:$|[\[<>=!~;@(,"'])""")
    for file in reversed(project.package.files):
        lines = read_file(file).decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if pattern.search(line):
                return file, number
    return (project.package.files[-1] if project.package.files else project.folder), 0
