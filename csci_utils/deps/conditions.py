"""Conditions on Python's version and the platform, told from the source: whether a branch is ever run there."""

from __future__ import annotations

import ast
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

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

_CONDITIONS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Call)
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
_MICROS = 100
"""More than any minor version of Python has had."""
_NUMBERS = {"sys.version_info.major": 0, "sys.version_info.minor": 1, "sys.version_info.micro": 2}

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


def truths_of(
    test: ast.expr, markers: Mapping[str, str], flags: Mapping[str, ast.expr] = MappingProxyType({})
) -> set[bool | None]:
    """Tell whether a condition holds: all answers that are possible where the last number of the version is not known.

    Args:
        test: the condition.
        markers: the environment's, as `packaging.markers` names them; empty if unknown. A `python_full_version` of two
            numbers stands for all that begin with them.
        flags: see `flags_of`.
    """
    version = markers.get("python_full_version", "")
    if version.count(".") != 1 or not _asks_for_version(test, flags):
        return {truth_of(test, markers, flags)}
    possible = ({**markers, "python_full_version": f"{version}.{micro}"} for micro in range(_MICROS))
    return {truth_of(test, each, flags) for each in possible}


def _asks_for_version(test: ast.expr, flags: Mapping[str, ast.expr]) -> bool:
    names = (getattr(each, "attr", getattr(each, "id", "")) for each in ast.walk(test))
    return any(name == "version_info" or name in flags for name in names)


def truth_of(
    test: ast.expr, markers: Mapping[str, str], flags: Mapping[str, ast.expr] = MappingProxyType({})
) -> bool | None:
    """Tell whether a condition holds in an environment; None where that depends on more than its Python.

    Args:
        test: the condition.
        markers: the environment's, as `packaging.markers` names them; empty if unknown.
        flags: see `flags_of`.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = truth_of(test.operand, markers, flags)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        return _joined([truth_of(each, markers, flags) for each in test.values], decisive=isinstance(test.op, ast.Or))
    if is_type_checking(test):
        return False
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.Name) and test.id in flags:
        others = {name: value for name, value in flags.items() if name != test.id}  # a flag of itself has no end
        return truth_of(flags[test.id], markers, others)
    return _told(test, markers)


def _told(test: ast.expr, markers: Mapping[str, str]) -> bool | None:
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and test.func.attr == "startswith":
        return _starts_with(test, test.func.value, markers)
    if isinstance(test, ast.Compare):
        terms = [test.left, *test.comparators]
        pairs = zip(terms, test.ops, terms[1:], strict=False)
        return _joined([_compared(left, how, right, markers) for left, how, right in pairs], decisive=False)
    name = dotted(test).rpartition(".")[2]
    return _version(markers)[0] == int(name[2:]) if name in _MAJORS and markers else None


def flags_of(tree: ast.Module) -> dict[str, ast.expr]:
    """Find conditions that a module gives a name, and sets nowhere else: `WINDOWS = os.name == "nt"`."""
    found: dict[str, ast.expr] = {}
    for each in tree.body:
        if isinstance(each, (ast.Assign, ast.AnnAssign)) and isinstance(each.value, _CONDITIONS):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            found |= {target.id: each.value for target in targets if isinstance(target, ast.Name)}
    if not found:
        return {}
    bound = Counter(name for node in ast.walk(tree) for name in _bound_by(node))
    return {} if bound["*"] else {name: value for name, value in found.items() if bound[name] == 1}


def _bound_by(node: ast.AST) -> Iterator[str]:
    """Give the names that a node sets, in whatever scope."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, _NAMED) and node.name:
        yield node.name


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
    if name in _NUMBERS and markers:
        return dict(enumerate(_version(markers))).get(_NUMBERS[name])
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
