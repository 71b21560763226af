"""The facts that everything here is computed from: plain data, all of it JSON once `as_data` has seen it.

Names are compared in their normal form (`normal_name`): lower case, every run of `-`, `_` and `.` one dash.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["index", "git", "hg", "svn", "bzr", "path", "url"]
Site = Literal["env", "user", "system", "path"]
PlaceKind = Literal["main", "pipenv", "conda", "python", "folder"]

VCS: tuple[Source, ...] = ("git", "hg", "svn", "bzr")


def normal_name(name: str) -> str:
    """Give a distribution's name as it is compared: `Ruamel_YAML` and `ruamel.yaml` are both `ruamel-yaml`."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One requirement that somebody wrote into a Pipfile or a requirements file.

    Attributes:
        name: in normal form; of an address without a name, the last part of it.
        spelled: the name as it stands in the file.
        section: `packages`, `dev-packages`, a category of the Pipfile, or `requirements`.
        specifier: what versions are wanted, `>=1,<2`; empty for any. A bare `1.2` is `==1.2`, as pipenv reads it.
        extras: in normal form, sorted.
        marker: when it is wanted, as PEP 508 writes it, or None.
        source: where it comes from.
        address: of a repository, a path or a URL; None from an index.
        ref: the branch, tag or commit of a repository.
        editable: whether it is installed as a link to its source.
        file: the file that says so.
        line: counted from 1; 0 where it could not be told.
        problem: what is wrong with it, one sentence, or None.
    """

    name: str
    spelled: str
    section: str
    specifier: str = ""
    extras: tuple[str, ...] = ()
    marker: str | None = None
    source: Source = "index"
    address: str | None = None
    ref: str | None = None
    editable: bool = False
    file: Path
    line: int = 0
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One entry of a Pipfile.lock.

    Attributes:
        name: in normal form.
        section: `default`, `develop`, or a category.
        version: without `==`; None for what comes from a repository or a path.
        extras: in normal form, sorted.
        marker: when it is installed, as PEP 508 writes it, or None.
        source: where it comes from.
        address: of a repository, a path or a URL; None from an index.
        ref: the commit of a repository.
        editable: whether it is installed as a link to its source.
        hashes: how many of them hold what is installed.
    """

    name: str
    section: str
    version: str | None = None
    extras: tuple[str, ...] = ()
    marker: str | None = None
    source: Source = "index"
    address: str | None = None
    ref: str | None = None
    editable: bool = False
    hashes: int = 0


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A Pipfile.lock.

    Attributes:
        path: the file.
        sha256: the digest of the Pipfile that it was made from, or None.
        requires: `python_version` and `python_full_version`, where it names them.
        entries: all of it, section by section.
    """

    path: Path
    sha256: str | None
    requires: Mapping[str, str]
    entries: tuple[Locked, ...]

    def section(self, name: str) -> dict[str, Locked]:
        """Give the entries of one section by name."""
        return {entry.name: entry for entry in self.entries if entry.section == name}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an installed distribution came from when no index gave it (PEP 610).

    Attributes:
        url: its address.
        vcs: `git` and the like; None for a folder or an archive.
        commit: the one that is installed; None without a repository.
    """

    url: str
    vcs: str | None = None
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One distribution that lies in an environment, seen by it or hidden behind another.

    Attributes:
        name: in normal form.
        spelled: as its metadata writes it.
        version: None where nothing says it.
        path: its metadata, a folder or a file.
        location: the folder that it is imported from; of an editable one, its source.
        site: whether it lies in the environment's own folders (`env`), the user's, the base interpreter's below a
            virtual environment (`system`), or in a folder that a `.pth` file adds (`path`).
        requires: the requirements as its metadata writes them, those of extras too.
        extras: those that it offers, as written.
        modules: what it can be imported as, dotted where the first part is a namespace that others share; None where
            it was not asked for or nothing tells.
        installer: `pip`, `conda`, or what its metadata says.
        editable: whether it is a link to its source.
        origin: None for what an index gave.
        hidden_by: the path of the one of that name that Python finds first, or None.
        problems: what is wrong with its metadata, one sentence each.
    """

    name: str
    spelled: str
    version: str | None
    path: str
    location: str
    site: Site = "env"
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    modules: tuple[str, ...] | None = None
    installer: str | None = None
    editable: bool = False
    origin: Origin | None = None
    hidden_by: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One interpreter or folder, and what is installed there.

    Attributes:
        label: what it is called side by side with others: `main`, `pipenv`, `conda:NAME`, or the path that was named.
        kind: how it was found.
        python: the interpreter, or None for a folder without one.
        prefix: its root folder, or the folder that was read.
        version: of Python, full; None if unknown.
        markers: the values that markers are compared with (`packaging.markers`); empty if unknown.
        stdlib: the names of the standard library's modules; None unless modules were asked for and Python tells.
        distributions: in the order in which Python finds them.
        problems: what could not be read, one sentence each.
    """

    label: str
    kind: PlaceKind
    python: str | None
    prefix: str
    version: str | None = None
    markers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stdlib: frozenset[str] | None = None
    distributions: tuple[Distribution, ...] = ()
    problems: tuple[str, ...] = ()

    def active(self) -> dict[str, Distribution]:
        """Give by name what Python finds; what lies hidden behind it is left out."""
        return {each.name: each for each in self.distributions if each.hidden_by is None}


def as_data(fact: Any) -> Any:
    """Turn facts, and whatever holds them, into what `json.dumps` takes."""
    if dataclasses.is_dataclass(fact) and not isinstance(fact, type):
        return {field.name: as_data(getattr(fact, field.name)) for field in dataclasses.fields(fact)}
    if isinstance(fact, Mapping):
        return {str(key): as_data(value) for key, value in fact.items()}
    if isinstance(fact, (set, frozenset)):
        return sorted(as_data(each) for each in fact)
    if isinstance(fact, (list, tuple)):
        return [as_data(each) for each in fact]
    return str(fact) if isinstance(fact, Path) else fact
