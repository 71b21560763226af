"""What a project wants of Travis: Python's versions, the cache, how it is installed and tested, the deploy stage."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.deps.errors import TravisError
from csci_utils.deps.facts import normal_name
from csci_utils.deps.files import NotAFileError, read_file, shown
from csci_utils.deps.project import Project

BRANCH = "master"
ON_MASTER = f"branch = {BRANCH} AND type != pull_request"
"""Of a pull request `branch` is the one it goes to, so `branch = master` alone would deploy what nobody has merged."""

KNOWN_PYTHONS = ("2.7", *(f"3.{minor}" for minor in range(4, 15)))
"""What is tried where only `python_requires` tells; classifiers may name later ones."""

_DISTS = {"jammy": (3, 8), "focal": (3, 6)}
"""Images of Travis's, each with the oldest Python that it has."""

_DEFAULT_UP_TO = (3, 8)
"""The newest Python of the image that Travis takes unasked."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the file should say.

    Attributes:
        pythons: in order; empty where nothing names one.
        values: what each key is kept at: `language`, `python`, `cache`, `install`, `script`, `stages`.
        firsts: what a file has at first and its owner goes on with: `dist`, `jobs` with the job of the stage deploy.
        remarks: what the user should know, one sentence each.
        first_remarks: the same of `firsts`.
    """

    pythons: tuple[str, ...]
    values: Mapping[str, Any]
    firsts: Mapping[str, Any]
    remarks: tuple[str, ...] = ()
    first_remarks: tuple[str, ...] = ()


def plan_of(project: Project) -> Plan:
    """Tell what a project's `.travis.yml` should say.

    Raises:
        TravisError: its Makefile is none that could be read to its end.
    """
    pythons, remarks = pythons_of(project)
    targets = _targets(project.folder / "Makefile")
    deploy, first_remarks = _deploy(project, targets)
    job: dict[str, Any] = {"stage": "deploy"} | ({"python": pythons[0]} if pythons else {}) | deploy
    values: dict[str, Any] = {
        "language": "python",
        **({"python": list(pythons)} if pythons else {}),
        "cache": {
            "directories": [f"$HOME/.cache/{name}" for name in (("pip", "pipenv") if project.pipfile else ("pip",))]
        },
        "install": _install(project, targets),
        "script": _script(project, targets),
        "stages": ["test", {"name": "deploy", "if": ON_MASTER}],
    }
    firsts = {**_dist(pythons), "jobs": {"include": [job]}}
    remarks = (*remarks, *_doubts(project, pythons, values["install"]))
    return Plan(pythons=pythons, values=values, firsts=firsts, remarks=remarks, first_remarks=first_remarks)


def pythons_of(project: Project) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the versions of Python to test with, and what the user should know of them.

    They are those of the classifiers that `python_requires` allows; without classifiers all known ones that it
    allows; without either the one that the Pipfile requires.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    package = project.package
    named = [match[1] for each in package.classifiers if (match := re.fullmatch(_CLASSIFIER, each.strip()))]
    remarks = []
    try:
        allowed = SpecifierSet(package.requires_python or "")
    except InvalidSpecifier:
        remarks.append(f"python_requires is {package.requires_python!r}, which nothing can read; mend it")
        allowed = SpecifierSet()
    chosen = _allowed(named, allowed)
    if named and not chosen:
        remarks.append(f"no classifier names a Python that python_requires ({allowed}) allows; mend one of them")
    if not chosen and len(allowed):
        chosen = _allowed(KNOWN_PYTHONS, allowed)
    if not chosen and project.pipfile:
        wanted = project.pipfile.requires
        chosen = _numbered([wanted.get("python_full_version", ""), wanted.get("python_version", "")])[:1]
    if not chosen:
        remarks.append(
            "no file says which Python is wanted, so Travis takes its own default; say it in python_requires"
        )
    return chosen, tuple(remarks)


_CLASSIFIER = r"Programming Language :: Python :: (\d+\.\d+)"


