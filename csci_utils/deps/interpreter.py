"""Asking an interpreter what it sees: by a program that it runs in isolated mode, within a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from csci_utils.deps import probe
from csci_utils.deps.errors import InterpreterError, one_line

TIMEOUT_S = 20.0
"""How long an interpreter may take; a slow disk makes a big environment take seconds the first time."""

_LONGEST_ANSWER_BYTES = 64 * 2**20
_RUN_STDIN = 'exec(__import__("sys").stdin.read())'


def ask(python: Path, *, modules: bool = False, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Let an interpreter report what it is and what lies on its path (`probe.report`).

    The program comes by standard input, and no file is named: what is no Python might do something to a file.

    Args:
        python: the interpreter.
        modules: whether to read what each distribution can be imported as, which takes longer.
        timeout_s: after this long it is ended, with all that it started.

    Raises:
        InterpreterError: it cannot be started, is no Python 3.6 or later, or takes too long.
    """
    arguments = [str(python), "-I", "-c", _RUN_STDIN, *(["modules"] if modules else [])]
    output, status, late = _run(arguments, python, timeout_s)
    before, mark, answer = output.decode("utf-8", "replace").rpartition(probe.MARK)
    if late:
        raise InterpreterError(f"{python}: wanted an answer in {timeout_s:g} s, found none; name another interpreter")
    try:
        report = json.loads(answer) if mark and status == 0 else None
    except ValueError:
        report = None
    if not isinstance(report, dict):
        said = one_line((before + answer).strip().rpartition("\n")[2])[:200]
        what = f"it ended with status {status} and said {said!r}" if said else f"it ended with status {status}, silent"
        raise InterpreterError(f"{python}: wanted Python 3.6 or later, but {what}; name another interpreter")
    return report


def _run(arguments: list[str], python: Path, timeout_s: float) -> tuple[bytes, int, bool]:
    """Run it in a group of its own; what it prints, its status, and whether it had to be ended."""
    late = threading.Event()
    try:
        with open(probe.__file__, "rb") as program:
            process = subprocess.Popen(
                arguments, stdin=program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise InterpreterError(f"{python}: wanted an interpreter, found: {reason}; name another one") from err

    def end() -> None:
        late.set()
        _kill_group(process)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        with process:
            assert process.stdout is not None
            output = process.stdout.read(_LONGEST_ANSWER_BYTES)
            _kill_group(process) if len(output) == _LONGEST_ANSWER_BYTES else None
            process.wait()
    except BaseException:
        _kill_group(process)
        raise
    finally:
        timer.cancel()
    return output, process.returncode, late.is_set()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
