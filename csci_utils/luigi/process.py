"""Forked task processes that end with their parent, and end quietly and cleanly when they are told to.

Luigi calls it around each task, where its configuration says so::

    [worker]
    task_process_context = csci_utils.luigi.process.ForkedTask
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

FORKED_TASK = "csci_utils.luigi.process.ForkedTask"
"""What luigi's ``task_process_context`` is to be."""

_CLEAN_UP_S = 10
_WATCH_S = 0.5
_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM in a forked task: it passes every ``except Exception``, so that scratch files go."""


class ForkedTask:
    """What luigi enters around a task's run; in a process that also runs luigi itself it does nothing.

    In a process of the task's own, SIGTERM, SIGINT and the parent's death interrupt the task as Ctrl-C does. It may
    clean up, for so long; then the process ends by that signal, without a traceback and without a word to its parent,
    which sees that it died.
    """

    def __init__(self, process: Any) -> None:
        """Take luigi's `TaskProcess`."""
        self._process = process
        self._forked = False

    def __enter__(self) -> None:
        self._forked = bool(self._process.use_multiprocessing) and multiprocessing.current_process() is self._process
        if not self._forked:
            return
        self._process.result_queue = _Results(self._process.result_queue)
        for each in _ENDING:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, _interrupt)
        _end_with_parent()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._forked:
            return
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            _end_by(signal.SIGINT if kind is KeyboardInterrupt else signal.SIGTERM)
        for each in _ENDING:
            if signal.getsignal(each) is _interrupt:
                signal.signal(each, signal.SIG_DFL)  # nothing is left to clean up


class _Results:
    """Luigi's queue, which takes no result of a task that was interrupted: luigi would send one without a status."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, result: Any) -> None:
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            self._queue.put(result)


def _interrupt(signum: int, _: FrameType | None) -> NoReturn:
    """Interrupt the task once: a second signal must not disturb its cleaning up, nor may that last for long."""
    for each in _ENDING:
        signal.signal(each, _ignore)
    with suppress(AttributeError):  # Windows has no alarms
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_CLEAN_UP_S)
    # Luigi's programs are killed with their task only for KeyboardInterrupt itself.
    raise KeyboardInterrupt if signum == signal.SIGINT else TerminatedError


def _ignore(*_: object) -> None:
    """Do nothing; with SIG_IGN, Python writes a traceback about a signal that came just before."""


def _end_by(signum: signal.Signals) -> NoReturn:
    """End this process as the signal would have, had nobody caught it."""
    for child in multiprocessing.active_children():
        child.terminate()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with suppress(AttributeError):  # Windows has no masks; none may come while the handler changes, see `_ignore`
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    with suppress(AttributeError):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    os._exit(128 + signum)


def _end_with_parent() -> None:
    """Let this process get SIGTERM when its parent dies, however it dies."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return
    if not _asked_kernel():
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True).start()
    if os.getppid() != parent.pid:  # it died before the kernel was asked
        _end_by(signal.SIGTERM)


def _asked_kernel() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) == 0)
    return False


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)