def _in_order(versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(versions), key=_numbers))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _numbered(versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(each for each in versions if re.fullmatch(r"\d+\.\d+(\.\d+)?", each))


def _allowed(minors: Iterable[str], allowed: Any) -> tuple[str, ...]:
    """Give the minor versions of which a release is allowed; where that is one alone (`==3.11.7`), the release."""
    chosen = []
    for minor in minors:
        releases = [each for patch in range(100) if allowed.contains(each := f"{minor}.{patch}")]
        only = len(releases) == 1 and releases[0] != f"{minor}.0"  # who writes `<=3.10` means all of 3.10
        chosen += releases if only else [minor] if releases else []
    return _in_order(chosen)


def _dist(pythons: Sequence[str]) -> dict[str, str]:
    """Name an image that has all of these; none where the default has them, or where no image may have all."""
    minors = [_numbers(each)[:2] for each in pythons]
    name = next((each for each, oldest in _DISTS.items() if minors and min(minors) >= oldest), None)
    return {"dist": name} if name == "jammy" or (name and max(minors) > _DEFAULT_UP_TO) else {}


def _targets(makefile: Path) -> frozenset[str]:
    try:
        text = read_file(makefile).decode("utf-8", errors="replace")
    except NotAFileError as err:
        raise TravisError(f"{makefile}: wanted a file, found a {err.what} of that name; rename it") from err
    except OSError:
        return frozenset()
    return frozenset(re.findall(r"^([A-Za-z0-9_-]+)\s*:(?!=)", text, re.MULTILINE))


_BY_DEV = ("packages", "dev-packages")
"""The categories of the Pipfile that `pipenv install --dev` installs, and no others."""


def _install(project: Project, targets: frozenset[str]) -> list[str]:
    if {"setup", "test"} <= targets:
        return ["make setup"]
    if project.requirements is not None:
        return [f"pip install -r {shown(project.requirements, project.folder)}"]
    further = dict.fromkeys(each.section for each in project.declared if each.section not in _BY_DEV)
    what = f"--categories {shlex.quote(' '.join([*_BY_DEV, *further]))}" if further else "--dev"
    how = f"--deploy {what}" if project.lock is not None else f"{what} --skip-lock"
    return ["pip install pipenv", f"pipenv install {how}"]


def _script(project: Project, targets: frozenset[str]) -> list[str]:
    if "test" in targets:
        return [f"make {each}" for each in ("lint", "test") if each in targets]
    run = "pipenv run " if project.pipfile else ""
    named = next((each for each in ("test", "tests") if each in _scripts(project)), None)
    if named:
        return [f"{run}{named}"]
    declared = {each.name for each in project.declared}
    command = next((c for name, c in _RUNNERS.items() if name in declared), "python -m unittest discover")
    return [f"{run}{command}"]


_RUNNERS = {"pytest": "pytest", "nose2": "nose2", "nose": "nosetests"}


def _deploy(project: Project, targets: frozenset[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give the lines of the job of the stage deploy; what runs on master, only its owner can know in the end."""
    run = "pipenv run " if project.pipfile else ""
    if "deploy" in targets:
        return {"script": ["make deploy"]}, ()
    if "deploy" in _scripts(project):
        return {"script": [f"{run}deploy"]}, ()
    programs = [each.parent.name for each in sorted(project.folder.glob("[!.]*/__main__.py"))]
    own = normal_name(project.package.name or "")
    chosen = [each for each in programs if normal_name(each) == own] or programs
    if len(chosen) == 1:
        return {"script": [f"{run}python -m {chosen[0]}"]}, ()
    remark = f"nothing says what to run on {BRANCH}: write it as the script of the job of stage deploy, instead of skip"
    return {"install": "skip", "script": "skip"}, (remark,)


def _scripts(project: Project) -> Mapping[str, Any]:
    scripts = project.pipfile.data.get("scripts", {}) if project.pipfile else {}
    return scripts if isinstance(scripts, dict) else {}


def _doubts(project: Project, pythons: Sequence[str], install: Sequence[str]) -> Iterator[str]:
    if project.pipfile is None or not any("pipenv install" in each for each in install):
        return
    if project.lock is None:  # without --deploy pipenv stops at nothing
        yield f"{project.lock_problem}; until then CI installs whatever is newest"
        return
    if not project.lock_is_in_step:
        yield "the lock is out of date with the Pipfile, and pipenv install --deploy stops at that; run: pipenv lock"
    required = project.pipfile.requires.get("python_version")
    others = [each for each in pythons if required and not f"{each}.".startswith(f"{required}.")]
    if others:
        yield (
            f"the Pipfile requires Python {required}, and pipenv install --deploy stops on others "
            f"({', '.join(others)}); leave out [requires] or mend the classifiers"
        )
