"""What can be found between imports, declarations, lock and environment: the kinds, and which of them break CI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal[
    "undeclared",
    "dev-only",
    "transitive",
    "unused",
    "not-installed",
    "version-installed",
    "python-installed",
    "version-locked",
    "stale-lock",
    "python",
    "unparsed",
]

KINDS: Mapping[Kind, str] = {
    "undeclared": "imported, and nothing that is declared brings it",
    "dev-only": "imported by the package, and only dev-packages bring it",
    "transitive": "imported, and only something else that is declared happens to bring it",
    "unused": "declared, and neither imported nor named by any command or configuration",
    "not-installed": "declared, and not in the environment",
    "version-installed": "installed in another version than the lock's",
    "python-installed": "an environment whose Python is not the one that is wanted",
    "version-locked": "locked in another version than is declared",
    "stale-lock": "a lock that is missing, cannot be read, or was not made from this Pipfile",
    "python": "versions of Python that exclude each other",
    "unparsed": "a source that is no Python, so that what it imports is not known",
}

BREAKING: frozenset[Kind] = frozenset({"undeclared", "dev-only", "version-locked", "stale-lock", "python"})
"""The kinds with which CI, which has nothing but the Pipfile and its lock, fails or installs something else.

The others are for tidiness (`transitive`, `unused`), or tell that this environment is not what CI has.
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to mend.

    Attributes:
        kind: see `KINDS`.
        name: a distribution's, or a file's; for `python` and `stale-lock` what they are about.
        file: the file that says so.
        line: counted from 1; 0 for the file as a whole.
        sentence: the same for people.
        mend: the command, or what to write where.
        breaks_ci: whether CI would fail with it.
    """

    kind: Kind
    name: str
    file: Path
    line: int
    sentence: str
    mend: str
    breaks_ci: bool


def finding(kind: Kind, name: str, *, file: Path, line: int, sentence: str, mend: str) -> Finding:
    """Make a finding, and say by its kind whether it breaks CI."""
    return Finding(kind=kind, name=name, file=file, line=line, sentence=sentence, mend=mend, breaks_ci=kind in BREAKING)
