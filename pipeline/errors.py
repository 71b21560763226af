"""What the pipeline itself can complain about: one sentence, and the exit status that goes with it."""

from __future__ import annotations

import signal


class PipelineError(Exception):
    """Base of the package's own errors. Its text is one line.

    Attributes:
        exit_status: What the command line ends with (README, "Exit status").
    """

    exit_status = 2


class NotConfiguredError(PipelineError):
    """No S3 root is known, or a setting does not make sense."""


class BadNameError(PipelineError, ValueError):
    """A picture or model name that no object of ours may have."""


class OfflineError(PipelineError, RuntimeError):
    """What was asked for needs S3, and S3 is not to be asked."""


class CannotPutError(PipelineError):
    """What was asked for is no file, or has no place below the S3 root."""


class AmbiguousResultError(PipelineError):
    """Two requests would write one file."""


class ProgramFailedError(PipelineError, RuntimeError):
    """Styling in a process of its own ended with an error."""

    exit_status = 30


class Terminated(KeyboardInterrupt):  # noqa: N818 -- what happened, not what went wrong
    """SIGTERM: like Ctrl-C it passes every `except Exception`, so that scratch files go and children end."""

    signum = signal.SIGTERM


class InputChangedError(PipelineError, RuntimeError):
    """A local copy was replaced by another while it was being read."""

    exit_status = 30


class ModelInTheWayError(PipelineError, FileExistsError):
    """S3 holds another model under the name that a trained one was to have."""

    exit_status = 30
