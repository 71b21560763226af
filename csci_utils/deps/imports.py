"""What a source imports, read from its text and never run: with the line, and how much it needs each.

Notebooks are not read, nor what only a running program could tell: a name that is put together, a plug-in.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from csci_utils.deps.conditions import dotted, flags_of, is_type_checking, truths_of
from csci_utils.deps.errors import one_line
from csci_utils.deps.files import TooLargeError, read_file

Need = Literal["required", "typing", "optional"]
_Truths = Callable[[ast.expr], set[bool | None]]

LARGEST_SOURCE_BYTES = 8 * 2**20
"""Parsing takes about two hundred times the size of a source in memory; nobody writes one that big by hand."""
LONGEST_WORD = 200

_DECIDING = (
    *(ast.If, ast.Try, ast.TryStar, ast.With, ast.AsyncWith),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda),
)
"""Statements that say how much is needed what they hold, or whether a function holds it."""
_LEAVES = (ast.Name, ast.expr_context, ast.operator)

_MISSING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_BY_NAME: Mapping[str, Need] = {
    "import_module": "required",
    "__import__": "required",
    "run_module": "required",
    "find_spec": "optional",
    "importorskip": "optional",
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One name that a source imports.

    Attributes:
        module: dotted, absolute.
        names: what is taken from it, which may be modules themselves.
        line: counted from 1.
        need: `optional` where the source goes on without it, or may never get there in this environment; `typing`
            where only type checkers read it.
    """

    module: str
    names: tuple[str, ...] = ()
    line: int
    need: Need = "required"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What one source holds.

    Attributes:
        imports: in the order of the file; relative ones are left out.
        strings: every short string that could name a module, a command or a distribution.
        problem: why nothing could be read, one sentence, or None.
        line: of the problem; 0 if unknown.
    """

    imports: tuple[Import, ...] = ()
    strings: frozenset[str] = frozenset()
    problem: str | None = None
    line: int = 0


@dataclass(frozen=True)
class _Around:
    """What surrounds a statement: how much its imports are needed, and whether a function does."""

    need: Need = "required"
    inside: bool = False

    def but(self, need: Need) -> _Around:
        return self if self.need == "optional" else _Around(need, self.inside)


def read_imports(path: Path, *, markers: Mapping[str, str]) -> Parsed:
    """Read one source, in whatever encoding it declares.

    Args:
        path: the file; a problem with it is said in the answer and not raised.
        markers: the environment's, by which branches for other Pythons and platforms are told; empty if unknown.
    """
    try:
        source = read_file(path, largest_bytes=LARGEST_SOURCE_BYTES)
    except TooLargeError:
        return Parsed(problem=f"it is larger than {LARGEST_SOURCE_BYTES >> 20} MiB, so it was not read")
    except OSError as err:
        return Parsed(problem=f"it cannot be read: {err.strerror}")
    return parse_imports(source, markers=markers)


def parse_imports(source: bytes, *, markers: Mapping[str, str]) -> Parsed:
    """Read the imports of a source; see `read_imports`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the source's own, such as an odd backslash
            tree = ast.parse(source)
        found = list(_found_in(tree, markers))
    except SyntaxError as err:
        return Parsed(problem=one_line(err.msg), line=err.lineno or 0)
    except RecursionError:  # in the parser, or in a condition
        return Parsed(problem="it is nested too deeply")
    except (ValueError, MemoryError) as err:  # a NUL; what parsers of other Pythons raise
        return Parsed(problem=one_line(str(err)) or "it is nested too deeply")
    imports = [each for each in found if isinstance(each, Import)]
    strings = {each for each in found if isinstance(each, str)}
    return Parsed(imports=tuple(sorted(imports, key=lambda each: each.line)), strings=frozenset(strings))


def _found_in(tree: ast.Module, markers: Mapping[str, str]) -> Iterator[Import | str]:
    """Go through all nodes with a list of what is left to see: a long `elif` is nested as deeply as it is long."""
    truths = partial(truths_of, markers=markers, flags=flags_of(tree))
    left: list[tuple[ast.AST, _Around]] = [(tree, _Around())]
    while left:
        node, around = left.pop()
        if isinstance(node, ast.Import):
            yield from (Import(module=each.name, line=node.lineno, need=around.need) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                names = tuple(each.name for each in node.names)
                yield Import(module=node.module, names=names, line=node.lineno, need=around.need)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and _is_word(node.value):
                yield node.value
        elif isinstance(node, _DECIDING):
            left += _below(node, around, truths)
        elif not isinstance(node, _LEAVES):
            if isinstance(node, ast.Call):
                yield from _imported_by_name(node, around)
            left += [(each, around) for each in ast.iter_child_nodes(node)]


def _below(node: ast.AST, around: _Around, truths: _Truths) -> Iterator[tuple[ast.AST, _Around]]:
    if isinstance(node, ast.If):
        yield from _branches(node, around, truths)
    elif isinstance(node, (ast.Try, ast.TryStar)):
        yield from _tried(node, around)
    elif isinstance(node, (ast.With, ast.AsyncWith)) and any(_suppresses(each.context_expr) for each in node.items):
        yield from ((each, around.but("optional")) for each in ast.iter_child_nodes(node))
    else:
        inner = _Around(around.need, around.inside or not isinstance(node, (ast.With, ast.AsyncWith)))
        yield from ((each, inner) for each in ast.iter_child_nodes(node))


def _branches(node: ast.If, around: _Around, truths: _Truths) -> Iterator[tuple[ast.AST, _Around]]:
    answers = truths(node.test)
    dead: Need = "typing" if is_type_checking(node.test) else "optional"
    yield node.test, around
    yield from ((each, around.but(dead) if False in answers else around) for each in node.body)
    yield from ((each, around.but("optional") if True in answers else around) for each in node.orelse)


def _tried(node: ast.Try | ast.TryStar, around: _Around) -> Iterator[tuple[ast.AST, _Around]]:
    """Take what is tried as optional if its absence is caught, and not only to say so and end there."""
    catching = [each for each in node.handlers if _catches_missing(each.type)]
    goes_on = any(around.inside or not _ends(each.body) for each in catching)
    inner = around.but("optional") if goes_on else around
    yield from ((each, inner) for each in (*node.body, *node.orelse))
    for handler in node.handlers:
        spare = around.but("optional") if handler in catching else around
        yield from ((each, spare) for each in handler.body)
    yield from ((each, around) for each in node.finalbody)


def _catches_missing(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    each = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(dotted(name).rpartition(".")[2] in _MISSING for name in each)


def _ends(body: Sequence[ast.stmt]) -> bool:
    last = body[-1]
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
        return dotted(last.value.func) in ("sys.exit", "exit", "quit", "os._exit")
    return isinstance(last, ast.Raise)


def _suppresses(manager: ast.expr) -> bool:
    return (
        isinstance(manager, ast.Call)
        and dotted(manager.func).rpartition(".")[2] == "suppress"
        and any(_catches_missing(each) for each in manager.args)
    )


def _imported_by_name(call: ast.Call, around: _Around) -> Iterator[Import]:
    """Find `import_module("x")` and its like, where the name stands there."""
    need = _BY_NAME.get(dotted(call.func).rpartition(".")[2])
    first = call.args[0] if call.args else None
    if need is None or not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        return
    if all(part.isidentifier() for part in first.value.split(".")):
        yield Import(module=first.value, line=call.lineno, need=need if around.need == "required" else around.need)


def _is_word(text: str) -> bool:
    """Tell a string that could name a module, a command or a driver, as settings do."""
    return 0 < len(text) < LONGEST_WORD and not any(map(str.isspace, text))
