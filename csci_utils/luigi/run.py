# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Runs of luigi whose exit status is honest, and tasks whose failures explain themselves.

`luigi.build` returns True when an input is missing, and keeps a failure's traceback where no caller looks.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import luigi
from luigi.execution_summary import LuigiRunResult, LuigiStatusCode, _summary_dict
from luigi.interface import PidLockAlreadyTakenExit, _WorkerSchedulerFactory
from luigi.rpc import RPCError
from luigi.worker import TaskException, Worker

from csci_utils.luigi import process
from csci_utils.luigi.failure import ExitStatus, Failure, describe_failure, explain, parse_failure
from csci_utils.luigi.log import SentenceFilter, quiet_luigi, shorten_luigi_log
from csci_utils.s3.errors import one_line
from csci_utils.s3.redact import without_secrets
from csci_utils.signals import pending_interrupt

__all__ = [
    "ExitStatus",
    "ExplainedTask",
    "Failure",
    "RunResult",
    "SentenceFilter",
    "build",
    "describe_failure",
    "shorten_luigi_log",
]

logger = logging.getLogger("csci_utils.run")

_OWN_END_S = 1.0
_OTHERS_S = 1.0
_QUIET_ROUNDS = 5
_FIRST_ANSWER_S = 10.0
_DONE = {LuigiStatusCode.SUCCESS, LuigiStatusCode.SUCCESS_WITH_RETRY}


class ExplainedTask(luigi.Task):
    """A task whose failure explains itself wherever it is read: status and sentence first, the traceback after.

    Mixes with any other task class. The text travels through the scheduler, from forked workers and over a network.
    """

    def on_failure(self, exception: BaseException) -> str:
        """Return the explanation that luigi hands to its scheduler.

        Raises:
            KeyboardInterrupt: the failure is what became of one on its way; the run ends, as it was told to.
        """
        interrupt = pending_interrupt()
        if interrupt is not None:
            raise interrupt from exception
        return explain(exception)


@dataclass(frozen=True)
class RunResult:
    """How a run ended; tasks are named by their ids.

    Attributes:
        exit_status: what a program should exit with.
        failures: what went wrong, by task; under "" what concerns the whole run.
        missing: external inputs that are not there.
        done: tasks that ran to their end.
        already_done: tasks that had nothing to do.
        elsewhere: tasks that a worker on another host was running when this one ended.
        queued: tasks that were not run because tasks of other workers used a resource (a GPU) that they want.
    """

    exit_status: ExitStatus
    failures: dict[str, Failure] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    already_done: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)

    def leaves(self, task_id: str) -> bool:
        """Tell whether nothing is known to have become of a task that was asked for."""
        return (
            task_id not in {*self.done, *self.already_done, *self.failures, *self.missing} and "" not in self.failures
        )

    def followed_by(self, later: RunResult) -> RunResult:
        """Return how both ended as one; what this one left was asked for again in the later."""
        passing = {ExitStatus.LOCKED, ExitStatus.NOT_RUN}
        done = sorted({*self.done, *later.done})
        return RunResult(
            max(ExitStatus.OK if self.exit_status in passing else self.exit_status, later.exit_status),
            self.failures | later.failures,
            sorted({*self.missing, *later.missing}),
            done,
            sorted({*self.already_done, *later.already_done} - set(done)),
            later.elsewhere,
            later.queued,
        )


def build(
    tasks: Iterable[luigi.Task],
    *,
    workers: int = 1,
    scheduler_url: str | None = None,
    log_level: str = "WARNING",
    wait_for_others: bool = True,
    seen: Mapping[luigi.Task, bool] | None = None,
    **environment: Any,
) -> RunResult:
    """Run tasks and all they require, and say honestly how that went.

    Args:
        tasks: what is wanted.
        workers: processes; with one, tasks run in this one.
        scheduler_url: a ``luigid``; without, a scheduler inside this process.
        log_level: of luigi's own loggers; the program's handlers and root logger stay as they are.
        wait_for_others: whether a task that another host is running is waited for, and run here when that host gives it
            up; else it is told as ``elsewhere``, and the exit status is `ExitStatus.LOCKED`. Whether a resource that
            others use is waited for, too; else its tasks are told as ``queued``, and it is `ExitStatus.NOT_RUN`.
        seen: what the caller has just found out, of some tasks, about their being complete. One that was seen to be is
            not asked in this run: who needs it will notice. One that was not is asked from the second time on.
        environment: more of luigi's core settings, as ``no_lock``.

    A task that ends without its output is a failure, whatever the configuration says. KeyboardInterrupt passes through.
    """
    tasks, quiet_rounds = list(tasks), 0
    with _answering(seen or {}):
        result = _build(tasks, workers=workers, scheduler_url=scheduler_url, log_level=log_level, **environment)
    shared = scheduler_url is not None and wait_for_others
    while shared and (waiting := [task for task in tasks if result.leaves(task.task_id)]):
        quiet_rounds = 0 if result.elsewhere or result.queued else quiet_rounds + 1
        if quiet_rounds > _QUIET_ROUNDS:
            break
        counts = len(waiting), len(result.elsewhere), len(result.queued)
        logger.info("waiting for %d tasks; others run %d, and use what %d want", *counts)
        time.sleep(_OTHERS_S)
        later = _build(waiting, workers=workers, scheduler_url=scheduler_url, log_level=log_level, **environment)
        result = result.followed_by(later)
    return result


