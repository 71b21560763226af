"""Imports against declarations: what is not declared, declared for the wrong part, brought by chance, or not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csci_utils.deps.check_facts import Facts
from csci_utils.deps.declarations import installed_as
from csci_utils.deps.facts import Declared, normal_name
from csci_utils.deps.findings import Finding, Kind, finding
from csci_utils.deps.imports import Import
from csci_utils.deps.modules_of import Brought
from csci_utils.deps.parts import Part
from csci_utils.deps.standards import applies

_TYPE_CHECKERS = frozenset({"mypy", "pyright", "basedpyright", "pytype", "pyre-check", "ty", "zuban"})
_BUILDERS = frozenset({"setuptools", "wheel", "pip"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something is imported, and by which part of the project."""

    file: Path
    part: Part
    imported: Import


@dataclass(frozen=True, kw_only=True)
class Use:
    """All imports of what the same distributions bring."""

    brought: Brought
    places: tuple[Place, ...]

    def of(self, *parts: Part) -> tuple[Place, ...]:
        """Give the places in which these parts cannot do without it."""
        return tuple(each for each in self.places if each.part in parts and each.imported.need == "required")


def uses_of(facts: Facts) -> list[Use]:
    """Collect what the sources import that neither Python nor the project itself brings."""
    found: dict[Brought, list[Place]] = {}
    for source, parsed in facts.parsed.items():
        for imported in parsed.imports:
            place = Place(file=facts.project.folder / source, part=facts.tree.part_of(source), imported=imported)
            for brought in dict.fromkeys(_brought(facts, source, imported)):
                found.setdefault(brought, []).append(place)
    return [Use(brought=brought, places=tuple(places)) for brought, places in found.items()]


def _brought(facts: Facts, source: str, imported: Import) -> Iterator[Brought]:
    if facts.modules.is_standard(imported.module):
        return
    for name in imported.names or (None,):
        whole = imported.module if name in (None, "*") else f"{imported.module}.{name}"
        if facts.tree.holds(whole) == "module":
            continue
        brought = facts.modules.bring(imported.module, name)
        if facts.itself in brought.by:
            continue
        if facts.is_expected(brought.by) or not _could_be_ours(facts, source, whole, brought):
            yield brought


def _could_be_ours(facts: Facts, source: str, whole: str, brought: Brought) -> bool:
    """Tell whether an import may be of the project's own: a folder may be called like the library that it is about.

    Of a folder without `__init__.py` and a library, Python takes the library, wherever it finds it, unless both are
    parts of a namespace; and of such a folder only what lies in it can be imported. A module that lies far from its
    importer is ours only where no library is to be seen.
    """
    tree = facts.tree
    near = tree.holds_near(whole, source)
    if near == "module" or not (brought.guessed or facts.modules.is_shared(whole)):
        return near == "module"
    return bool(near or tree.holds(whole)) or tree.holds_somewhere(whole, source) == "module"


def check_uses(facts: Facts, uses: list[Use]) -> Iterator[Finding]:
    """Find what is imported and not declared as it should be."""
    for use in uses:
        yield from _judged(facts, use)


def _judged(facts: Facts, use: Use) -> Iterator[Finding]:
    """Judge by the part that needs it most: what the package lacks, developers need not be told as well."""
    by = set(use.brought.by)
    declared = facts.declarations
    in_package, in_development, in_build = use.of("package"), use.of("development"), use.of("build")
    if in_package and not by & declared.for_package.keys():
        yield _for_package(facts, use, in_package)
    elif in_development and not by & declared.all.keys():
        yield _for_developers(facts, use, in_development)
    elif in_build and not by & (declared.all.keys() | facts.builders | _BUILDERS):
        file = "[build-system] requires of pyproject.toml"
        mend = f"write {use.brought.by[0]} into {file}" if use.brought.sure else f"name what brings it in {file}"
        yield _undeclared(facts, use, in_build, mend=mend)
    elif not by & declared.all.keys() and declared.all.keys() & _TYPE_CHECKERS:
        typing = tuple(each for each in use.places if each.imported.need == "typing")
        if typing:
            yield _for_developers(facts, use, typing)


