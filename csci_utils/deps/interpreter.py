"""Asking an interpreter what it sees, by a program that it runs alone and within a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from csci_utils.deps import probe
from csci_utils.deps.errors import InterpreterError, one_line
from csci_utils.deps.text import without_secrets

TIMEOUT_S = 20.0
"""How long an interpreter may take; a slow disk makes a big environment take seconds the first time."""

LONGEST_S = 86_400.0
"""The longest limit that can be set."""

_LONGEST_ANSWER_BYTES = 64 * 2**20
_LOOK_S = 0.05
"""How often it is looked whether an interpreter has ended that keeps silent, or its answer is wanted no more."""
_RUN_STDIN = 'exec(__import__("sys").stdin.read())'


def ask(
    python: Path, *, modules: bool = False, timeout_s: float = TIMEOUT_S, unwanted: threading.Event | None = None
) -> dict[str, Any]:
    """Let an interpreter report what it is and what lies on its path (`probe.report`).

    It is isolated (`-I`) and runs without `site` (`-S`), so that nothing of an environment is run. The program comes by
    standard input, and no file is named: what is no Python might do something to a file.

    Args:
        python: the interpreter.
        modules: whether to read what each distribution can be imported as, which takes longer.
        timeout_s: after this long it is ended, with its group of processes; above 0, at most a day.
        unwanted: once this is set, it is ended as well.

    Raises:
        InterpreterError: it cannot be started, is no Python 3.6 or later, takes too long, or is not wanted any more.
        ValueError: the limit is none.
    """
    if not 0 < timeout_s <= LONGEST_S:
        raise ValueError(f"wanted a limit above 0 and up to {LONGEST_S:g} s, found {timeout_s:g}")
    process = _started([str(python), "-I", "-S", "-c", _RUN_STDIN, *(["modules"] if modules else [])], python)
    try:
        output, ended = _read(process, deadline=time.monotonic() + timeout_s, unwanted=unwanted)
    finally:  # also after an interrupt
        _end(process)
    if not ended:
        raise InterpreterError(f"{python}: wanted an answer in {timeout_s:g} s, found none; name another interpreter")
    before, mark, answer = output.decode("utf-8", "replace").rpartition(probe.MARK)
    try:
        report = json.loads(answer) if mark and process.returncode == 0 else None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        said = without_secrets(one_line((before + answer).strip().rpartition("\n")[2]))[:200]
        what = f"it ended with status {process.returncode}" + (f" and said {said!r}" if said else ", silent")
        raise InterpreterError(f"{python}: wanted Python 3.6 or later, but {what}; name another interpreter")
    return report


def _started(arguments: list[str], python: Path) -> subprocess.Popen[bytes]:
    """Start it in a group of its own, which can be ended as one."""
    try:
        with open(probe.__file__, "rb") as program:
            return subprocess.Popen(
                arguments, stdin=program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise InterpreterError(f"{python}: wanted an interpreter, found: {reason}; name another one") from err


def _read(process: subprocess.Popen[bytes], *, deadline: float, unwanted: threading.Event | None) -> tuple[bytes, bool]:
    """Read what it prints, and tell whether it came to its end.

    That is when it has ended, and not when nobody holds the pipe any more: what it has started may go on holding it.
    """
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left_s := deadline - time.monotonic()) > 0 and not (unwanted and unwanted.is_set()):
            has_ended = process.poll() is not None  # looked at first: what it wrote before is then in the pipe
            if selector.select(0 if has_ended else min(_LOOK_S, left_s)):
                chunk = os.read(pipe, 2**16)
                output += chunk
                if not chunk:
                    return bytes(output), _has_ended(process, deadline)
                if len(output) >= _LONGEST_ANSWER_BYTES:
                    _end(process)
                    return bytes(output), True
            elif has_ended:
                return bytes(output), True
    return bytes(output), False


def _has_ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for one that has closed its standard output."""
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with its group, if anything of that is left."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
