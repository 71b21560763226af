# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Luigi's log, as a user can read it."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from luigi.parameter import MissingParameterException, ParameterException
from luigi.setup_logging import InterfaceLogging

from csci_utils.luigi.failure import ExitStatus, Failure, describe_failure, parse_failure
from csci_utils.s3.errors import one_line
from csci_utils.signals import pending_interrupt

_TRACEBACK = "Traceback (most recent call last)"
_MISSING = re.compile(r"requires the '(\w+)' parameter to be set$")
_NO_NUMBER = {
    "a whole number": re.compile(r"invalid literal for int\(\) with base 10: (.*)", re.DOTALL),
    "a number": re.compile(r"could not convert string to float: (.*)", re.DOTALL),
}
_OF_THE_COMMAND = "Uncaught exception in luigi"


class SentenceFilter(logging.Filter):
    """Gives a user's error one sentence in luigi's log; a defect of ours keeps its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record; drop it only where the failure is what became of an interrupt."""
        failure = _failure_in(record)
        if failure is not None and pending_interrupt() is not None:
            return False
        if failure is not None and failure.status is not ExitStatus.DEFECT:
            record.msg, record.args = "%s", (failure.sentence,)
            record.exc_info = record.exc_text = None
        return True


def shorten_luigi_log() -> None:
    """Keep tracebacks of what a user can get wrong out of the `luigi` command's log, from now on."""
    logger = logging.getLogger("luigi-interface")
    if not any(isinstance(each, SentenceFilter) for each in logger.filters):
        logger.addFilter(SentenceFilter())


def _failure_in(record: logging.LogRecord) -> Failure | None:
    """Find the failure that a record tells of: an exception, or the text of one in its message."""
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        err = record.exc_info[1]
        wrong = _wrong_parameter(err) if record.msg == _OF_THE_COMMAND else None
        return wrong or describe_failure(err)
    text = record.getMessage()
    return parse_failure(text) if _TRACEBACK in text else None


def _wrong_parameter(err: BaseException) -> Failure | None:
    """Say what is wrong with an option of the `luigi` command, where luigi could not read it; None for other errors."""
    if err.__cause__ is not None and _raised_in(err) == "luigi.task":  # luigi wraps what a default or luigi.cfg gives
        err = err.__cause__
    if not isinstance(err, ParameterException) and _raised_in(err) != "luigi.parameter":
        return None
    missing = _MISSING.search(str(err)) if isinstance(err, MissingParameterException) else None
    if missing:
        what = f"{_option(missing[1])} is not given; give it, or name a luigi.cfg that does by LUIGI_CONFIG_PATH"
        return Failure(ExitStatus.USAGE, one_line(what))
    locals_ = [frame.f_locals for frame in _frames(err) if frame.f_code.co_name in ("_get_task_kwargs", "_get_value")]
    option = f"{_option(locals_[0]['param_name'])}: " if locals_ and "param_name" in locals_[0] else ""
    what = f"{option}{_in_words(str(err))}; luigi's --help-all names the options and what they take"
    return Failure(ExitStatus.USAGE, one_line(what))


def _in_words(text: str) -> str:
    """Say what Python says of a text that is no number, as a user would; other texts stay."""
    for kind, pattern in _NO_NUMBER.items():
        if found := pattern.fullmatch(text):
            return f"wanted {kind}, found {found[1]}"
    return text


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _frames(err: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(err.__traceback__)]


def _raised_in(err: BaseException) -> str | None:
    """Name the module that raised an exception."""
    frames = _frames(err)
    return frames[-1].f_globals.get("__name__") if frames else None


@contextmanager
def quiet_luigi(level: str) -> Iterator[None]:
    """Set the level of luigi's loggers for a while, and keep luigi from adding handlers to them."""
    loggers = [logging.getLogger("luigi-interface"), logging.getLogger("luigi")]
    levels = [each.level for each in loggers]
    shorten, configured = SentenceFilter(), InterfaceLogging._configured
    InterfaceLogging._configured = True
    loggers[0].addFilter(shorten)
    for each in loggers:
        each.setLevel(level)
    try:
        yield
    finally:
        InterfaceLogging._configured = configured
        loggers[0].removeFilter(shorten)
        for each, old in zip(loggers, levels, strict=True):
            each.setLevel(old)
