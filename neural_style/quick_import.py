"""Imports of large libraries, without what makes them, or what they do, slow."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Let the cyclic garbage collector rest while a library is imported.

    An import makes objects by the hundred thousand and hardly any garbage, and the collector looks at all of them again
    and again: that is a sixth of what torch's import takes.

    Torch's threads (GNU OpenMP) wait for each other awake for a few microseconds only where it is imported like this,
    and then sleep. By themselves they would take the time of whatever else runs, and of each other: with two busy
    neighbours on two cores a picture takes a third less time like this, and with none as long as before.

    Raises:
        KeyboardInterrupt: one came meanwhile, of which an extension module made an ImportError (pybind11 does): who
            takes that for a library that is not whole would go on without.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    except ImportError as err:
        if (interrupt := _interrupt_in(err)) is not None:
            raise type(interrupt)(*interrupt.args) from err  # itself would be its own cause
        raise
    finally:
        if was_enabled:
            gc.enable()


def start_is_over() -> None:
    """Let the collector begin, in a program that began with `gc.disable`, and never look at what is there by now.

    Of a command that takes a second, to look at all that it imports takes the twentieth part. Where the collector runs
    already, as in a process that is not such a program's own, nothing is done.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _interrupt_in(err: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt that an error comes of, None where it comes of something else."""
    while err is not None and not isinstance(err, KeyboardInterrupt):
        err = err.__cause__ or err.__context__
    return err


@contextmanager
def without(module: str) -> Iterator[None]:
    """Let an import in the block find a module that it can do without missing, unless it was imported already.

    Afterwards it can be imported as ever; `give_late` puts what the block would have taken from it in its place.

    Args:
        module: such as ``openvino.tools.ovc``, which converts models of others, and would take longer than the rest.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # which Python takes for: there is none
    try:
        yield
    finally:
        del sys.modules[module]


def give_late(package: ModuleType, name: str, *, source: str) -> None:
    """Let a package give a name of one of its modules as it would have, by importing that when it is asked for."""
    if hasattr(package, name):
        return

    def get(wanted: str) -> Any:
        if wanted != name:
            raise AttributeError(f"module {package.__name__!r} has no attribute {wanted!r}")
        return getattr(importlib.import_module(source), name)

    package.__getattr__ = get  # type: ignore[method-assign]  # as PEP 562 has it
