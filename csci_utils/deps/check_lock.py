"""Declarations, lock and environment against each other: a stale lock, other versions, what is missing, Pythons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from csci_utils.deps.check_facts import Facts
from csci_utils.deps.declarations import DEVELOPMENT, installed_as
from csci_utils.deps.facts import Declared, Lock, Locked
from csci_utils.deps.files import read_file
from csci_utils.deps.findings import Finding, finding
from csci_utils.deps.pipfile import wanted_python
from csci_utils.deps.standards import applies, fits

_SECTIONS = {"packages": "default", DEVELOPMENT: "develop"}


def check_lock(facts: Facts) -> Iterator[Finding]:
    """Find a lock that CI cannot use, or that is not what the Pipfile declares."""
    project = facts.project
    if project.pipfile is None:
        return
    file = project.pipfile.path.with_name(f"{project.pipfile.path.name}.lock")
    if project.lock is None:
        what, _, mend = (project.lock_problem or "").removeprefix(f"{file}: ").rpartition("; ")
        yield _stale(file.name, file=file, line=0, what=what, mend=mend.rpartition(": ")[2])
        return
    if not project.lock_is_in_step:
        what = "the lock was not made from this Pipfile: the digests differ"
        yield _stale(file.name, file=file, line=_line_of(file, "sha256"), what=what)
    for entry in project.pipfile.declared:
        yield from _locked_otherwise(facts, entry, project.lock)


def _locked_otherwise(facts: Facts, entry: Declared, lock: Lock) -> Iterator[Finding]:
    section = _SECTIONS.get(entry.section, entry.section)
    locked = lock.section(section).get(entry.name)
    if locked is None:
        what = f"the lock's {section!r} has no {entry.name}, which {entry.section} declares"
        yield _stale(entry.name, file=entry.file, line=entry.line, what=what)
    elif locked.version is not None and entry.problem is None and fits(locked.version, entry.specifier) is False:
        yield finding(
            "version-locked",
            entry.name,
            file=entry.file,
            line=entry.line,
            sentence=f"{entry.specifier} is declared, and the lock has {locked.version}",
            mend="pipenv lock",
        )


def _stale(name: str, *, file: Path, line: int, what: str, mend: str = "pipenv lock") -> Finding:
    return finding("stale-lock", name, file=file, line=line, sentence=what, mend=mend)


def check_installed(facts: Facts) -> Iterator[Finding]:
    """Find what the environment lacks of what is declared for it, and what it has in another version than the lock."""
    if facts.environment is None:
        return
    declared = facts.declarations
    itself = [declared.itself] if declared.itself else []
    entries = {id(each): each for each in (*itself, *declared.package.values(), *declared.development.values())}
    for entry in entries.values():
        if installed_as(entry, facts.environment) is None and applies(entry.marker, facts.markers):
            yield finding(
                "not-installed",
                entry.name,
                file=entry.file,
                line=entry.line,
                sentence=f"it is declared, and not in the environment {facts.environment.prefix}",
                mend=facts.sync(entry.section),
            )
    if facts.project.lock is not None:
        yield from _installed_otherwise(facts, facts.project.lock)


def _installed_otherwise(facts: Facts, lock: Lock) -> Iterator[Finding]:
    """Compare by name: the two sections may lock one name in two versions, of which either will do."""
    by_name: dict[str, list[Locked]] = {}
    for entry in lock.entries:
        if entry.version is not None and applies(entry.marker, facts.markers):
            by_name.setdefault(entry.name, []).append(entry)
    active = facts.environment.active() if facts.environment else {}
    for name, entries in by_name.items():
        installed = active.get(name)
        if installed is None or installed.editable or installed.origin is not None or installed.version is None:
            continue
        if all(fits(installed.version, f"=={entry.version}") is False for entry in entries):
            yield finding(
                "version-installed",
                name,
                file=lock.path,
                line=_line_of(lock.path, name),
                sentence=f"{entries[0].version} is locked, and {installed.version} is installed",
                mend=facts.sync(entries[0].section),
            )


def check_pythons(facts: Facts) -> Iterator[Finding]:
    """Find versions of Python that exclude each other: the Pipfile's, the lock's, the package's, the environment's."""
    project = facts.project
    allowed = project.package.requires_python
    if allowed is not None and _specifier(allowed) is None:
        file = project.package.files[-1]
        what = f"python_requires is {allowed!r}, which nothing can read"
        yield _python(
            "python_requires", file=file, line=_line_of(file, allowed), what=what, mend="write it as '>=3.11'"
        )
        allowed = None
    if project.pipfile is not None:
        yield from _wanted_pythons(facts, allowed)
    version = facts.environment.version if facts.environment else None
    if version is not None and allowed is not None and not _may_be(version, allowed):
        file = project.package.files[-1]
        what = f"the package wants Python {allowed}, and the environment has {version}"
        yield _other_python(file=file, line=_line_of(file, allowed), what=what, mend=_anew(facts, allowed))


def _wanted_pythons(facts: Facts, allowed: str | None) -> Iterator[Finding]:
    """Compare what Pipfile and lock name with what the package allows, and the Pipfile's with the environment's."""
    project = facts.project
    assert project.pipfile is not None
    wanted = wanted_python(project.pipfile.requires)
    file = project.pipfile.path
    line = _line_of(file, "python_full_version") or _line_of(file, "python_version")
    if wanted and allowed is not None and not _may_be(wanted, allowed):
        what = f"the Pipfile wants Python {wanted}, and the package wants {allowed}"
        mend = "write another version below [requires], then: pipenv lock"
        yield _python("requires", file=file, line=line, what=what, mend=mend)
    version = facts.environment.version if facts.environment else None
    if wanted and version and not f"{version}.".startswith(f"{wanted}.") and not f"{wanted}.".startswith(f"{version}."):
        what = f"the Pipfile wants Python {wanted}, and the environment has {version}"
        yield _other_python(file=file, line=line, what=what, mend=_anew(facts, allowed))
    locked = wanted_python(project.lock.requires) if project.lock else ""
    if project.lock and locked and locked != wanted:
        what = f"the lock was made for Python {locked}, and the Pipfile wants {wanted or 'none in particular'}"
        line = _line_of(project.lock.path, "python_full_version") or _line_of(project.lock.path, "python_version")
        yield _python("lock", file=project.lock.path, line=line, what=what, mend="pipenv lock")


def _python(name: str, *, file: Path, line: int, what: str, mend: str) -> Finding:
    return finding("python", name, file=file, line=line, sentence=what, mend=mend)


def _other_python(*, file: Path, line: int, what: str, mend: str) -> Finding:
    return finding("python-installed", "environment", file=file, line=line, sentence=what, mend=mend)


def _anew(facts: Facts, allowed: str | None) -> str:
    """Give the commands that make the environment anew, with a Python that Pipfile and package allow."""
    pipfile = facts.project.pipfile
    wanted = wanted_python(pipfile.requires) if pipfile else ""
    fitting = [*([wanted] if wanted else []), *(f"3.{minor}" for minor in range(7, 30)), "2.7"]
    version = next((each for each in fitting if allowed is None or _may_be(each, allowed)), "VERSION")
    if pipfile is None:
        return f"make the environment anew with Python {version}"
    first = "write another version below [requires]; pipenv lock; " if wanted and version != wanted else ""
    return f"{first}pipenv --rm; pipenv --python {version} sync --dev"


def _specifier(text: str) -> str | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier:
        return None


def _may_be(version: str, specifier: str) -> bool:
    """Tell whether a version fits, or one that it is the beginning of: `3.11` may be 3.11.4."""
    candidates = [version] if version.count(".") >= 2 else [f"{version}.{micro}" for micro in range(100)]
    return any(fits(each, specifier) is not False for each in candidates)


def _line_of(file: Path, key: str) -> int:
    """Find the first line of a file that has a key, in quotes or not; 0 if there is none."""
    return _lines(file).get(_spelled(key), 0)


def _lines(file: Path) -> Mapping[str, int]:
    try:
        lines = read_file(file).decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    found: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        for text in re.findall(r"""["']([^"']+)["']|^\s*([\w.-]+)\s*[=:]""", line):
            found.setdefault(_spelled("".join(text)), number)
    return found


def _spelled(key: str) -> str:
    return re.sub(r"[-_.]+", "-", key).lower()
