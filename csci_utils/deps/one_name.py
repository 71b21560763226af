"""All that is known of one name: declared, locked, installed, required, imported, and what does not agree."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from csci_utils.deps.errors import AmbiguousNameError
from csci_utils.deps.facts import Declared, Distribution, Environment, Locked, normal_name
from csci_utils.deps.findings import Finding
from csci_utils.deps.graph import Graph, State
from csci_utils.deps.imports import Need
from csci_utils.deps.parts import Part
from csci_utils.deps.project import Project

if TYPE_CHECKING:
    from csci_utils.deps.check_facts import Facts

_MOST_NEAR = 5


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One place in which it is installed."""

    environment: str
    distribution: Distribution


@dataclass(frozen=True, kw_only=True)
class Requirer:
    """One that requires it, in one environment.

    Attributes:
        environment: the label.
        name: as its metadata writes it.
        version: of the one that requires.
        required: the versions of this, empty for any.
        by_extras: the requirer's extras that bring it; empty if it is always required.
        state: whether what is installed there is what is required.
    """

    environment: str
    name: str
    version: str | None
    required: str
    by_extras: tuple[str, ...]
    state: State


@dataclass(frozen=True, kw_only=True)
class Imported:
    """One line that imports it."""

    file: Path
    line: int
    module: str
    part: Part
    need: Need


@dataclass(frozen=True, kw_only=True)
class OneName:
    """All that is known of one name.

    Attributes:
        name: in normal form.
        spelled: as its metadata writes it, else as it is declared.
        modules: what it is imported as; where no environment has it, what is likely.
        declared: in the Pipfile or requirements.txt.
        own: what the project's own metadata says of it (setup.py, pyproject.toml), or None.
        locked: at most one entry a section.
        installed: everywhere, what lies hidden behind another one as well.
        required_by: in the order of environments.
        imported: in the order of files.
        findings: what `check` finds of it.
    """

    name: str
    spelled: str
    modules: tuple[str, ...]
    declared: tuple[Declared, ...]
    own: Declared | None
    locked: tuple[Locked, ...]
    installed: tuple[Installed, ...]
    required_by: tuple[Requirer, ...]
    imported: tuple[Imported, ...]
    findings: tuple[Finding, ...]

    @property
    def breaks_ci(self) -> bool:
        """Whether CI would fail because of it."""
        return any(each.breaks_ci for each in self.findings)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Everything that a name is looked for in.

    Attributes:
        project: what it declares and locks.
        environments: read with modules.
        own: the one of them that `check` compares with, or None.
        facts: the project as `check` sees it.
    """

    project: Project
    environments: Sequence[Environment]
    own: Environment | None
    facts: Facts
    graphs: Mapping[str, Graph]

    def names(self) -> set[str]:
        """Give every distribution that is declared, locked, installed or required."""
        found = {each.name for each in self.project.declared} | self.facts.declarations.own.keys()
        found |= {each.name for each in (self.project.lock.entries if self.project.lock else ())}
        found |= {each.name for environment in self.environments for each in environment.distributions}
        return found.union(*(graph.nodes for graph in self.graphs.values()))


def survey(project: Project, environments: Sequence[Environment], own: Environment | None) -> Surroundings:
    """Read the project's sources, and who requires whom in each environment.

    Raises:
        DepsError: the project's settings for `check` cannot be used.
    """
    from csci_utils.deps.check_facts import read_facts
    from csci_utils.deps.tree import environment_graph

    graphs = {each.label: environment_graph(each, project) for each in environments}
    facts = read_facts(project, own)
    return Surroundings(project=project, environments=environments, own=own, facts=facts, graphs=graphs)


def find_name(text: str, around: Surroundings) -> str | None:
    """Tell which distribution is meant: by its name in any spelling, else by what is imported.

    Raises:
        AmbiguousNameError: several distributions bring a module of that name.
    """
    wanted = text.partition("[")[0].strip()
    names = around.names()
    if normal_name(wanted) in names:
        return normal_name(wanted)
    installed = [*([around.own] if around.own else []), *around.environments]
    by = next(filter(None, (_bringing(wanted, each) for each in installed)), ())
    if not by and wanted:
        by = tuple(each for each in around.facts.modules.bring(wanted).by if each in names or _uses(each, around.facts))
    if len(by) > 1:
        raise AmbiguousNameError(
            f"{wanted}: wanted one distribution, found {len(by)}: {', '.join(by)}; name one of them"
        )
    return by[0] if by else None


def near_names(text: str, around: Surroundings) -> list[str]:
    """Give names that somebody may have meant, the nearest first."""
    modules = {
        module: each.name
        for environment in around.environments
        for each in environment.distributions
        for module in each.modules or ()
    }
    known = dict.fromkeys(around.names()) | modules
    close = difflib.get_close_matches(normal_name(text), sorted(known), n=_MOST_NEAR, cutoff=0.7)
    return list(dict.fromkeys(known[each] or each for each in close))


def all_about(name: str, around: Surroundings) -> OneName:
    """Put together all that is known of a distribution."""
    from csci_utils.deps.check import report_of

    project, facts = around.project, around.facts
    declared = tuple(each for each in project.declared if each.name == name)
    own = facts.declarations.own.get(name)
    installed = tuple(
        Installed(environment=environment.label, distribution=each)
        for environment in around.environments
        for each in environment.distributions
        if each.name == name
    )
    spellings = [each.distribution.spelled for each in installed] + [each.spelled for each in declared]
    return OneName(
        name=name,
        spelled=next(iter(spellings), own.spelled if own else name),
        modules=_modules(name, installed, facts),
        declared=declared,
        own=own,
        locked=project.locked(name),
        installed=installed,
        required_by=tuple(_requirers(name, around)),
        imported=tuple(_imports(name, facts)),
        findings=tuple(each for each in report_of(facts).findings if normal_name(each.name) == name),
    )


def _bringing(module: str, environment: Environment) -> tuple[str, ...]:
    """Give what brings a module: of just that name, else one that holds it or lies in it, else whatever its case."""
    found = [(brought, each.name) for each in environment.active().values() for brought in each.modules or ()]
    hits = (
        [name for brought, name in found if brought == module],
        [name for brought, name in found if module.startswith(f"{brought}.")],
        [name for brought, name in found if brought.startswith(f"{module}.")],
        [name for brought, name in found if brought.lower() == module.lower()],
    )
    return tuple(dict.fromkeys(next(filter(None, hits), [])))


def _modules(name: str, installed: Iterable[Installed], facts: Facts) -> tuple[str, ...]:
    known = (each.distribution.modules for each in installed if each.distribution.hidden_by is None)
    return next(filter(None, known), None) or facts.modules.of(name)


def _requirers(name: str, around: Surroundings) -> Iterator[Requirer]:
    for environment, graph in around.graphs.items():
        for edge in graph.above(name, ()):
            source = graph.nodes[edge.source]
            yield Requirer(
                environment=environment,
                name=source.spelled,
                version=source.version,
                required=edge.required,
                by_extras=edge.by_extras,
                state=edge.state,
            )


def _uses(name: str, facts: Facts) -> bool:
    return next(_imports(name, facts), None) is not None


def _imports(name: str, facts: Facts) -> Iterator[Imported]:
    from csci_utils.deps.check_imports import uses_of

    places = [place for use in uses_of(facts) if name in use.brought.by for place in use.places]
    for place in sorted(places, key=lambda each: (each.file, each.imported.line)):
        what = place.imported
        yield Imported(file=place.file, line=what.line, module=what.module, part=place.part, need=what.need)
