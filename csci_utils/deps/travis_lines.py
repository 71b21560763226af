"""Lines for a `.travis.yml`: a value as YAML; a key with another value, comments and kept items as they were.

And the job of the stage deploy: where it stands, and its lines with another version of Python.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csci_utils.deps.travis_yaml import Document, Span, is_alias

JOBS = ("jobs", "matrix")
"""Two names of one key."""

_ITEM = re.compile(r"( *)-(\s|$)")


def emit(data: Any) -> list[str]:
    """Give a value as lines of YAML; what looks like a number is quoted, since 3.10 would be read as 3.1."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 10_000  # a command stays on its line
    stream = io.StringIO()
    yaml.dump(_quoted(data), stream)
    return stream.getvalue().splitlines()


def _quoted(data: Any) -> Any:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(data, Mapping):
        return {key: _quoted(each) for key, each in data.items()}
    if isinstance(data, (list, tuple)):
        return [_quoted(each) for each in data]
    return DoubleQuotedScalarString(data) if isinstance(data, str) and re.fullmatch(r"[\d.]+", data) else data


def replaced(document: Document, key: str, value: Any) -> list[str]:
    """Give the lines of a key with another value; its comments stay, and so do the items that it keeps."""
    found = document.nodes(key)
    assert found is not None
    span = document.span(key)
    first, *rest = emit({key: value})
    colon, anchor, comment = _head(document.lines[span.start], *found, span)
    if not rest:
        return [f"{colon}{anchor}{first.partition(':')[2]}{comment}", *_comments(document, key, span)]
    items = _items(document, key, span, value)
    return [f"{colon}{anchor}{comment}", *(items or [*_comments(document, key, span), *rest])]


def _head(line: str, key: Any, node: Any, span: Span) -> tuple[str, str, str]:
    """Split the line of a key into what is before its value, the anchor, and the comment at its end."""
    colon = line[: line.index(":", key.end_mark.column) + 1]
    after = line[len(colon) :]
    if is_alias(node, key):
        return colon, "", _end_of_line(after, r"\s*\*\S+")
    anchor = f" &{node.anchor}" if node.anchor else ""
    if node.start_mark.line == node.end_mark.line == span.start:
        return colon, anchor, _end_of_line(line[node.end_mark.column :], "")
    return colon, anchor, _end_of_line(after, r"(\s*[&!|>]\S*)*")


def _end_of_line(text: str, before: str) -> str:
    match = re.fullmatch(before + r"(?P<comment>\s+#.*)?\s*", text)
    return (match["comment"] or "") if match else ""


def _comments(document: Document, key: str, span: Span) -> list[str]:
    body = range(span.start + 1, span.end)
    return [document.lines[n] for n in body if document.lines[n].strip() and not document.is_content(key, n)]


def _items(document: Document, key: str, span: Span, wanted: Sequence[Any]) -> list[str] | None:
    """Give the lines of a list, those of items that stay as they were; None where its lines are not one to an item."""
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        return None
    there = document.data[key]
    body = range(span.start + 1, span.end)
    dash = next((match[1] for n in body if (match := _ITEM.match(document.lines[n]))), None)
    if dash is None or not isinstance(there, list):
        return None
    starts = [n for n in body if re.match(rf"{dash}-(\s|$)", document.lines[n]) and document.is_content(key, n)]
    if len(starts) != len(there):
        return None
    kept: dict[str, list[str]] = {}
    before = document.lines[span.start + 1 : starts[0]]
    for item, start, end in zip(there, starts, [*starts[1:], span.end], strict=True):
        last = max(n for n in range(start, end) if n == start or document.is_content(key, n))
        if str(item) in wanted and str(item) not in kept:
            kept[str(item)] = [*before, *document.lines[start : last + 1]]
            before = []
        before = [*before, *document.lines[last + 1 : end]]
    fresh = {each: [f"{dash}{emit([each])[0].strip()}"] for each in wanted}
    return [line for each in wanted for line in kept.get(each, fresh[each])] + before


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
