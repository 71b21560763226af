"""The command line: parse, call, return a status. Standard output holds the results' paths and nothing else."""

from __future__ import annotations

import configparser
import contextlib
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

import click

from csci_utils.signals import lasting_interrupts, pending_interrupt, raise_interrupt
from neural_style.console import open_closed_streams
from pipeline import commands
from pipeline.console import PROGRAM, tell
from pipeline.errors import PipelineError, Terminated

DEFECT = 40


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its status (README, "Exit status")."""
    sys.exit(exit_status(argv))


def exit_status(argv: Sequence[str] | None = None) -> int:
    """Run the command line; what a user can get wrong becomes one line and a status.

    Args:
        argv: Arguments without the program's name; those of the process if None.
    """
    open_closed_streams()
    try:
        with lasting_interrupts(handlers=_signals_raise()):
            return _called(argv)
    except click.ClickException as err:
        return _complain(f"{err.format_message().rstrip('.')}; see --help", err.exit_code)
    except PipelineError as err:
        return _complain(err, err.exit_status)
    except configparser.Error as err:
        return _complain(f"luigi.cfg cannot be used: {' '.join(str(err).split())}; mend it", PipelineError.exit_status)
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] != "luigi":
            return _complain_of_defect()
        return _complain(
            "Luigi is not installed: pip install 'neural-style-pipeline[luigi]' (or [all])", PipelineError.exit_status
        )
    except OSError as err:
        from csci_utils.luigi.run import describe_failure

        failure = describe_failure(err)
        return _complain(failure.sentence, failure.status)
    except (KeyboardInterrupt, click.Abort) as err:
        if isinstance(err, Terminated):
            return _complain("terminated; nothing half-made was left", 128 + signal.SIGTERM)
        return _complain("interrupted; nothing half-made was left", 128 + signal.SIGINT)
    except Exception:
        return _complain_of_defect()


def _called(argv: Sequence[str] | None) -> int:
    """Call the command; what an interrupt became on its way, or nothing, is that interrupt (`pending_interrupt`)."""
    try:
        status = int(commands.cli.main(args=argv, prog_name=PROGRAM, standalone_mode=False) or 0)
    except Exception as err:
        if (interrupt := pending_interrupt()) is None:
            raise
        raise interrupt from err
    if (interrupt := pending_interrupt()) is not None:
        raise interrupt
    return status


def _complain(what: object, status: int) -> int:
    tell(f"error: {what}")
    return int(status)


def _complain_of_defect() -> int:
    traceback.print_exc()
    return _complain("this is a defect of the program, not of your input; please report it", DEFECT)


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C clean up on their way out of the block; a Ctrl-C that is ignored stays so."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise_interrupt(Terminated if number == signal.SIGTERM else KeyboardInterrupt)

    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        wanted.remove(signal.SIGINT)
    try:
        before = {number: signal.signal(number, interrupt) for number in wanted}
    except ValueError:  # not the main thread: its owner handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
