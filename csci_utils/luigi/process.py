"""Forked task processes that end with their parent, and end quietly and cleanly when they are told to.

Luigi calls it around each task, where its configuration says so::

    [worker]
    task_process_context = csci_utils.luigi.process.ForkedTask
"""

from __future__ import annotations

import faulthandler
import importlib
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

CLEAN_UP_S = 10
"""How long a task that is told to end may clean up."""

_LATE_S = 16  # also a signal: SIGSTKFLT, which nobody sends. See `_end_without_python`
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

    Native code keeps Python from noticing a signal. On Linux the kernel ends such a task a little after the time to
    clean up, unless it handles SIGALRM itself; elsewhere that is left to who sent the signal.
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
        if signal.getsignal(signal.SIGTERM) is _interrupt:
            _end_without_python()
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
        signal.alarm(CLEAN_UP_S)
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


def _end_without_python() -> None:
    """Let the kernel end this process some time after SIGTERM, unless Python sees to that before.

    Python's handlers and threads wait for native code that holds the interpreter, so none of them may be needed:
    on SIGTERM faulthandler's handler, which is C, writes to a pipe; at that the kernel sends the signal `_LATE_S`;
    its handler is C's `alarm`, which takes the signal's number for its seconds. `_interrupt` sets another alarm.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        handler = ctypes.cast(libc.alarm, ctypes.c_void_p)
        libc.signal.restype = ctypes.c_void_p
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the parent's would be inherited
        libc.signal(ctypes.c_int(_LATE_S), handler)
        faulthandler.register(signal.SIGTERM, _pipe_that_signals(), all_threads=False, chain=True)
        os.register_at_fork(after_in_child=_leave_pipe)


def _leave_pipe() -> None:
    """Keep SIGTERM to a process that the task forks from ending the task, too."""
    if signal.getsignal(signal.SIGTERM) is _interrupt:  # else the task set another, which faulthandler would undo
        faulthandler.unregister(signal.SIGTERM)


def _pipe_that_signals() -> int:
    """Open a pipe whose first bytes make the kernel send this process the signal `_LATE_S`."""
    fcntl: Any = importlib.import_module("fcntl")
    read, write = os.pipe()
    os.set_blocking(write, False)
    fcntl.fcntl(read, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(read, fcntl.F_SETSIG, _LATE_S)
    fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC)
    return write


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
