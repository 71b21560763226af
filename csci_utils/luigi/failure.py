"""What a failure means to the caller: an exit status and one sentence, also when only its text came through."""

from __future__ import annotations

import builtins
import enum
import re
import sys
import traceback
from dataclasses import dataclass

from csci_utils.luigi.os_errors import describe_os_error, parse_os_error
from csci_utils.s3.errors import ObjectMissingError, S3Error, one_line


class ExitStatus(enum.IntEnum):
    """How a run ended; of several, the highest counts."""

    OK = 0
    USAGE = 2
    LOCKED = 10
    INPUT_MISSING = 20
    NOT_RUN = 25
    TASK_FAILED = 30
    STORE = 35
    DEFECT = 40


@dataclass(frozen=True)
class Failure:
    """What a failure is to the caller and to a person."""

    status: ExitStatus
    sentence: str


_HEADER = re.compile(r"exit status (?P<status>[0-9]+): (?P<sentence>.*)")
_LAST_LINE = re.compile(r"(?P<name>[A-Za-z_][\w.]*)(?:: (?P<sentence>.*))?")
# Ordinary failures, by name: importing luigi's contributions for them would cost more than they are worth.
_TASK_FAILURES = {"luigi.worker.TaskException", "luigi.contrib.external_program.ExternalProgramRunError"}
_NOTHING_MADE = "Task finished running, but complete() is still returning false."
_MADE_NOTHING = "the task ended without what it promised, or its inputs changed meanwhile; run it again"


def describe_failure(exc: BaseException) -> Failure:
    """Say what an exception means.

    Errors of the store, missing objects and the operating system's errors are known; an exception class of another
    package may say for itself, by an attribute ``exit_status``. All else is a defect of ours.
    """
    status = _status_of(type(exc), getattr(exc, "exit_status", None))
    text = _in_plain_words(_first_line(str(exc)))
    if isinstance(exc, OSError) and exc.errno is not None and exc.strerror is not None:
        text = one_line(describe_os_error(exc))
    elif isinstance(exc, MemoryError):
        text = f"not enough memory {text}".rstrip()
    elif status is ExitStatus.DEFECT:
        text = f"{type(exc).__name__}: {text}"
    return Failure(status, text or type(exc).__name__)


def explain(exc: BaseException) -> str:
    """Write an exception for a scheduler: a line that `parse_failure` reads, then the traceback."""
    failure = describe_failure(exc)
    trace = "".join(traceback.format_exception(exc))
    return f"exit status {failure.status:d}: {failure.sentence}\n{trace}"


def parse_failure(text: str) -> Failure:
    """Read a failure from a scheduler's text: one of `explain`'s, a traceback, or a sentence of luigi's."""
    header = _HEADER.match(text)
    if header is not None:
        return Failure(_as_status(int(header["status"])) or ExitStatus.DEFECT, header["sentence"])
    last = _exception_line(text)
    if last is None:  # "Task ... died unexpectedly with exit code -9", "... timed out after ..."
        return Failure(ExitStatus.TASK_FAILED, _first_line(text) or "failed, and no reason came through")
    status = _status_of(_class_named(last["name"]), None)
    sentence = _in_plain_words(last["sentence"] or last["name"])
    return Failure(status, f"{last['name']}: {sentence}" if status is ExitStatus.DEFECT else sentence)


def _in_plain_words(text: str) -> str:
    """Reword what luigi and Python say to programmers; other texts stay."""
    if text == _NOTHING_MADE:
        return _MADE_NOTHING
    error = parse_os_error(text)
    return text if error is None else one_line(describe_os_error(error))


def _status_of(kind: type[BaseException] | None, own: object) -> ExitStatus:
    if kind is None:
        return ExitStatus.DEFECT
    said = _as_status(own if own is not None else getattr(kind, "exit_status", None))
    if said is not None:
        return said
    if issubclass(kind, ObjectMissingError):
        return ExitStatus.INPUT_MISSING
    if issubclass(kind, S3Error):
        return ExitStatus.STORE
    if issubclass(kind, OSError | MemoryError) or f"{kind.__module__}.{kind.__qualname__}" in _TASK_FAILURES:
        return ExitStatus.TASK_FAILED
    return ExitStatus.DEFECT


def _as_status(value: object) -> ExitStatus | None:
    return ExitStatus(value) if isinstance(value, int) and value in ExitStatus._value2member_map_ else None


def _exception_line(text: str) -> re.Match[str] | None:
    """Find the line of a traceback that names the exception: the first after the last frames that is not indented."""
    _, found, block = text.rpartition("Traceback (most recent call last):")
    lines = (line for line in block.splitlines() if line and not line.startswith(" "))
    return _LAST_LINE.fullmatch(next(lines, "")) if found else None


def _class_named(name: str) -> type[BaseException] | None:
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module, builtins), attribute, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _first_line(text: str) -> str:
    return one_line(text.strip().partition("\n")[0])
