"""What can be wrong with a project or an environment, as one sentence: what was wanted, what was found, what to do."""

from __future__ import annotations

from csci_utils.deps.text import without_secrets


class DepsError(Exception):
    """The base of everything this package raises on purpose; its text is always one line, without secrets.

    Attributes:
        exit_status: what the command line ends with because of it.
    """

    exit_status = 2

    def __str__(self) -> str:
        return one_line(without_secrets(" ".join(str(argument) for argument in self.args)))


class ProjectNotFoundError(DepsError, FileNotFoundError):
    """A folder holds neither a Pipfile nor a requirements.txt."""


class PipfileError(DepsError, ValueError):
    """A Pipfile cannot be read as one."""


class LockfileError(DepsError, ValueError):
    """A Pipfile.lock cannot be read as one of the specification that pipenv writes today."""


class RequirementsError(DepsError, ValueError):
    """A requirements file has a line that is no requirement."""


class SettingsError(DepsError, ValueError):
    """A project's `[tool.csci_utils.deps]` holds something that nothing reads."""


class NotInstalledError(DepsError, LookupError):
    """A name that was asked for is not where it was looked for."""


class AmbiguousNameError(DepsError, LookupError):
    """A name is that of a namespace which several distributions share."""


class PictureError(DepsError, ValueError):
    """A picture cannot be made of what was asked for, or not be written where it was to go."""


class TravisError(DepsError, ValueError):
    """A `.travis.yml` cannot be read, or not be changed in one place only."""


class InterpreterError(DepsError, OSError):
    """An interpreter or a folder that was named cannot be looked into."""


def one_line(text: str) -> str:
    """Put text that others wrote (a file name, a parser's message) on one line, without control characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
