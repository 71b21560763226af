"""What is installed or locked as packages of a graph; what a locked version requires, an environment has to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from csci_utils.deps.brought import applies
from csci_utils.deps.facts import Declared, Distribution, Environment, Lock, Locked
from csci_utils.deps.graph_building import Package


def environment_packages(environment: Environment, declared: Iterable[Declared] = ()) -> list[Package]:
    """Give what an environment finds.

    Args:
        environment: where it is installed.
        declared: what the Pipfile that the environment belongs to asks for.
    """
    wishes = _by_name(declared)
    return [
        Package(
            name=each.name,
            spelled=each.spelled,
            version=each.version,
            requires=each.requires,
            declared=_sections(wishes.get(each.name, [])),
            asked=_extras(wishes.get(each.name, []), environment.markers),
            problems=each.problems,
        )
        for each in environment.active().values()
    ]


def lock_packages(
    lock: Lock, environment: Environment | None, markers: Mapping[str, str], declared: Iterable[Declared] = ()
) -> tuple[list[Package], list[str]]:
    """Give what a lock would install here.

    The lock has no requirements: those of a version are taken from the environment that has this version installed,
    and unknown where none has.

    Args:
        lock: the lock.
        environment: the one to ask; None for none.
        markers: what the markers of the entries are compared with, all of them.
        declared: what the Pipfile asks for.

    Returns:
        One package a name, and what the user should know.
    """
    installed = environment.active() if environment else {}
    wishes = _by_name(declared)
    entries: dict[str, Locked] = {}
    elsewhere = []
    for entry in lock.entries:
        if not applies(entry.marker, markers):
            elsewhere.append(entry.name)
        else:
            entries.setdefault(entry.name, entry)
    packages = [
        _locked(entry, _same(entry, installed.get(name)), wishes.get(name, []), markers)
        for name, entry in entries.items()
    ]
    return packages, [*_elsewhere(set(elsewhere) - set(entries)), *_unknown(packages, environment)]


def _locked(
    entry: Locked, found: Distribution | None, wishes: Iterable[Declared], markers: Mapping[str, str]
) -> Package:
    wishes = list(wishes)
    return Package(
        name=entry.name,
        spelled=found.spelled if found else entry.name,
        version=entry.version or (found.version if found else None),
        requires=found.requires if found else (),
        known=found is not None,
        declared=_sections(wishes),
        asked=tuple(sorted({*entry.extras, *_extras(wishes, markers)})),
        problems=found.problems if found else (),
    )


def _same(entry: Locked, found: Distribution | None) -> Distribution | None:
    """Give what is installed if it is what is locked: the version, or the commit of a repository."""
    if found is None:
        return None
    if entry.version is not None:
        return found if _as_version(found.version) == _as_version(entry.version) else None
    commit = found.origin.commit if found.origin else None
    return None if entry.ref and commit and commit != entry.ref else found


def _as_version(text: str | None) -> object:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text or "")
    except InvalidVersion:
        return text


def _elsewhere(names: Iterable[str]) -> Iterator[str]:
    listed = sorted(names)
    if listed:
        yield f"left out, since their markers are false here: {_some(listed)}"


def _unknown(packages: Iterable[Package], environment: Environment | None) -> Iterator[str]:
    unknown = sorted(each.name for each in packages if not each.known)
    if unknown:
        where = f"{environment.label} has other versions or none" if environment else "there is no environment"
        yield (
            f"a lock names no requirements, and those of {len(unknown)} entries are not known, since {where} "
            f"({_some(unknown)}); install what is locked: pipenv sync --dev"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def _by_name(declared: Iterable[Declared]) -> dict[str, list[Declared]]:
    found: dict[str, list[Declared]] = {}
    for each in declared:
        found.setdefault(each.name, []).append(each)
    return found


def _sections(wishes: Iterable[Declared]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.section for each in wishes))


def _extras(wishes: Iterable[Declared], markers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({extra for each in wishes if applies(each.marker, markers) for extra in each.extras}))
