"""Reports as Luigi tasks: complete while they say what is so, whole or not there, with honest statuses."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from csci_utils import io as csci_io
from csci_utils.deps import tasks
from csci_utils.deps.cli import exit_status
from csci_utils.deps.pipfile import digests, read_pipfile
from csci_utils.io import read_record
from csci_utils.luigi.run import ExitStatus, build
from tests.conftest import REPO
from tests.csci_utils.deps.conftest import PIPFILE, site_of
from tests.csci_utils.deps.making import PROJECTS, make_dist

ALL = [
    tasks.WhereReport,
    tasks.TreeReport,
    tasks.CheckReport,
    tasks.TableReport,
    tasks.VennPicture,
    tasks.TravisReport,
]

QUICK = (tasks.TableReport, tasks.TravisReport)
EACH = [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in ALL]


def lock(project, six="1.16"):
    entries = {"pyyaml": {"version": "==6.0"}, "flask": {"version": "==3.0"}, "six": {"version": f"=={six}"}}
    meta = {"hash": {"sha256": digests(read_pipfile(project / "Pipfile"))[0]}, "pipfile-spec": 6, "requires": {}}
    ours = {"ours": {"path": ".", "editable": True}}
    data = {"_meta": meta, "default": entries | ours, "develop": {"pytest": {"version": "==8.0"}}}
    (project / "Pipfile.lock").write_text(json.dumps(data))


@pytest.fixture
def project(world):
    """A project with an environment, a lock and a source."""
    folder = world / "project"
    make_dist(site_of(folder / ".venv"), "PyYAML", "6.0", files=["yaml/__init__.py"])
    (folder / "app.py").write_text("import yaml\n")
    lock(folder)
    return folder


def ran(*wanted, status=ExitStatus.OK):
    result = build(wanted)
    assert result.exit_status == status, result.failures
    return result


def path_of(task):
    return Path(task.output().path)


@pytest.mark.parametrize("kind", EACH)
def test_a_report_is_made_once_and_then_holds(project, kind):
    task = kind()
    assert not task.complete()
    assert ran(task).done == [task.task_id]
    assert path_of(task).parent == project / "build" / "deps-reports"
    before = path_of(task).stat().st_mtime_ns
    assert ran(task).already_done == [task.task_id]
    assert path_of(task).stat().st_mtime_ns == before
    assert sorted(each.name for each in path_of(task).parent.iterdir()) == sorted(
        [".gitignore", f".{path_of(task).name}.json", path_of(task).name]
    )


@pytest.mark.parametrize("kind", EACH)
def test_a_report_is_what_the_subcommand_answers(project, kind, capsys):
    task = kind()
    ran(task)
    capsys.readouterr()
    call = {
        tasks.TableReport: ["table", "--csv"],
        tasks.VennPicture: ["venn", "--out", str(project / "venn.svg")],
        tasks.TravisReport: ["travis"],
    }.get(kind, [path_of(task).stem, "--json"])
    status = exit_status(call)
    answer = capsys.readouterr().out
    if kind is tasks.VennPicture:
        answer = (project / "venn.svg").read_text()
    assert path_of(task).read_text() == answer
    assert read_record(path_of(task))["exit_status"] == status


def change_environment(project):
    make_dist(site_of(project / ".venv"), "more")


def change_version(project):
    (site_of(project / ".venv") / "PyYAML-6.0.dist-info" / "METADATA").write_text("Name: PyYAML\nVersion: 6.1\n")


def change_modules(project):
    (site_of(project / ".venv") / "PyYAML-6.0.dist-info" / "RECORD").write_text("other.py,,\n")


def change_pipfile(project):
    (project / "Pipfile").write_text(PIPFILE + 'six = "*"\n')


def change_lock(project):
    lock(project, six="1.17")


def change_source(project):
    (project / "app.py").write_text("import flask\n")


def change_travis(project):
    (project / ".travis.yml").write_text("language: python\n")


EVERY = {"where", "tree", "check", "table", "venn", "travis"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (change_environment, EVERY - {"travis"}),
        (change_version, EVERY - {"travis"}),
        (change_modules, {"check"}),
        (change_pipfile, EVERY),
        (change_lock, EVERY - {"where"}),
        (change_source, {"check"}),
        (change_travis, {"check", "travis"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_report_holds_only_while_what_it_was_made_from_does(project, change, stale):
    made = [kind() for kind in ALL]
    ran(*made)
    change(project)
    old = [task for task in made if not task.complete()]
    assert {path_of(task).stem for task in old} == stale
    ran(*old)
    assert all(task.complete() for task in old)


@pytest.mark.slow
def test_other_places_by_name_make_another_report(project, world):
    ran(tasks.WhereReport())
    make_dist(world / "folder", "lone")
    named = tasks.WhereReport(pythons=[str(world / "folder")])
    assert not named.complete()
    ran(named)
    labels = [each["label"] for each in json.loads(path_of(named).read_text())["environments"]]
    assert labels == ["main", "pipenv", str(world / "folder")]
    assert not tasks.WhereReport().complete()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["changed", "removed", "no-record", "broken-record", "older-format"])
def test_a_report_that_is_not_as_it_was_made_is_made_anew(project, damage, monkeypatch):
    task = tasks.TableReport()
    ran(task)
    whole = path_of(task).read_bytes()
    record = path_of(task).with_name(".table.csv.json")
    if damage == "changed":
        path_of(task).write_text("name\n")
    elif damage == "removed":
        path_of(task).unlink()
    elif damage == "no-record":
        record.unlink()
    elif damage == "broken-record":
        record.write_text("{")
    else:
        monkeypatch.setattr(tasks, "FORMAT", 2)
    assert not task.complete()
    ran(task)
    assert path_of(task).read_bytes() == whole


@pytest.mark.slow
def test_a_missing_lock_is_a_missing_input_for_what_is_made_from_it(project):
    (project / "Pipfile.lock").unlink()
    result = ran(tasks.TableReport(), status=ExitStatus.INPUT_MISSING)
    assert result.missing == [tasks.PipfileLock().task_id]
    ran(tasks.WhereReport(), tasks.TreeReport())
    ran(tasks.TreeReport(lock=True), status=ExitStatus.INPUT_MISSING)
    ran(tasks.CheckReport())
    found = json.loads(path_of(tasks.CheckReport()).read_text())["findings"]
    assert "stale-lock" in {each["kind"] for each in found}


def test_a_folder_with_nothing_has_no_input(tmp_path):
    result = ran(tasks.WhereReport(project=str(tmp_path)), status=ExitStatus.INPUT_MISSING)
    assert result.missing == [tasks.Pipfile(project=str(tmp_path)).task_id]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_with_only_requirements_has_reports(world):
    wanted = [kind(project=str(PROJECTS / "requirements-only"), folder=str(world / "reports")) for kind in ALL]
    ran(*wanted)
    rows = list(csv.DictReader((world / "reports" / "table.csv").read_text().splitlines()))
    assert any(row["pipenv default"] for row in rows)
    assert all(task.complete() for task in wanted)


@pytest.mark.parametrize("name", ["requirements.txt", "base.in"])
def test_a_requirements_file_may_be_named_as_the_project(project, name):
    (project / name).write_text("six\n")
    task = tasks.TableReport(project=name)
    (wanted,) = task.requires().values()
    assert path_of(wanted) == project / name
    ran(task)
    assert path_of(task) == project / "build" / "deps-reports" / "table.csv"
    assert "six,,1.16,*," in path_of(task).read_text().splitlines()
    assert task.complete()


def test_a_pipfile_comes_before_requirements(project):
    (project / "requirements.txt").write_text("six\n")
    assert list(tasks.TableReport().requires()) == ["pipfile", "lock"]


def test_findings_are_said_and_are_no_failure(project):
    (project / "app.py").write_text("import requests\n")
    task = tasks.CheckReport()
    ran(task)
    assert read_record(path_of(task))["exit_status"] == 1
    assert "undeclared" in {each["kind"] for each in json.loads(path_of(task).read_text())["findings"]}


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (tasks.WhereReport, {"pythons": ["/gone/python"]}, "/gone/python: wanted an interpreter or a folder"),
        (tasks.VennPicture, {"sets": ["pip", "nothing"]}, "found 'nothing'; name one of those with --set"),
    ],
    ids=["python", "set"],
)
def test_what_cannot_be_reported_fails_with_its_sentence(project, kind, parameters, sentence):
    task = kind(**parameters)
    result = ran(task, status=ExitStatus.USAGE)
    assert sentence in result.failures[task.task_id].sentence
    assert not path_of(task).exists()
    assert not task.complete()


@pytest.mark.parametrize("kind", [tasks.WhereReport, tasks.TableReport, tasks.TravisReport])
def test_a_broken_pipfile_fails_with_its_sentence_and_keeps_the_old_report(project, kind):
    task = kind()
    ran(task)
    old = path_of(task).read_bytes()
    (project / "Pipfile").write_text("[packages\n")
    assert not task.complete()
    result = ran(task, status=ExitStatus.USAGE)
    assert "Pipfile: wanted TOML" in result.failures[task.task_id].sentence
    assert path_of(task).read_bytes() == old


@pytest.mark.parametrize(
    "kind",
    [
        tasks.TableReport,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (tasks.VennPicture, tasks.TravisReport)),
    ],
)
def test_a_full_disk_leaves_the_old_report(project, kind, monkeypatch):
    task = kind()
    ran(task)
    old = path_of(task).read_bytes()
    change_pipfile(project)
    lock(project, six="1.17")

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(csci_io, "sync", full)
        result = build([task])
    assert result.exit_status == ExitStatus.TASK_FAILED
    assert "reports: no space is left on the disk" in result.failures[task.task_id].sentence
    assert path_of(task).read_bytes() == old
    assert not [each.name for each in path_of(task).parent.iterdir() if "scratch" in each.name]
    ran(task)


def test_a_report_that_grew_old_while_it_was_made_is_not_complete(project, monkeypatch):
    task = tasks.WhereReport()
    write = tasks.WhereReport.write

    def slowly(self, file):
        status = write(self, file)
        change_environment(project)
        return status

    monkeypatch.setattr(tasks.WhereReport, "write", slowly)
    ran(task, status=ExitStatus.TASK_FAILED)
    assert not task.complete()


@pytest.mark.slow
def test_reports_are_hidden_from_git_and_so_from_check(project):
    subprocess.run(["git", "init", "-q", str(project)], check=True, env={**os.environ, "PATH": os.defpath})
    ran(*(kind() for kind in ALL))
    assert (project / "build" / "deps-reports" / ".gitignore").read_text() == "*\n"
    assert all(kind().complete() for kind in ALL)


@pytest.mark.slow
def test_a_folder_of_reports_among_the_sources_is_no_source(project):
    wanted = [kind(folder=str(project / "docs")) for kind in ALL]
    ran(*wanted)
    assert not (project / "docs" / ".gitignore").exists()
    assert all(task.complete() for task in wanted)


def test_a_report_of_what_is_installed_uses_none_of_it(project, capsys):
    make_dist(site_of(project / ".venv"), "flask", files=["flask/__init__.py"])
    ran(tasks.WhereReport(folder=str(project / "reports")))
    assert "flask" in (project / "reports" / "where.json").read_text()
    exit_status(["check"])
    assert "unused: flask: " in capsys.readouterr().out


def test_what_stands_in_the_travis_file_counts(project):
    (project / ".travis.yml").write_text("language: python\n")
    ran(tasks.TravisReport())
    assert tasks.TravisReport().complete()
    (project / ".travis.yml").write_text("language: python  # ours\n")
    assert not tasks.TravisReport().complete()


@pytest.mark.parametrize(
    ("file", "added"),
    [
        ("Makefile", "test:\n"),
        ("Pipfile", '[scripts]\ntest = "pytest"\n'),
        ("program/__main__.py", ""),
        ("Pipfile", '[requires]\npython_version = "3.7"\n'),
    ],
    ids=["makefile", "scripts", "program", "requires"],
)
def test_what_a_travis_file_is_planned_from_counts(project, file, added):
    change_pipfile(project)  # its lock is out of step with it, before and after
    ran(tasks.TravisReport())
    (project / file).parent.mkdir(exist_ok=True)
    with open(project / file, "a") as more:
        more.write(added)
    assert not tasks.TravisReport().complete()
    ran(tasks.TravisReport())
    assert tasks.TravisReport().complete()


@pytest.mark.slow
def test_a_picture_may_be_png_and_of_other_sets(project):
    task = tasks.VennPicture(suffix="png", sets=["pip", "default"])
    ran(task)
    assert path_of(task).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_luigi_command_makes_all_of_them(project):
    command = [str(Path(sys.executable).parent / "luigi"), "--module", "csci_utils.deps.tasks", "AllReports"]
    environment = {**os.environ, "LUIGI_CONFIG_PATH": str(REPO / "luigi.cfg")}
    call = [*command, "--local-scheduler", "--project", str(project), "--pythons", json.dumps([str(project / ".venv")])]
    for said in ("7 ran successfully", "1 complete ones were encountered"):
        done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr + done.stdout
    assert {each.name for each in (project / "build" / "deps-reports").glob("[!.]*")} == {
        "where.json",
        "tree.json",
        "check.json",
        "table.csv",
        "venn.svg",
        "travis.yml",
    }
