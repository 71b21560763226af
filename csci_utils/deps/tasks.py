# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""The subcommands as Luigi tasks: reports in files, each complete while it says what is so now.

`luigi --module csci_utils.deps.tasks TableReport --project . --local-scheduler`
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import luigi
from luigi.format import Nop

from csci_utils.deps import report_state
from csci_utils.deps.errors import DepsError
from csci_utils.deps.facts import as_data
from csci_utils.deps.options import Request
from csci_utils.deps.project import find_project, is_requirements
from csci_utils.io import atomic_path, read_record, sha256_of, write_record
from csci_utils.lock import locked
from csci_utils.luigi.run import ExplainedTask
from csci_utils.luigi.target import SuffixPreservingLocalTarget

REPORTS = Path("build", "deps-reports")
"""Where reports lie in a project unless a folder is named; git is told to ignore it."""

FORMAT = 1
"""Changed when the same facts come to make another report."""

logger = logging.getLogger(__name__)


class _ProjectFile(luigi.ExternalTask):
    """A file of the project, which somebody writes."""

    project = luigi.Parameter(default="", description="the project's folder, else as pipenv finds it")

    def output(self) -> luigi.LocalTarget:
        """Return the file."""
        return luigi.LocalTarget(str(self._file(_pipfile(self.project))))

    def _file(self, pipfile: Path) -> Path:
        return pipfile


class Pipfile(_ProjectFile):
    """What the project declares."""


class PipfileLock(_ProjectFile):
    """What `pipenv lock` made of it."""

    def _file(self, pipfile: Path) -> Path:
        return pipfile.with_name(f"{pipfile.name}.lock")


class Requirements(_ProjectFile):
    """What a project declares that has no Pipfile, or that is named by this file."""

    def _file(self, pipfile: Path) -> Path:
        return pipfile if is_requirements(pipfile) else pipfile.with_name("requirements.txt")


class DepsReport(ExplainedTask):
    """One report, in one file with a record beside it (`.<name>.json`) that says what it was made from.

    It is complete while the file is the one that was made, and what it was made from is still so. To tell that, the
    environments are read again, which takes a few tenths of a second. A subclass says its `file_name`, its `made_from`
    (`report_state.PARTS`), and writes the file.
    """

    project = luigi.Parameter(default="", description="the project's folder, else as pipenv finds it")
    pythons = luigi.ListParameter(default=(), description="further interpreters, environments and folders, in JSON")
    folder = luigi.Parameter(default="", description=f"where reports go; {REPORTS} in the project if empty")
    timeout_s = luigi.FloatParameter(default=20.0, significant=False, description="for each interpreter")

    made_from: Sequence[str] = ("declared", "locked", "environments")

    @property
    def needs_lock(self) -> bool:
        """Whether a missing lock is a missing input."""
        return "locked" in self.made_from

    @property
    def file_name(self) -> str:
        """The report's name in its folder."""
        raise NotImplementedError(f"{type(self).__name__} does not say its file_name")

    def write(self, file: Path) -> int:
        """Write the report; give the exit status that the subcommand would have."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is written")

    def requires(self) -> dict[str, luigi.Task]:
        """Return the files of the project: without them there is nothing to report."""
        pipfile, requirements = _pipfile(self.project), Requirements(project=self.project)
        if is_requirements(pipfile) or (not pipfile.exists() and requirements.complete()):
            return {"requirements": requirements}
        files = {"pipfile": Pipfile(project=self.project)}
        return files | ({"lock": PipfileLock(project=self.project)} if self.needs_lock else {})

    def output(self) -> SuffixPreservingLocalTarget:
        """Return the report."""
        return SuffixPreservingLocalTarget(str(self._reports / self.file_name), format=Nop)

    def complete(self) -> bool:
        """Tell whether the report says what is so now."""
        record = read_record(self.output().path)
        if record is None or not self.output().exists() or record.get("sha256") != sha256_of(self.output().path):
            return False
        try:
            reason = report_state.why_other(record.get("made_from") or {}, self._state())
        except (DepsError, OSError):  # run says what it is
            return False
        if reason:
            logger.info("%s: %s; it is made anew", self.output().path, reason)
        return reason is None

    def run(self) -> None:
        """Make the report, and then its record; of several processes that want the same one makes it."""
        path = Path(self.output().path)
        with locked(path) as waited:
            if waited and self.complete():
                return
            state = self._state()  # before: what changes meanwhile makes the report old, never wrong
            if not self.folder:
                _hide(self._reports)
            with self.output().temporary_path() as scratch:
                status = self.write(Path(scratch))
                sha256 = sha256_of(scratch)
            write_record(path, {"made_from": state, "sha256": sha256, "exit_status": status})

    @property
    def request(self) -> Request:
        """What the subcommand is asked with."""
        return Request(project=self.project or None, pythons=list(self.pythons), timeout_s=self.timeout_s)

    @property
    def _reports(self) -> Path:
        return Path(self.folder) if self.folder else _pipfile(self.project).parent / REPORTS

    def _state(self) -> dict[str, str]:
        parameters = self.to_str_params(only_significant=True)
        state = report_state.state_of(self.request, self.made_from, without=self._reports)
        return state | {"parameters": json.dumps(parameters, sort_keys=True), "format": str(FORMAT)}


class _JsonReport(DepsReport):
    """What a subcommand answers with `--json`."""

    subcommand: str

    @property
    def file_name(self) -> str:
        """The subcommand's name."""
        return f"{self.subcommand}.json"

    def arguments(self) -> list[str]:
        """Give the subcommand's own options."""
        return []

    def write(self, file: Path) -> int:
        """Ask the subcommand."""
        data, status = answer_of(self.subcommand, self.request, self.arguments())
        file.write_text(json.dumps(as_data(data), indent=2) + "\n", encoding="utf-8")
        return status


