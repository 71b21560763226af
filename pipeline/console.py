"""What people see on standard error: lines of this program, and of the log, above the bars."""

from __future__ import annotations

import logging

import click

PROGRAM = "style-pipeline"


def tell(line: str) -> None:
    """Say one line to people."""
    from pipeline import progress

    if progress.is_shown():
        progress.write_line(f"{PROGRAM}: {line}")
    else:
        click.echo(f"{PROGRAM}: {line}", err=True)


class LineHandler(logging.Handler):
    """Log lines on standard error, above the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what Luigi says of a failed task is told at the end, unless it is a traceback."""
        from pipeline import progress

        if record.name == "luigi-interface" and not record.exc_info:
            return
        progress.write_line(f"{PROGRAM}: {record.levelname.lower()}: {self.format(record)}")


def log_to_stderr(*, verbose: bool) -> None:
    """Send warnings there, and with `verbose` also what is done and why."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, LineHandler):
            root.removeHandler(handler)
    root.addHandler(LineHandler())
    root.setLevel(logging.WARNING)
    for name in ("pipeline", "csci_utils", "neural_style"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
