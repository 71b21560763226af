"""The command line: parse, call, return a status. Standard output holds the results' paths and nothing else."""

from __future__ import annotations

import configparser
import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from csci_utils.signals import lasting_interrupts
from neural_style.console import open_closed_streams, print_path
from neural_style.contract import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY
from pipeline.errors import PipelineError, Terminated

PROGRAM = "style-pipeline"
DEFAULT_COMMAND = "style"
DEFAULT_EMBEDDED_FOLDER = Path("bucket")
DEFECT = 40


class StyleByDefault(click.Group):
    """A group that styles when no subcommand is named, and whose help shows those options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before arguments that name none."""
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "--version")):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the default command's options first, then the commands."""
        style = self.commands[DEFAULT_COMMAND]
        style.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(
    name=PROGRAM,
    cls=StyleByDefault,
    options_metavar="",
    subcommand_metavar="[style] [OPTIONS] | COMMAND [ARGS]...",
    context_settings={"help_option_names": ["--help"], "max_content_width": 110},
)
@click.version_option(package_name="neural-style-pipeline")
def cli() -> None:
    """Style pictures that lie in S3 with models that lie in S3; each result says what it was made from.

    The results' paths go to standard output, everything else to standard error.
    """


@cli.command(DEFAULT_COMMAND)
@click.option(
    "-i", "--image", "images", multiple=True, metavar="NAME", help="Picture below images/ in S3; may be repeated."
)
@click.option(
    "-m", "--model", "models", multiple=True, metavar="NAME", help="Model below saved_models/ [.pth]; may be repeated."
)
@click.option("--max-side", type=click.IntRange(min=1), metavar="PIXELS", help="Shrink the longest edge to this first.")
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    metavar="PIXELS",
    help="Refuse a picture that declares more, before it is decoded.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=DEFAULT_QUALITY,
    show_default=True,
    help="Of JPEG and WebP results.",
)
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]")
@click.option(
    "--mode",
    type=click.Choice(["in-process", "program"]),
    default="in-process",
    show_default=True,
    help="Run the net here, or as a program of its own.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that work at once."
)
@click.option("--dry-run", is_flag=True, help="Say what would be made, and why; make nothing.")
@click.option("--s3-root", metavar="URL", help="s3://bucket/prefix.  [default: $PIPELINE_S3_ROOT]")
@click.option("--local-root", metavar="FOLDER", help="Local mirror.  [default: $PIPELINE_LOCAL_ROOT or ./data]")
@click.option("--embedded", is_flag=True, help="Use an S3 inside this process: no account, nothing configured.")
@click.option(
    "--embedded-folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"What the embedded S3 holds.  [default: ./{DEFAULT_EMBEDDED_FOLDER}]",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more about what is done, and why.")
def style(
    *,
    s3_root: str | None,
    local_root: str | None,
    device: str | None,
    embedded: bool,
    embedded_folder: Path | None,
    verbose: bool,
    **job: Any,
) -> int:
    """Style every picture with every model."""
    from pipeline import settings
    from pipeline.style import StyleJob, run

    _log_to_stderr(verbose)
    with contextlib.ExitStack() as stack:
        if embedded or embedded_folder is not None:
            from pipeline.embedded import ROOT, embedded_s3

            s3_root = settings.checked_s3_root(s3_root or ROOT)
            read = settings.read_settings(s3_root=s3_root, local_root=local_root, device=device, dotenv=False)
            stack.enter_context(embedded_s3(embedded_folder or DEFAULT_EMBEDDED_FOLDER, s3_root=s3_root))
        else:
            read = settings.read_settings(s3_root=s3_root, local_root=local_root, device=device)
            read.required_s3_root()
        stack.enter_context(settings.use(read))
        return run(StyleJob(**job), result=print_path, tell=_tell)


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
        with lasting_interrupts(), _sigterm_raises():
            status = cli.main(args=argv, prog_name=PROGRAM, standalone_mode=False)
        return int(status or 0)
    except click.ClickException as err:
        return _complain(f"{err.format_message().rstrip('.')}; see --help", err.exit_code)
    except PipelineError as err:
        return _complain(err, err.exit_status)
    except configparser.Error as err:
        return _complain(f"luigi.cfg cannot be used: {' '.join(str(err).split())}; mend it", PipelineError.exit_status)
    except ModuleNotFoundError as err:
        if err.name != "luigi":
            return _complain_of_defect()
        return _complain(
            "Luigi is not installed: pip install 'neural-style-pipeline[luigi]' (or [all])", PipelineError.exit_status
        )
    except OSError as err:
        from csci_utils.luigi.run import describe_failure

        failure = describe_failure(err)
        return _complain(failure.sentence, failure.status)
    except (KeyboardInterrupt, click.Abort) as err:  # click makes an Abort of any KeyboardInterrupt
        if isinstance(err, Terminated) or isinstance(err.__cause__, Terminated):
            return _complain("terminated; nothing half-made was left", 128 + signal.SIGTERM)
        return _complain("interrupted; nothing half-made was left", 128 + signal.SIGINT)
    except Exception:
        return _complain_of_defect()


def _complain(what: object, status: int) -> int:
    _tell(f"error: {what}")
    return int(status)


def _complain_of_defect() -> int:
    traceback.print_exc()
    return _complain("this is a defect of the program, not of your input; please report it", DEFECT)


def _tell(line: str) -> None:
    click.echo(f"{PROGRAM}: {line}", err=True)


class _LineHandler(logging.Handler):
    """Log lines on standard error, above the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what Luigi says of a failed task is told at the end, unless it is a traceback."""
        from pipeline import progress

        if record.name == "luigi-interface" and not record.exc_info:
            return
        progress.write_line(f"{PROGRAM}: {record.levelname.lower()}: {self.format(record)}")


def _log_to_stderr(verbose: bool) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _LineHandler):
            root.removeHandler(handler)
    root.addHandler(_LineHandler())
    root.setLevel(logging.WARNING)
    for name in ("pipeline", "csci_utils", "neural_style"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: its owner handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