class WhereReport(_JsonReport):
    """What is installed where, side by side."""

    subcommand = "where"
    made_from = ("declared", "environments")


class TreeReport(_JsonReport):
    """What requires what."""

    subcommand = "tree"
    lock = luigi.BoolParameter(default=False, description="of the lock instead of what is installed")

    @property
    def file_name(self) -> str:
        """The one of the lock has a name of its own."""
        return "tree-of-lock.json" if self.lock else "tree.json"

    @property
    def needs_lock(self) -> bool:
        """Only its own tree is made from it."""
        return bool(self.lock)

    def arguments(self) -> list[str]:
        """Give the subcommand's own options."""
        return ["--lock"] if self.lock else []


class CheckReport(_JsonReport):
    """What CI will miss; findings are no failure of this task, which says them."""

    subcommand = "check"
    made_from = ("declared", "locked", "modules", "sources")

    @property
    def needs_lock(self) -> bool:
        """One that is missing is a finding."""
        return False


class TableReport(DepsReport):
    """Which of conda, pip and pipenv have a name, as CSV."""

    file_name = "table.csv"

    def write(self, file: Path) -> int:
        """Write the CSV."""
        from csci_utils.deps.table import csv_of, read_columns

        _, found = read_columns(self.request)
        file.write_text(csv_of(found), encoding="utf-8", newline="")
        return 0


class VennPicture(DepsReport):
    """How the names of two or three sources overlap."""

    suffix = luigi.ChoiceParameter(choices=["svg", "png"], default="svg", description="what kind of picture")
    sets = luigi.ListParameter(default=(), description="two or three columns of the table, in JSON")

    @property
    def file_name(self) -> str:
        """The two kinds may lie beside each other."""
        return f"venn.{self.suffix}"

    def write(self, file: Path) -> int:
        """Draw it."""
        from csci_utils.deps.table import read_columns
        from csci_utils.deps.venn import choose, picture_of, title_of

        project, found = read_columns(self.request)
        sets = choose(found, list(self.sets))
        file.write_bytes(picture_of(sets, title=title_of(project.folder), as_svg=self.suffix == "svg"))
        return 0


class TravisReport(DepsReport):
    """The `.travis.yml` as `travis --write` would write it; the project's own is left alone."""

    made_from = ("declared", "locked", "travis")
    file_name = "travis.yml"

    def write(self, file: Path) -> int:
        """Ask the subcommand."""
        data, status = answer_of("travis", self.request, [])
        file.write_text(data["text"], encoding="utf-8", newline="")
        return status


class AllReports(luigi.WrapperTask):
    """All of them, for one project."""

    project = DepsReport.project
    pythons = DepsReport.pythons
    folder = DepsReport.folder
    timeout_s = DepsReport.timeout_s

    def requires(self) -> list[luigi.Task]:
        """Return each report once."""
        kinds = (WhereReport, TreeReport, CheckReport, TableReport, VennPicture, TravisReport)
        return [self.clone(kind) for kind in kinds]


@dataclass
class _Keeping(Request):
    """A request whose answer is kept instead of printed."""

    kept: Any = None

    def answer(self, data: Any, lines: Sequence[str]) -> None:
        """Keep the answer."""
        self.kept = data


def answer_of(subcommand: str, request: Request, arguments: Sequence[str]) -> tuple[Any, int]:
    """Run a subcommand in this process; its answer as data, and its exit status.

    Raises:
        DepsError: what the subcommand cannot do.
    """
    keeping = _Keeping(project=request.project, pythons=list(request.pythons), timeout_s=request.timeout_s)
    command = importlib.import_module(f"csci_utils.deps.{subcommand}").command
    status = command.main(args=list(arguments), obj=keeping, standalone_mode=False)
    return keeping.kept, int(status or 0)


def _pipfile(project: str) -> Path:
    """Give where a project's Pipfile is or would be, or the requirements file that the project is named by."""
    found = find_project(Path(project) if project else None)
    return found if found.is_file() else found / "Pipfile"


def _hide(folder: Path) -> None:
    """Keep git, and with it `check`, away from reports: they name everything that is installed."""
    if not (folder / ".gitignore").exists():
        with atomic_path(folder / ".gitignore") as scratch:
            scratch.write_text("*\n", encoding="utf-8")
