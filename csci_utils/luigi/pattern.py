# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Paths made from a pattern and a task."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import luigi

from csci_utils.luigi.lineage import salted_version

SALT_DIGITS = 16
"""How much of a salted version ``{salt}`` is; ``{salt:.6}`` is less."""


def filled(pattern: str, *, task: luigi.Task, ext: str) -> str:
    """Fill a pattern in, and add ``ext`` unless the pattern names it.

    Raises:
        ValueError: the pattern names what the task does not have, or a value in it leads out of its folder.
    """
    filling = _Filling(task, ext)
    path = filling.format(pattern)
    return path if filling.has_ext else path + ext


class _Filling(string.Formatter):
    """One filling-in of a pattern."""

    def __init__(self, task: luigi.Task, ext: str) -> None:
        self.task = task
        self.ext = ext
        self.has_ext = False

    def vformat(self, format_string: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Fill in, refusing what `str.format` would let pass."""
        pieces = list(self.parse(format_string))
        text, meant = "", ""
        for number, (literal, field, spec, conversion) in enumerate(pieces):
            text, meant = text + literal, meant + literal
            if field is None:
                continue
            value = self.convert_field(self._look_up(field, format_string), conversion)
            part = self.format_field(value, spec or "")
            is_root = number == 0 and not literal and len(pieces) > 1 and pieces[1][0].startswith("/")
            text, meant = text + part, meant + (part if is_root else "x")
            if "\0" in part or (part.startswith("/") and not is_root) or _num_ups(text) > _num_ups(meant):
                raise ValueError(
                    f"{type(self.task).__name__}.output: wanted a name for {{{field}}}, found {part!r}; "
                    "it must stay in its folder"
                )
        return text

    def _look_up(self, field: str, pattern: str) -> Any:
        try:
            return self.get_field(field, (), {})[0]
        except (KeyError, AttributeError, IndexError) as err:
            names = ", ".join(self.task.get_param_names(include_significant=True)) or "none"
            raise ValueError(
                f"{type(self.task).__name__}.output: the pattern {pattern!r} names {field!r}, which this task does not "
                f"have; its parameters are {names}, and there are task, salt and ext"
            ) from err

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Let a task without an attribute `salt` have one."""
        if field_name == "task.salt" and not hasattr(self.task, "salt"):
            field_name = "salt"
        return super().get_field("ext" if field_name == "self.ext" else field_name, args, kwargs)

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what a pattern calls by a name."""
        if key == "task":
            return self.task
        if key == "salt":
            return salted_version(self.task)[:SALT_DIGITS]
        if key == "ext":
            self.has_ext = True
            return self.ext
        return self.task.param_kwargs[key]


def _num_ups(path: str) -> int:
    """Count the steps out of a folder. Names come from users: only the pattern, or the root it begins with, has any."""
    return path.split("/").count("..")
