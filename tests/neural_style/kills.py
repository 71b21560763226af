"""Processes that a test kills: from outside once they have told of a step, or by themselves while they write a file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

from tests.neural_style.children import children

KILLED = -signal.SIGKILL
_SILENCE_S = 60.0


@dataclass(frozen=True)
class Kill:
    """When to kill from outside: so long after the child has told of this step, or of a later one."""

    step: int
    after_s: float


@dataclass(frozen=True)
class Death:
    """Where a process kills itself: at a file whose name fits a pattern.

    It is ``half`` written, or ``written`` under its scratch name, or ``moved`` into its place.
    """

    name: str
    place: str


def run_child(target: Callable[..., None], *arguments: Any, kill: Kill | None = None) -> tuple[int | None, int]:
    """Call a function in a process of its own, with a connection by which it tells of its steps as last argument.

    Returns:
        The exit status, and the last step that it told of before it ended or the kill was decided.
    """
    context = children()
    steps, childs_end = context.Pipe(duplex=False)
    child = context.Process(target=target, args=(*arguments, childs_end))
    child.start()
    childs_end.close()
    last_step = 0
    try:
        while kill is None or last_step < kill.step:
            assert steps.poll(_SILENCE_S), f"nothing was heard after step {last_step}"
            last_step = steps.recv()
    except EOFError:  # it has ended
        pass
    else:
        time.sleep(kill.after_s if kill is not None else 0)
    finally:
        if kill is not None:
            child.kill()
        child.join(_SILENCE_S)
        child.kill()
        steps.close()
    return child.exitcode, last_step


@contextmanager
def dying(death: Death | None) -> Iterator[None]:
    """Have this process die as it is told, if it is, when the block writes the file."""
    if death is None:
        yield
        return
    write, replace = Path.write_bytes, os.replace

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write_bytes(path: Path, data: Any) -> int:
        fits = fnmatch(path.name, death.name)
        if fits and death.place == "half":
            write(path, data[: len(data) // 2])
            end()
        num_bytes = write(path, data)
        if fits and death.place == "written":
            end()
        return num_bytes

    def moved(source: Any, target: Any) -> None:
        replace(source, target)
        if fnmatch(Path(target).name, death.name) and death.place == "moved":
            end()

    with mock.patch.object(Path, "write_bytes", write_bytes), mock.patch("os.replace", moved):
        yield
