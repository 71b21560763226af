from __future__ import annotations

import errno
import traceback

import pytest
from luigi.contrib.external_program import ExternalProgramRunError
from luigi.worker import TaskException

from csci_utils.luigi.failure import ExitStatus, describe_failure, explain, parse_failure
from csci_utils.s3 import AccessRefusedError, BucketMissingError, ObjectMissingError, S3Error


class PictureError(ValueError):
    exit_status = 30


class UsageError(Exception):
    exit_status = ExitStatus.USAGE


class OddError(Exception):
    exit_status = 77


CASES = [
    (ObjectMissingError("s3://b/k: not there"), 20, "s3://b/k: not there"),
    (BucketMissingError("s3://b/k: no bucket"), 35, "s3://b/k: no bucket"),
    (AccessRefusedError("s3://b/k: refused"), 35, "s3://b/k: refused"),
    (S3Error("s3://b/k: 503"), 35, "s3://b/k: 503"),
    (FileNotFoundError(errno.ENOENT, "No such file", "x.jpg"), 30, "x.jpg: there is no such file or folder"),
    (PictureError("x.jpg: not a picture"), 30, "x.jpg: not a picture"),
    (UsageError("../x: leaves its folder"), 2, "../x: leaves its folder"),
    (
        TaskException("Task finished running, but complete() is still returning false."),
        30,
        "the task ended without what it promised, or its inputs changed meanwhile; run it again",
    ),
    (TaskException("Can not schedule it"), 30, "Can not schedule it"),
    (ExternalProgramRunError("Program failed", []), 30, "Program failed"),
    (MemoryError(), 30, "not enough memory"),
    (ZeroDivisionError("division"), 40, "ZeroDivisionError: division"),
    (OddError("odd"), 40, "OddError: odd"),
    (SystemExit(3), 40, "SystemExit: 3"),
]


@pytest.mark.parametrize(("exc", "status", "sentence"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_an_exception_is_a_status_and_a_sentence_here_and_through_a_scheduler(exc, status, sentence):
    failure = describe_failure(exc)
    assert failure.status == status
    assert failure.sentence.startswith(sentence)
    with pytest.raises(type(exc)) as caught:
        raise exc
    assert parse_failure(explain(caught.value)) == failure
    assert "Traceback (most recent call last):" in explain(caught.value)


@pytest.mark.parametrize(
    ("exc", "status", "sentence"),
    [case for case in CASES if not isinstance(case[0], ExternalProgramRunError | MemoryError)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_bare_traceback_is_understood(exc, status, sentence):
    try:
        try:
            raise KeyError("an earlier one")
        except KeyError as err:
            raise exc from err
    except BaseException:
        failure = parse_failure(f"Runtime error:\n{traceback.format_exc()}")
    assert failure.status == status
    assert sentence in failure.sentence


def test_a_full_disk_is_said_plainly():
    failure = describe_failure(OSError(errno.ENOSPC, "No space left on device", "data/x.jpg"))
    assert failure.status is ExitStatus.TASK_FAILED
    assert failure.sentence == "data/x.jpg: no space is left on the disk; free some and run again"


def test_a_sentence_is_one_line():
    assert describe_failure(PictureError("first\nsecond")).sentence == "first"
    assert describe_failure(PictureError()).sentence == "PictureError"


def test_a_sentence_of_luigis_is_a_failed_task():
    failure = parse_failure("Task Style died unexpectedly with exit code -9")
    assert failure.status is ExitStatus.TASK_FAILED
    assert failure.sentence == "Task Style died unexpectedly with exit code -9"
    assert parse_failure("").sentence == "failed, and no reason came through"


def test_a_class_that_is_not_here_is_a_defect():
    trace = 'Traceback (most recent call last):\n  File "x"\n    raise\nno.such.module.Error: why\nand more\n'
    assert parse_failure(trace) == parse_failure(trace.replace("and more\n", ""))
    assert parse_failure(trace).status is ExitStatus.DEFECT
    assert parse_failure(trace).sentence == "no.such.module.Error: why"