def _for_package(facts: Facts, use: Use, places: tuple[Place, ...]) -> Finding:
    by = set(use.brought.by)
    for name in use.brought.by:
        if name in facts.declarations.development:
            entry = facts.declarations.development[name]
            what = f"the package imports it, and {_where(entry)} declares it for developers only"
            return _found("dev-only", facts, use, places, what, mend=facts.install(name, entry=entry), name=name)
    if by & facts.brings_package.keys():
        return _transitive(facts, use, places, facts.brings_package, development=False)
    for name in use.brought.by:
        if name in facts.brings_all:
            what = f"the package imports it, and only {_listed(facts.brings_all[name])} for developers brings it"
            return _found("dev-only", facts, use, places, what, mend=facts.install(name), name=name)
    return _undeclared(facts, use, places, mend=_install(facts, use.brought, development=False))


def _for_developers(facts: Facts, use: Use, places: tuple[Place, ...]) -> Finding:
    if set(use.brought.by) & facts.brings_all.keys():
        return _transitive(facts, use, places, facts.brings_all, development=True)
    return _undeclared(facts, use, places, mend=_install(facts, use.brought, development=True))


def _install(facts: Facts, brought: Brought, *, development: bool) -> str:
    """Give the command that declares it; none where that could install somebody else's."""
    if brought.sure:
        return facts.install(brought.by[0], development=development)
    return f"name what brings it in {facts.declaring_file(development=development)}"


def _transitive(
    facts: Facts, use: Use, places: tuple[Place, ...], brings: Mapping[str, tuple[str, ...]], *, development: bool
) -> Finding:
    name = next(each for each in use.brought.by if each in brings)
    by = sorted(brings[name], key=lambda each: (each != facts.itself, each not in facts.declarations.all))
    what = f"it is imported and not declared; only {_listed(by)} {'bring' if len(by) > 1 else 'brings'} it"
    return _found("transitive", facts, use, places, what, mend=facts.install(name, development=development), name=name)


def _undeclared(facts: Facts, use: Use, places: tuple[Place, ...], *, mend: str) -> Finding:
    own = facts.declarations.own.get(use.brought.by[0])
    hint = f" ({own.file.name} requires it, and is not what CI installs from)" if own else ""
    return _found("undeclared", facts, use, places, f"it is imported, and nothing declared brings it{hint}", mend=mend)


def _found(
    kind: Kind, facts: Facts, use: Use, places: tuple[Place, ...], what: str, *, mend: str, name: str | None = None
) -> Finding:
    first, *more = sorted(places, key=lambda each: (each.file, each.imported.line))
    files = len({each.file for each in more} - {first.file})
    module = first.imported.module
    as_what = f" as {module}" if normal_name(module.partition(".")[0]) != (name or use.brought.by[0]) else ""
    also = f"; so do {files} more files" if files > 1 else "; so does one more file" if files else ""
    guess = " (a guess by its name: nothing installed brings it)" if use.brought.guessed else ""
    return finding(
        kind,
        name or use.brought.by[0],
        file=first.file,
        line=first.imported.line,
        sentence=f"{what}{as_what}{also}{guess}",
        mend=mend,
    )


def check_unused(facts: Facts, uses: list[Use]) -> Iterator[Finding]:
    """Find what is declared and used by nothing; what is for another platform, or not installed, is not known."""
    used = {name for use in uses for name in use.brought.by}
    declared = facts.declarations
    counted = declared.own if declared.own_counts else {}
    entries = {
        id(each): each for each in (*counted.values(), *declared.package.values(), *declared.development.values())
    }
    for entry in entries.values():
        installed = installed_as(entry, facts.environment)
        name = installed.name if installed else entry.name
        known = installed is not None if facts.environment else applies(entry.marker, facts.markers)
        if known and name not in used and not facts.mentions.use(name, facts.modules.of(name)):
            yield _unused(facts, entry)


def _unused(facts: Facts, entry: Declared) -> Finding:
    guess = "" if facts.environment else ", as far as its name tells"
    return finding(
        "unused",
        entry.name,
        file=entry.file,
        line=entry.line,
        sentence=f"it is declared, and no source imports it and no command or setting names it{guess}",
        mend=facts.uninstall(entry),
    )


def _where(entry: Declared) -> str:
    return entry.file.name if entry.file.suffix == ".txt" else entry.section


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "the lock"