@contextmanager
def _answering(seen: Mapping[luigi.Task, bool]) -> Iterator[None]:
    """Let tasks answer from what was seen within the block."""

    def answer_of(task: luigi.Task, answer: bool) -> Callable[[], bool]:
        def complete() -> bool:
            if not answer:
                task.__dict__.pop("complete", None)
            return answer

        return complete

    for task, answer in seen.items():
        task.__dict__["complete"] = answer_of(task, answer)
    try:
        yield
    finally:
        for task in seen:
            task.__dict__.pop("complete", None)


def _build(
    tasks: list[luigi.Task], *, workers: int, scheduler_url: str | None, log_level: str, **environment: Any
) -> RunResult:
    factory = _Factory()
    try:
        _ask_for(scheduler_url)
        with quiet_luigi(log_level):
            result = luigi.build(
                tasks,
                worker_scheduler_factory=factory,
                detailed_summary=True,
                workers=workers,
                local_scheduler=scheduler_url is None,
                scheduler_url=scheduler_url or "",
                **environment,
            )
            wanted = {task.task_id for task in tasks}
            found = _read(result, factory.worker, wanted=wanted)
            return found if scheduler_url is None else _with_queued(found, factory.worker, wanted=wanted)
    except (Exception, PidLockAlreadyTakenExit) as err:  # the latter is a SystemExit
        failure = _failure_of_run(err, scheduler_url=scheduler_url)
        return RunResult(failure.status, {"": failure})


def _ask_for(scheduler_url: str | None) -> None:
    """Find out at once whether there is a scheduler; luigi by itself asks for a minute.

    Raises:
        RPCError: there is none.
    """
    if scheduler_url is None or not scheduler_url.startswith(("http://", "https://")):
        return
    try:
        parts = urllib.parse.urlsplit(scheduler_url)
        # Without its login, which luigi sends and urllib takes for a part of the host's name: a 401 is an answer, too.
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        urllib.request.urlopen(address, timeout=_FIRST_ANSWER_S).close()
    except urllib.error.HTTPError as err:  # it answered
        err.close()
    except (OSError, ValueError) as err:
        raise RPCError(str(getattr(err, "reason", err))) from err


def _failure_of_run(err: BaseException, *, scheduler_url: str | None) -> Failure:
    """Say, and log, why nothing could be run at all."""
    if isinstance(err, PidLockAlreadyTakenExit):
        return Failure(ExitStatus.LOCKED, "another process is running the same command and holds luigi's lock")
    if isinstance(err, RPCError):
        logger.debug("no answer from the scheduler", exc_info=err)
        silent = without_secrets(f"the scheduler at {scheduler_url} cannot be used: {err}")
        return Failure(ExitStatus.NOT_RUN, one_line(silent))
    failure = describe_failure(err)
    if isinstance(err, TaskException):  # outside of a task: what luigi was given is no task
        failure = Failure(ExitStatus.DEFECT, failure.sentence)
    logger.error("%s", failure.sentence, exc_info=err if failure.status is ExitStatus.DEFECT else None)
    return failure


