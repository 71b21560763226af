"""A project's `.travis.yml` from its Pipfile, its lock and what it says of itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import click

from csci_utils.deps.errors import TravisError
from csci_utils.deps.files import NotAFileError, read_file
from csci_utils.deps.options import PROGRAM, Request, tell, with_request
from csci_utils.deps.travis_edit import Difference, differences, merge, ownership
from csci_utils.deps.travis_plan import plan_of
from csci_utils.deps.travis_yaml import Document, parse
from csci_utils.io import atomic_path


def read_travis(path: Path) -> Document:
    """Read a `.travis.yml`; one that is not there is empty.

    Raises:
        TravisError: it is no file of the kind that can be changed in place.
    """
    try:
        return parse(read_file(path).decode("utf-8"), path)
    except FileNotFoundError:
        return parse("", path)
    except NotAFileError as err:
        raise TravisError(f"{path}: wanted a file, found a {err.what} of that name; rename it") from err
    except UnicodeDecodeError as err:
        raise TravisError(f"{path}: wanted UTF-8, found other bytes at {err.start}; save it as UTF-8") from err


def write_travis(path: Path, text: str) -> None:
    """Write a `.travis.yml`, whole or not at all, with the permissions that it has; a link stays one."""
    target = Path(os.path.realpath(path))
    with atomic_path(target) as scratch:
        scratch.write_bytes(text.encode("utf-8"))
        if target.exists():
            scratch.chmod(stat.S_IMODE(target.stat().st_mode))


@click.command()
@with_request
@click.option("--write", is_flag=True, help="Write it; of a file that is there, only what it says is kept in step.")
@click.option("--check", is_flag=True, help="Only say what is not in step, with status 1 if something is not.")
@click.option("--out", metavar="FILE", help="The file.  [default: .travis.yml in the project]")
def command(request: Request, *, write: bool, check: bool, out: str | None) -> int:
    """Make or check the project's .travis.yml; without --write it is printed as it would be written.

    The versions of Python are those of the classifiers within python_requires, else the Pipfile's. A comment in the
    file says which keys are kept in step: language, python, cache, stages, install, script, deploy. Everything else in
    it, comments too, stays as it is.
    """
    if write and check:
        raise click.UsageError("wanted --write or --check, found both; leave out one")
    project = request.read_project()
    path = Path(out) if out is not None else project.folder / ".travis.yml"
    plan = plan_of(project)
    document = read_travis(path)
    owned = ownership(document)
    wrong = differences(document, plan)
    text = document.raw if check else merge(document, plan)
    for remark in [*plan.remarks, *(plan.first_remarks if any(_is_first(each) for each in wrong) else ())]:
        tell(remark)
    if owned.strange:
        tell(f"{path}: says that {', '.join(owned.strange)} is kept in step, which is none of the keys; take it out")
    if write and wrong:
        write_travis(path, text)
    data = {"path": path, "in_step": not wrong, "kept_in_step": owned.keys, "differences": wrong, "text": text}
    request.answer(data, [str(path)] if write else _said(path, wrong) if check else text.splitlines())
    return 1 if check and wrong else 0


def _is_first(difference: Difference) -> bool:
    return difference.key == "deploy" and difference.found is None


def _said(path: Path, wrong: Sequence[Difference]) -> list[str]:
    if not wrong:
        return [f"{path}: in step"]
    tell(f"to mend it: python -m {PROGRAM} travis --write")
    if not path.exists():
        return [f"{path}: wanted one, found none"]
    return [f"{path}: {each.sentence}" for each in wrong]
