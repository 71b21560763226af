"""Everything that `check` compares, read once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from csci_utils.deps.check_settings import CheckSettings, read_settings
from csci_utils.deps.declarations import DEVELOPMENT, Declarations, declarations_of, development_files
from csci_utils.deps.facts import Declared, Environment, normal_name
from csci_utils.deps.files import shown
from csci_utils.deps.graph_building import brought_by
from csci_utils.deps.imports import Parsed, read_imports
from csci_utils.deps.mentions import Mentions, read_words
from csci_utils.deps.modules_of import Modules
from csci_utils.deps.pipfile import wanted_python
from csci_utils.deps.project import Project
from csci_utils.deps.sources import Tree, read_tree
from csci_utils.deps.standards import markers_of, requirement_of


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A project as `check` sees it.

    Attributes:
        project: what it declares and locks.
        environment: its environment, with modules, or None.
        settings: what the project says to `check`.
        tree: its files.
        parsed: what each source holds, by its path from the folder.
        declarations: what its declarations amount to.
        modules: from imports to distributions.
        markers: all that conditions on Python and the platform are compared with: the environment's, else those of the
            interpreter that runs this, at the version that the Pipfile wants: two numbers where it names no third.
    """

    project: Project
    environment: Environment | None
    settings: CheckSettings
    tree: Tree
    parsed: Mapping[str, Parsed]
    declarations: Declarations
    modules: Modules
    markers: Mapping[str, str]

    @property
    def itself(self) -> str | None:
        """The project's own name as a distribution."""
        name = self.project.package.name or (self.declarations.itself.name if self.declarations.itself else None)
        return normal_name(name) if name else None

    @cached_property
    def brings_package(self) -> Mapping[str, tuple[str, ...]]:
        """What an installation without development brings besides what is declared, and by what."""
        return self._brings(development=False)

    @cached_property
    def brings_all(self) -> Mapping[str, tuple[str, ...]]:
        """What an installation with development brings besides what is declared, and by what."""
        return self._brings(development=True)

    def _brings(self, *, development: bool) -> dict[str, tuple[str, ...]]:
        """Join what the environment's metadata tells with a lock that is in step, which names nobody."""
        found: dict[str, tuple[str, ...]] = {}
        if self.project.lock is not None and self.project.lock_is_in_step:
            sections = [each for each in {each.section for each in self.project.lock.entries} if each != "develop"]
            for section in [*sections, *(["develop"] if development else [])]:
                found |= dict.fromkeys(self.project.lock.section(section), ())
        if self.environment is not None:
            wanted = self.declarations.wanted(development=development)
            found |= {name: tuple(by) for name, by in brought_by(wanted, self.environment).items()}
        if self.declarations.itself is not None:
            for name in self.declarations.own:
                found[name] = tuple(dict.fromkeys((self.declarations.itself.name, *found.get(name, ()))))
        return found

    @cached_property
    def builders(self) -> frozenset[str]:
        """What pyproject.toml has installed to build the package."""
        found = (requirement_of(each) for each in self.settings.build_requires)
        return frozenset(normal_name(each.name) for each in found if each is not None)

    @cached_property
    def mentions(self) -> Mentions:
        """What is used without an import."""
        said = {each for source, parsed in self.parsed.items() if source != "setup.py" for each in parsed.strings}
        imported = {
            name for parsed in self.parsed.values() for each in parsed.imports for name in self._by(each.module)
        }
        installed = self.environment.active().keys() if self.environment else set()
        return Mentions(
            words=read_words(self.project.folder, self.tree.files, said),
            present=frozenset(self.declarations.all.keys() | installed | imported),
            environment=self.environment,
        )

    def _by(self, module: str) -> tuple[str, ...]:
        return () if self.modules.is_standard(module) else self.modules.bring(module).by

    def is_expected(self, names: tuple[str, ...]) -> bool:
        """Tell whether one of these names is declared or locked."""
        return not self.modules.expected.isdisjoint(names)

    def install(self, name: str, *, development: bool = False, entry: Declared | None = None) -> str:
        """Give the command that declares a distribution, in the versions that are declared elsewhere, if any."""
        said = entry or self.declarations.own.get(name)
        wanted = shlex.quote(f"{name}{said.specifier}" if said and said.source == "index" else name)
        if self.project.pipfile is not None:
            return f"pipenv install {'--dev ' if development else ''}{wanted}"
        return f"write {wanted} into {self.declaring_file(development=development)}"

    def declaring_file(self, *, development: bool) -> str:
        """Name the file that declares what the package needs, or what developers do."""
        if self.project.pipfile is not None:
            return "the Pipfile"
        if not development:
            return self._requirements
        found = development_files(self.project)
        in_folder = self._requirements.startswith("requirements/")
        default = "requirements/dev.txt" if in_folder else "requirements-dev.txt"
        return shown(found[0], self.project.folder) if found else default

    @property
    def _requirements(self) -> str:
        file = self.project.requirements
        return shown(file, self.project.folder) if file else "requirements.txt"

    def uninstall(self, entry: Declared) -> str:
        """Give the command that takes an entry back."""
        if self.project.pipfile is None or entry.file != self.project.pipfile.path:
            return f"remove it from {shown(entry.file, self.project.folder)}"
        option = {"packages": "", DEVELOPMENT: "--dev "}.get(entry.section, f"--categories {entry.section} ")
        return f"pipenv uninstall {option}{shlex.quote(entry.spelled)}"

    def sync(self, section: str) -> str:
        """Give the command that makes the environment what the lock says, in one of its sections or the Pipfile's."""
        if self.project.pipfile is None:
            return f"pip install -r {shlex.quote(self._requirements)}"
        known = section in ("packages", DEVELOPMENT, "default", "develop")
        return "pipenv sync --dev" if known else f"pipenv sync --categories {shlex.quote(section)}"


def read_facts(project: Project, environment: Environment | None) -> Facts:
    """Read the sources of a project, and put them beside what it declares, locks and has installed.

    Args:
        project: its folder is read.
        environment: read with modules; None if there is none.

    Raises:
        SettingsError: the project's settings for this cannot be used.
        RequirementsError: its requirements for developers cannot be read.
    """
    settings = read_settings(project.folder)
    tree = read_tree(project.folder, settings, roots=project.package.roots)
    declarations = declarations_of(project, environment)
    markers = _markers(project, environment)
    unknown = [each.name for each in environment.active().values() if not each.modules] if environment else []
    locked = [each.name for each in project.lock.entries] if project.lock else []
    expected = frozenset([*unknown, *locked, *declarations.all, *declarations.own])
    return Facts(
        project=project,
        environment=environment,
        settings=settings,
        tree=tree,
        parsed={each: read_imports(project.folder / each, markers=markers) for each in tree.sources},
        declarations=declarations,
        modules=Modules(
            environment=environment, named=settings.modules, expected=expected, python=markers["python_version"]
        ),
        markers=markers,
    )


def _markers(project: Project, environment: Environment | None) -> Mapping[str, str]:
    found = markers_of(environment)
    wanted = wanted_python(project.pipfile.requires) if project.pipfile else ""
    if environment is not None:
        wanted = environment.version or "" if not environment.markers else ""
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", wanted):
        return found
    return found | {"python_version": ".".join(wanted.split(".")[:2]), "python_full_version": wanted}