class _RecordingWorker(Worker):
    """A worker that keeps the reasons for which tasks could not even be scheduled."""

    unschedulable: dict[str, Failure]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unschedulable = {}

    def __exit__(self, type: Any, value: Any, traceback: Any) -> bool:
        """Let running tasks clean up before they are killed, which leaves scratch files."""
        try:
            if type is not None:
                self._end_tasks()
        finally:  # a second Ctrl-C does not wait
            for task in self._alive():
                task.kill()
            stop = super().__exit__(type, value, traceback)
        return bool(stop)

    def _end_tasks(self) -> None:
        self._wait_for_tasks(_OWN_END_S)  # Ctrl-C at a terminal reached them as well: a second one would disturb
        for task in self._alive():
            with suppress(ProcessLookupError):
                os.kill(task.pid, signal.SIGINT)
        self._wait_for_tasks(process.CLEAN_UP_S)

    def _purge_children(self) -> None:
        """Let luigi terminate what runs too long, and kill what does not heed that.

        In a thread: luigi forgets the task at once, and where psutil is installed waits for it without an end.
        """
        for task in self._alive():
            if task.timeout_time is not None and time.time() > task.timeout_time:
                timer = threading.Timer(process.CLEAN_UP_S, task.kill)
                timer.daemon = True
                timer.start()
        super()._purge_children()

    def _alive(self) -> list[Any]:
        return [task for task in self._running_tasks.values() if task.is_alive()]

    def _wait_for_tasks(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        for task in self._alive():
            task.join(max(0.0, end - time.monotonic()))

    def _log_complete_error(self, task: luigi.Task, tb: str) -> None:
        if not self._keep(task, tb):
            super()._log_complete_error(task, tb)

    def _log_dependency_error(self, task: luigi.Task, tb: str) -> None:
        if not self._keep(task, tb):
            super()._log_dependency_error(task, tb)

    def _log_unexpected_error(self, task: luigi.Task) -> None:
        if not isinstance(sys.exception(), RPCError):  # which is told as what became of the whole run
            super()._log_unexpected_error(task)

    def _keep(self, task: luigi.Task, tb: str) -> bool:
        """Keep a failure, and tell whether its sentence is enough for the log."""
        failure = self.unschedulable[task.task_id] = parse_failure(tb)
        if failure.status is ExitStatus.DEFECT:
            return False
        logging.getLogger("luigi-interface").error("%s cannot be scheduled: %s", task.task_id, failure.sentence)
        return True


class _Factory(_WorkerSchedulerFactory):
    """Makes the worker that checks and records, and remembers the scheduler to ask it afterwards."""

    def __init__(self) -> None:
        self.worker: _RecordingWorker | None = None

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> _RecordingWorker:
        """Make the worker."""
        self.worker = _RecordingWorker(
            scheduler=scheduler,
            worker_processes=worker_processes,
            assistant=assistant,
            check_complete_on_run=True,
            task_process_context=process.FORKED_TASK,
            # luigi sets a signal handler, which only a main thread may.
            no_install_shutdown_handler=threading.current_thread() is not threading.main_thread(),
        )
        return self.worker


def _read(result: LuigiRunResult, worker: _RecordingWorker | None, *, wanted: set[str]) -> RunResult:
    """Turn luigi's summary into ours."""
    assert worker is not None  # luigi.build came back, so it made one
    groups = {name: {task.task_id: task for task in found} for name, found in _summary_dict(worker).items()}
    # An external input fails, instead of staying pending, when luigi was told to look for it again.
    failed_inputs = {task_id for task_id, task in groups["failed"].items() if task.run in (None, NotImplemented)}
    missing = sorted(failed_inputs | set(groups["still_pending_ext"]))
    failures = {task_id: _failure_of(task_id, worker._scheduler) for task_id in set(groups["failed"]) - failed_inputs}
    for task_id in groups["scheduling_error"]:
        failures[task_id] = worker.unschedulable.get(task_id, Failure(ExitStatus.NOT_RUN, "not scheduled"))
    statuses = {failure.status for failure in failures.values()}
    statuses |= {ExitStatus.INPUT_MISSING} if missing else set()
    finished = wanted <= {*groups["completed"], *groups["already_done"]}
    if not finished:
        statuses |= {ExitStatus.NOT_RUN} if groups["not_run"] else set()
        statuses |= {ExitStatus.LOCKED} if groups["run_by_other_worker"] else set()
    if not statuses and not (finished and result.status in _DONE):
        statuses = {ExitStatus.NOT_RUN}
    return RunResult(
        max(statuses, default=ExitStatus.OK),
        failures,
        missing,
        sorted(groups["completed"]),
        sorted(groups["already_done"]),
        sorted(wanted & set(groups["run_by_other_worker"])),
    )


def _with_queued(result: RunResult, worker: _RecordingWorker | None, *, wanted: set[str]) -> RunResult:
    """Add which tasks wait for what tasks of other workers use."""
    left = sorted(task_id for task_id in wanted - set(result.elsewhere) if result.leaves(task_id))
    if worker is None or not left:
        return result
    needed = {name for task in worker._scheduled_tasks.values() for name in task.process_resources()}
    running = worker._scheduler.task_list("RUNNING", "").values() if needed else ()
    used = {name for task in running if isinstance(task, dict) for name in task.get("resources") or ()}
    return replace(result, queued=left if needed & used else [])


def _failure_of(task_id: str, scheduler: Any) -> Failure:
    """Ask the scheduler why a task failed: it knows it from forked workers, too."""
    text = scheduler.fetch_error(task_id).get("error") or ""
    with suppress(ValueError):
        text = json.loads(text)
    return parse_failure(str(text))
