"""What every subcommand is asked with, and how it answers: standard output holds the answer and nothing else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from csci_utils.deps.text import without_secrets

if TYPE_CHECKING:
    from csci_utils.deps.facts import Environment
    from csci_utils.deps.project import Project

PROGRAM = "csci_utils.deps"

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Request:
    """What the options say, those before the subcommand and those after it together.

    Attributes:
        project: the project's folder or its Pipfile; None: found from where we stand, as pipenv finds it.
        pythons: interpreters, environments and folders that were named, in their order.
        as_json: whether a program reads the answer.
        timeout_s: how long each interpreter may take.
    """

    project: str | None = None
    pythons: list[str] = field(default_factory=list)
    as_json: bool = False
    timeout_s: float = 20.0

    def read_project(self) -> Project:
        """Read the project, and tell what the user should know of it.

        Raises:
            DepsError: there is none, or its Pipfile or requirements.txt cannot be read.
        """
        from csci_utils.deps.errors import ProjectNotFoundError
        from csci_utils.deps.project import find_project, read_project

        if self.project is not None and not self.project.strip():  # to a path that would be where we stand
            raise ProjectNotFoundError("wanted the folder of a project, found an empty name; name one with --project")
        project = read_project(find_project(Path(self.project) if self.project is not None else None))
        for remark in project.remarks:
            tell(remark)
        return project

    def read_project_if_any(self) -> Project | None:
        """Read the project; where there is none, or what it declares cannot be read, tell that and go on without.

        Raises:
            ProjectNotFoundError: one was named, and there is none.
        """
        from csci_utils.deps.errors import DepsError, ProjectNotFoundError

        try:
            return self.read_project()
        except ProjectNotFoundError as err:
            if self.project is not None:
                raise
            tell(err)
        except DepsError as err:
            tell(f"{err}; until then its pipenv environment cannot be found")
        return None

    def read_environments(self, project: Project | None, *, modules: bool = False) -> list[Environment]:
        """Read every environment that concerns the project, and tell what is missing or broken.

        Raises:
            InterpreterError: one that was named cannot be read.
        """
        from csci_utils.deps.environments import read_environments
        from csci_utils.deps.places import find_places

        places, remarks = find_places(project, named=self.pythons)
        environments = read_environments(places, modules=modules, timeout_s=self.timeout_s)
        for remark in [*remarks, *(problem for each in environments for problem in each.problems)]:
            tell(remark)
        return environments

    def answer(self, data: Any, lines: Sequence[str]) -> None:
        """Print the answer, for a program or for people.

        Args:
            data: facts, and what holds them.
            lines: the same as text.
        """
        from csci_utils.deps.facts import as_data

        text = json.dumps(as_data(data), indent=2) if self.as_json else "\n".join(lines)
        try:
            sys.stdout.write(f"{text}\n" if text else "")
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has gone (`| head`): the status stays, where click would end with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(sentence: object) -> None:
    """Say something to the user on standard error, without secrets."""
    click.echo(f"{PROGRAM}: {without_secrets(str(sentence))}", err=True)


def with_request(command: Command) -> Command:
    """Give a command the options that all share; it is called with the `Request` first."""
    passing: Any = click.make_pass_decorator(Request, ensure=True)(command)
    return shared_options(passing)  # type: ignore[no-any-return]  # the wrapper takes more and returns the same


def shared_options(command: Command) -> Command:
    """Give a command the options that all share, kept in the context's `Request`."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    request = ctx.ensure_object(Request)
    if parameter.name == "pythons":
        request.pythons += value
    elif value is not None:
        setattr(request, str(parameter.name), value)


class _Seconds(click.FloatRange):
    """A limit that can be waited for; `nan`, which compares with nothing, is none."""

    def __init__(self) -> None:
        super().__init__(min=0.1, max=86_400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        return seconds if seconds == seconds else self.fail(f"{value!r} is no number of seconds", param, ctx)


_SHARED = [
    click.option(
        "--project",
        metavar="DIR",
        expose_value=False,
        callback=_remember,
        help="The project's folder.  [default: the nearest one upwards with a Pipfile]",
    ),
    click.option(
        "--python",
        "pythons",
        metavar="PATH",
        multiple=True,
        expose_value=False,
        callback=_remember,
        help="An interpreter, an environment, or a folder of installed distributions; may be given again.",
    ),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        default=None,
        expose_value=False,
        callback=_remember,
        help="Answer in JSON, for programs.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="SECONDS",
        type=_Seconds(),
        expose_value=False,
        callback=_remember,
        help="How long each interpreter may take.  [default: 20]",
    ),
]
