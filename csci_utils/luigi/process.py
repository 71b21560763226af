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
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from csci_utils.signals import lasting_interrupts, pending_interrupt, raise_interrupt

FORKED_TASK = "csci_utils.luigi.process.ForkedTask"
"""What luigi's ``task_process_context`` is to be."""

CLEAN_UP_S = 10
"""How long a task that is told to end may clean up."""

_WATCH_S = 0.5


class ForkedTask:
    """What luigi enters around a task's run; in a process that also runs luigi itself it does nothing.

    In a process of the task's own, SIGINT and the parent's death interrupt the task as Ctrl-C does. It may clean up,
    for so long; then the process ends by that signal, without a traceback and without a word to its parent, which sees
    that it died. SIGTERM ends it at once, as the system does it: also a task that is stuck in native code, where Python
    notices no signal. What such a task leaves is a scratch file, which the next start removes.
    """

    def __init__(self, process: Any) -> None:
        """Take luigi's `TaskProcess`."""
        self._process = process
        self._forked = False
        self._stack = ExitStack()

    def __enter__(self) -> None:
        self._forked = bool(self._process.use_multiprocessing) and multiprocessing.current_process() is self._process
        if not self._forked:
            return
        self._process.result_queue = _Results(self._process.result_queue)
        for each in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(each, signal.SIG_DFL)  # the parent's handlers would be inherited
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            _catch_interrupt()
            self._stack.enter_context(lasting_interrupts(_catch_interrupt))
        _end_with_parent()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._forked:
            return
        interrupt = kind if kind is not None and issubclass(kind, KeyboardInterrupt) else pending_interrupt()
        if interrupt is not None:
            _end_by(signal.SIGINT if interrupt is KeyboardInterrupt else signal.SIGTERM)
        self._stack.close()
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to clean up


class _Results:
    """Luigi's queue, which takes no result of a task that was interrupted: luigi would send one without a status."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, result: Any) -> None:
        if pending_interrupt() is None and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            self._queue.put(result)


def _catch_interrupt() -> None:
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    """Interrupt the task once: a second signal must not disturb its cleaning up, nor may that last for long."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _ignore)
    with suppress(AttributeError):  # Windows has no alarms
        signal.alarm(CLEAN_UP_S)
    raise_interrupt()


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
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    with suppress(AttributeError):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    os._exit(128 + signum)


def _end_with_parent() -> None:
    """Let a thread see to it that this process ends when its parent does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True).start()


def _watch(parent_pid: int) -> None:
    """Interrupt the task when the parent is gone, and end it if that does not."""
    while os.getppid() == parent_pid:
        time.sleep(_WATCH_S)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(CLEAN_UP_S)
    os.kill(os.getpid(), signal.SIGKILL)
