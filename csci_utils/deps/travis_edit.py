"""Putting a plan into a `.travis.yml`: what the file says is kept in step, in place; comments and all else stay.

The file says it itself, in a comment that begins with `MARK`: the words after it are the keys that are written here,
everything else is its owner's. `deploy` means that there is a job of the stage deploy, and its version of Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csci_utils.deps.errors import TravisError
from csci_utils.deps.text import all_without_secrets
from csci_utils.deps.travis_lines import (
    JOBS,
    deploy_jobs,
    emit,
    replaced,
    takes_one_of,
    with_python,
    without_python,
)
from csci_utils.deps.travis_plan import Plan
from csci_utils.deps.travis_yaml import Document, parse

MARK = "# csci_utils.deps travis keeps in step:"
KEYS = ("language", "python", "cache", "stages", "install", "script", "deploy")
_EXPLANATION = "# (the rest is yours; to have your own of one of these, take it out of the line above)"
_ORDER = ("language", "dist", "python", "cache", "stages", "install", "script", "jobs")

Change = tuple[int, int, list[str]]
"""From which line, to which (not included), and the lines instead."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key that is not in step.

    Attributes:
        key: one of `KEYS`; `mark` where the file does not say what is kept in step.
        wanted: what it should be.
        found: what it is, or None.
        sentence: the same for people.
    """

    key: str
    wanted: Any
    found: Any
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """Which keys are kept in step.

    Attributes:
        keys: in the order of `KEYS`.
        said: whether the file says so itself.
        strange: words that it says and that are no keys.
    """

    keys: tuple[str, ...]
    said: bool
    strange: tuple[str, ...] = ()


def ownership(document: Document) -> Ownership:
    """Tell which keys of a file are kept in step: those that it says.

    In a file that says nothing it is `python`, and `language` where that is Python, and whatever is not there.
    """
    said = next((line for line in document.lines if line.startswith(MARK)), None)
    if said is not None:
        words = [each for each in re.split(r"[\s,]+", said.removeprefix(MARK)) if each]
        strange = tuple(each for each in words if each not in KEYS)
        return Ownership(keys=tuple(each for each in KEYS if each in words), said=True, strange=strange)
    taken = {each for each in KEYS if each not in document.data}
    if any(each in document.data for each in (*JOBS, "deploy")):  # its owner has stages already
        taken -= {"stages", "deploy"}
    if document.data.get("language", "python") == "python":
        taken |= {"language", "python"}
    else:
        taken -= {"python"}
    return Ownership(keys=tuple(each for each in KEYS if each in taken), said=False)


def differences(document: Document, plan: Plan) -> list[Difference]:
    """Tell what is not in step."""
    owned = ownership(document)
    found = []
    if not owned.said:
        what = "no line says what is kept in step"
        found.append(Difference(key="mark", wanted=f"{MARK} {', '.join(owned.keys)}", found=None, sentence=what))
    for key in owned.keys:
        there = document.data.get(key)
        if key in plan.values and _comparable(key, there) != _comparable(key, plan.values[key]):
            found.append(_difference(key, plan.values[key], there))
    if "deploy" in owned.keys:
        jobs = [job for _, job in deploy_jobs(document)]
        if not jobs:
            found.append(_difference("deploy", plan.firsts["jobs"]["include"][0], None))
        for job in jobs:
            if plan.pythons and not takes_one_of(job, plan.pythons):
                found.append(_difference("deploy", {"python": plan.pythons[0]}, {"python": job["python"]}))
    return found


def merge(document: Document, plan: Plan) -> str:
    """Give the text of a file with a plan put into it, as it is to be written; the same where all is in step.

    Raises:
        TravisError: a key is laid out so that it cannot be replaced without changing more.
    """
    wrong = [each.key for each in differences(document, plan)]
    if not wrong:
        return document.raw
    text = _applied(document, _changes(document, plan, wrong))
    failed = _not_as_wanted(document, text, plan, wrong)
    if failed:
        raise TravisError(
            f"{document.path}: wanted to write {', '.join(failed)} and change nothing else, found that the layout does "
            "not allow it; write that by hand, or take it out of the line of what is kept in step"
        )
    return document.as_raw(text)


def _changes(document: Document, plan: Plan, wrong: Sequence[str]) -> Iterator[Change]:
    added: dict[str, Any] = {}
    for key in (each for each in wrong if each in plan.values):
        if document.nodes(key) is None:
            added[key] = plan.values[key]
        else:
            span = document.span(key)
            yield span.start, span.end, replaced(document, key, plan.values[key])
    if "deploy" in wrong and not any(each in document.data for each in JOBS):
        added["jobs"] = plan.firsts["jobs"]
    if document.root is None and "dist" in plan.firsts:
        added["dist"] = plan.firsts["dist"]
    for node, job in deploy_jobs(document) if "deploy" in wrong else ():
        if not takes_one_of(job, plan.pythons):
            yield from with_python(document, node, plan.pythons[0])
    lines = [line for key in _ORDER if key in added for line in ("", *emit({key: added[key]}))]
    if "mark" in wrong:
        mark = [f"{MARK} {', '.join(ownership(document).keys)}", _EXPLANATION]
        yield 0, 0, [*mark, *lines] if not document.end else mark
    if document.end:
        yield document.end, document.end, lines


def _applied(document: Document, changes: Iterable[Change]) -> str:
    lines = list(document.lines)
    for start, end, instead in sorted(changes, key=lambda change: change[:2], reverse=True):
        lines[start:end] = instead
    return "\n".join(lines)


def _not_as_wanted(document: Document, text: str, plan: Plan, wrong: Sequence[str]) -> list[str]:
    """Give the keys that are not in step now, or all if something that was not to change is not as it stood."""
    try:
        new = parse(text, document.path)
    except TravisError:
        return [each for each in wrong if each != "mark"]
    ours = {*wrong, *(JOBS if "deploy" in wrong else ()), *(() if document.root else ("dist",))}
    rest, others = (
        {key: lines for key, lines in each.written().items() if key not in ours} for each in (document, new)
    )
    jobs = without_python(document.data) or without_python(plan.firsts)
    if rest != others or ("deploy" in wrong and without_python(new.data) != jobs):
        return [each for each in wrong if each != "mark"]
    return list(dict.fromkeys(each.key for each in differences(new, plan)))


def _difference(key: str, wanted: Any, found: Any) -> Difference:
    wanted, found = all_without_secrets(wanted), all_without_secrets(found)  # it is said, and written nowhere
    there = "none" if found is None else _short(found)
    return Difference(key=key, wanted=wanted, found=found, sentence=f"{key}: wanted {_short(wanted)}, found {there}")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_short(each)}" for key, each in value.items())
    return ", ".join(map(_short, value)) if isinstance(value, (list, tuple)) else str(value)


def _comparable(key: str, value: Any) -> Any:
    """Give a value as it is compared: short forms are written out, the order of folders does not count."""
    if key == "stages":
        return [each if isinstance(each, dict) else {"name": each} for each in _listed(value)]
    if key == "cache":
        if not isinstance(value, dict):
            return value
        return {**value, "directories": sorted(map(str, _listed(value.get("directories", []))))}
    return value if isinstance(value, dict) else [str(each) for each in _listed(value)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
