"""Conditions on Python's version and the platform, told from the source: whether a branch is ever run there."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

_COMPARE: Mapping[type[ast.cmpop], Callable[[object, object], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,  # type: ignore[dict-item]  # what cannot be compared is caught
    ast.LtE: operator.le,  # type: ignore[dict-item]
    ast.Gt: operator.gt,  # type: ignore[dict-item]
    ast.GtE: operator.ge,  # type: ignore[dict-item]
    ast.In: lambda one, other: one in other,  # type: ignore[operator]
    ast.NotIn: lambda one, other: one not in other,  # type: ignore[operator]
}

_MAJORS = ("PY2", "PY3")
"""What `six` calls them, and those who do without it."""

_TEXTS = {
    "sys.platform": "sys_platform",
    "os.name": "os_name",
    "platform.system": "platform_system",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "sys.implementation.name": "implementation_name",
}


def is_type_checking(test: ast.expr) -> bool:
    """Tell `TYPE_CHECKING`, however it was imported."""
    return dotted(test).rpartition(".")[2] == "TYPE_CHECKING"


def truth_of(test: ast.expr, markers: Mapping[str, str]) -> bool | None:
    """Tell whether a condition holds in an environment; None where that depends on more than its Python.

    Args:
        test: the condition.
        markers: the environment's, as `packaging.markers` names them; empty if unknown.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = truth_of(test.operand, markers)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        return _joined([truth_of(each, markers) for each in test.values], decisive=isinstance(test.op, ast.Or))
    if is_type_checking(test):
        return False
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and test.func.attr == "startswith":
        return _starts_with(test, test.func.value, markers)
    if isinstance(test, ast.Compare):
        terms = [test.left, *test.comparators]
        pairs = zip(terms, test.ops, terms[1:], strict=False)
        return _joined([_compared(left, how, right, markers) for left, how, right in pairs], decisive=False)
    name = dotted(test).rpartition(".")[2]
    return _version(markers)[0] == int(name[2:]) if name in _MAJORS and markers else None


def dotted(node: ast.expr) -> str:
    """Give `a.b.c` as text; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _joined(values: list[bool | None], *, decisive: bool) -> bool | None:
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def _starts_with(call: ast.Call, subject: ast.expr, markers: Mapping[str, str]) -> bool | None:
    value = _value(subject, markers)
    beginnings = _literal(call.args[0]) if len(call.args) == 1 else None
    if not isinstance(value, str) or not isinstance(beginnings, (str, tuple)):
        return None
    return value.startswith(beginnings)


def _compared(one: ast.expr, how: ast.cmpop, other: ast.expr, markers: Mapping[str, str]) -> bool | None:
    left, right = _value(one, markers), _value(other, markers)
    if left is None or right is None or type(how) not in _COMPARE:
        return None
    try:
        return bool(_COMPARE[type(how)](left, right))
    except TypeError:
        return None


def _value(node: ast.expr, markers: Mapping[str, str]) -> object:
    """Give what an expression is in that environment; None if it cannot be told."""
    if isinstance(node, ast.Call) and not node.args:
        node = node.func
    name = dotted(node)
    if name in _TEXTS:
        return markers.get(_TEXTS[name])
    if name == "sys.version_info.major" and markers:
        return _version(markers)[0]
    if name == "sys.version_info" and markers:
        return _version(markers)
    if isinstance(node, ast.Subscript) and dotted(node.value) == "sys.version_info" and markers:
        return _subscripted(_version(markers), node.slice)
    return _literal(node)


def _version(markers: Mapping[str, str]) -> tuple[int, ...]:
    numbers = [int(each) for each in markers["python_full_version"].split(".")[:3] if each.isdecimal()]
    return tuple(numbers) or (3,)


def _subscripted(version: tuple[int, ...], index: ast.expr) -> object:
    if isinstance(index, ast.Slice):
        start, end = (None if each is None else _literal(each) for each in (index.lower, index.upper))
        numbers = isinstance(start, int | None) and isinstance(end, int | None)
        return version[start:end] if numbers else None  # type: ignore[index]  # mypy does not follow `numbers`
    at = _literal(index)
    return version[at] if isinstance(at, int) and -len(version) <= at < len(version) else None


def _literal(node: ast.expr) -> object:
    try:
        value: object = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value
