"""The command line: the subcommands by name, each imported when it is called; errors as one line and a status."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from csci_utils.deps.errors import DepsError
from csci_utils.deps.options import PROGRAM, shared_options, tell
from csci_utils.deps.text import without_secrets

DEFECT = 40
INTERRUPTED = 130

COMMANDS = {
    "where": "What is installed where, side by side, and what differs.",
    "tree": "What requires what: required against installed, conflicts and circles.",
    "check": "What CI will miss: imports against Pipfile, lock and environment.",
    "travis": ".travis.yml from Pipfile and lock: printed, written, checked.",
    "table": "Which of conda, pip and pipenv have a name, at which version; as CSV, too.",
    "venn": "A picture of how their names overlap.",
    "one": "All about one dependency, and whether that agrees.",
}
"""Each subcommand is the module of its name in this package, whose `command` is one of click's."""


class Subcommands(click.Group):
    """A group that imports a subcommand when it is called, and lists all without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a subcommand; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"csci_utils.deps.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Subcommands, context_settings={"help_option_names": ["--help"], "max_content_width": 110})
@shared_options
def cli() -> None:
    """Look at what a Python project declares, locks and has installed, and find what CI will miss.

    The answer goes to standard output, everything else to standard error. The options may stand before or after the
    subcommand. Exit status: 0 fine, 1 CI would break, 2 something that was given cannot be used.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its status; that of a signal is 128 and its number."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_by)
    sys.exit(exit_status(argv))


def _end_by(number: int, _frame: object) -> NoReturn:
    """End as after an error: an interpreter that is being asked is ended, which would else go on."""
    sys.exit(128 + number)


def exit_status(argv: Sequence[str] | None = None) -> int:
    """Run the command line; what a user can get wrong becomes one line and a status.

    Args:
        argv: arguments without the program's name; those of the process if None.
    """
    for stream in (sys.stdout, sys.stderr):  # a path may hold bytes that the terminal's encoding cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(cli.main(args=argv, prog_name=f"python -m {PROGRAM}", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as err:
        click.echo(err.format_message(), err=True)
        return err.exit_code
    except click.ClickException as err:
        return _complain(f"{err.format_message().rstrip('.')}; see --help", err.exit_code)
    except DepsError as err:
        return _complain(err, err.exit_status)
    except OSError as err:
        return _complain(f"{err}; mend that and try again", DepsError.exit_status)
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in ("packaging", "plette", "ruamel", "luigi"):
            return _complain_of_defect()
        what = f"{err.name} is not installed: pip install 'neural-style-pipeline[deps,luigi]' (or [all])"
        return _complain(what, DepsError.exit_status)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", INTERRUPTED)
    except Exception:
        return _complain_of_defect()


def _complain(what: object, status: int) -> int:
    tell(f"error: {what}")
    return status


def _complain_of_defect() -> int:
    import traceback  # seldom wanted, and not free

    click.echo(without_secrets(traceback.format_exc()), err=True, nl=False)
    return _complain("this is a defect of the program, not of your input; please report it", DEFECT)
