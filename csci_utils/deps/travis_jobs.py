"""The job of the stage deploy in a `.travis.yml`: where it stands, and its version of Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csci_utils.deps.travis_lines import emit
from csci_utils.deps.travis_yaml import Document, is_alias

JOBS = ("jobs", "matrix")
"""Two names of one key."""


def deploy_jobs(document: Document) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Give the jobs of the stage deploy: the node of each, None where it is not written out there, and its data."""
    name = next((each for each in JOBS if each in document.data), None)
    if name is None:
        return
    data, found = document.data[name], document.nodes(name)
    node = found[1] if found else None
    if isinstance(data, dict):  # a list is short for its `include`
        data, node = data.get("include"), _child(node, "include")
    each_data = data if isinstance(data, list) else [data]
    written = node.value if node is not None and node.id == "sequence" else [node] * len(each_data)
    for job, at in zip(each_data, written, strict=True):
        if isinstance(job, dict) and str(job.get("stage")).lower() == "deploy":
            yield at, job


def takes_one_of(job: Mapping[str, Any], pythons: Sequence[str]) -> bool:
    """Tell whether a job runs on some of these versions and on no others; one that names none takes the first."""
    python = job.get("python", [])
    return {str(each) for each in (python if isinstance(python, list) else [python])} <= set(pythons)


def with_python(document: Document, node: Any, python: str) -> Iterator[tuple[int, int, list[str]]]:
    """Give the change of lines that gives a job another version; none where its layout does not allow it."""
    line = emit({"python": python})[0]
    written = next((pair for pair in _pairs(node) if pair[0].value == "python"), None)
    stage = next((pair for pair in _pairs(node) if pair[0].value == "stage"), None)
    if written is not None:
        key, value = written
        at = key.start_mark.line
        if not is_alias(value, key) and value.start_mark.line == value.end_mark.line == at:
            old = document.lines[at]
            yield at, at + 1, [old[: key.start_mark.column] + line + old[value.end_mark.column :]]
    elif stage is not None:  # a merge brings the version: one of its own goes before that
        at = stage[0].start_mark.line + 1
        yield at, at, [" " * stage[0].start_mark.column + line]


def without_python(data: Mapping[str, Any]) -> Any:
    """Give what the key `jobs` means, without the versions of the jobs of the stage deploy."""
    jobs = next((data[each] for each in JOBS if each in data), None)
    return _without_python(jobs)


def _without_python(data: Any) -> Any:
    if isinstance(data, dict):
        deploys = str(data.get("stage")).lower() == "deploy"
        return {key: _without_python(each) for key, each in data.items() if not (deploys and key == "python")}
    return [_without_python(each) for each in data] if isinstance(data, list) else data


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if node is not None and node.id == "mapping" else []


def _child(node: Any, key: str) -> Any:
    return next((value for name, value in _pairs(node) if name.value == key), None)
