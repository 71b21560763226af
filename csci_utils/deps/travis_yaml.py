"""A `.travis.yml` as lines and as what they mean, so that a key can be replaced and every other byte stays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from csci_utils.deps.errors import TravisError

_BOM = "\ufeff"
_NOT_CONTENT = re.compile(r"\s*(#.*)?")


@dataclass(frozen=True)
class Span:
    """The lines of one key, from its own to the last of its value, counted from 0; the end is not included."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file with a mapping of keys at its left margin, or an empty one.

    Attributes:
        path: the file, for messages.
        text: what it holds, with newlines at the ends of lines and without a byte order mark.
        root: the tree of nodes, or None for an empty file.
        data: what it means.
        raw: the text as it stands.
    """

    path: Path
    text: str
    root: Any
    data: Mapping[str, Any]
    raw: str

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends; the last is empty where the file ends with the end of a line."""
        return self.text.split("\n")

    @cached_property
    def end(self) -> int:
        """The line before which a new key goes."""
        end = len(self.lines)
        while end and (not self.lines[end - 1].strip() or re.match(r"\.\.\.(\s|$)", self.lines[end - 1])):
            end -= 1
        return end

    def as_raw(self, text: str) -> str:
        """Give another text the line ends and the byte order mark that this one came with."""
        return self.raw[: self.raw.startswith(_BOM)] + (text.replace("\n", "\r\n") if "\r\n" in self.raw else text)

    def nodes(self, key: str) -> tuple[Any, Any] | None:
        """Give the nodes of a key and its value; None where it is not written out (it may come from a merge)."""
        return next((pair for pair in self._pairs if pair[0].value == key), None)

    @property
    def _pairs(self) -> list[tuple[Any, Any]]:
        return self.root.value if self.root is not None else []

    def span(self, key: str) -> Span:
        """Give the lines of a key that is written out; comments and empty lines below it belong to what follows."""
        found = self.nodes(key)
        assert found is not None
        start = found[0].start_mark.line
        starts = sorted(pair[0].start_mark.line for pair in self._pairs)
        end = next((each for each in starts if each > start), self.end)
        last = max((last for _, last in scalars(found[1], Span(start, end))), default=start)
        while end - 1 > last and _NOT_CONTENT.fullmatch(self.lines[end - 1]):
            end -= 1
        while end - 1 > start and not self.lines[end - 1].strip():  # below a block of text they say nothing
            end -= 1
        return Span(start, end)

    def written(self) -> dict[str, list[str]]:
        """Give the lines of each key that is written out."""
        spans = {str(key.value): self.span(key.value) for key, _ in self._pairs}
        return {key: self.lines[span.start : span.end] for key, span in spans.items()}

    def is_content(self, key: str, line: int) -> bool:
        """Tell whether a line within a key's value says something: it is no comment, and not empty."""
        found = self.nodes(key)
        assert found is not None
        inside = any(first < line <= last for first, last in scalars(found[1], self.span(key)))
        return inside or not _NOT_CONTENT.fullmatch(self.lines[line])


def scalars(node: Any, span: Span) -> Iterator[tuple[int, int]]:
    """Give the first and the last line of each scalar below a node; those that an alias brings stand elsewhere."""
    if isinstance(node.value, str):
        first, mark = node.start_mark.line, node.end_mark
        last = mark.line if mark.column or mark.line == first else mark.line - 1
        if span.start <= first < span.end:
            yield first, min(last, span.end - 1)
        return
    for each in node.value:
        for part in each if isinstance(each, tuple) else (each,):
            yield from scalars(part, span)


def is_alias(node: Any, key: Any) -> bool:
    """Tell whether a value stands elsewhere and is only pointed to (`*name`): its marks are then before its key."""
    return (node.start_mark.line, node.start_mark.column) < (key.start_mark.line, key.start_mark.column)


def parse(raw: str, path: Path) -> Document:
    """Read a file.

    Raises:
        TravisError: it is no YAML, or no mapping of keys, or laid out so that lines cannot be replaced.
    """
    text = raw.removeprefix(_BOM).replace("\r\n", "\n")
    if re.search("[\r\x85\u2028\u2029]", text) or 0 < raw.count("\r\n") < raw.count("\n"):
        raise TravisError(f"{path}: wanted one kind of line ends, \\n or \\r\\n, found others; save it with one")
    root, data = _loaded(text, path)
    if root is None or (data is None and root.value == ""):
        return Document(path=path, text=text, root=None, data={}, raw=raw)
    if not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else f"only {str(data)!r:.40}"
        raise TravisError(f"{path}: wanted keys and values, found {found}; name another file with --out")
    if root.flow_style or any(key.start_mark.column for key, _ in root.value):
        raise TravisError(f"{path}: wanted each key on a line of its own at the left margin, found others; write it so")
    return Document(path=path, text=text, root=root, data=data, raw=raw)


def _loaded(text: str, path: Path) -> tuple[Any, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(pure=True).compose(text), YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f"{path}:{mark.line + 1}" if mark else f"{path}"
        what = (err.problem or err.context or "something else").partition("\n")[0]
    except (YAMLError, ValueError, TypeError, RecursionError) as err:
        where, what = f"{path}", str(err).partition("\n")[0]
    raise TravisError(f"{where}: wanted YAML, found this: {what}; mend that")
