"""The table of names by source: what each column is, on a terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest

from csci_utils.deps.cli import exit_status
from csci_utils.deps.lockfile import read_lock
from csci_utils.deps.table import Column, csv_of
from tests.csci_utils.deps.conftest import site_of
from tests.csci_utils.deps.making import PROJECTS, PUBLIC, make_conda, make_dist

HEADING = ["name", "conda", "pip", "pipenv default", "pipenv develop"]


def make_lock(folder, **sections):
    lock = {"_meta": {"hash": {"sha256": "0"}, "pipfile-spec": 6, "requires": {}, "sources": []}, **sections}
    (folder / "Pipfile.lock").write_text(json.dumps(lock))


def records(capsys, *arguments):
    """The CSV as a program reads it, and what was said beside it."""
    assert exit_status(["table", "--csv", *arguments]) == 0
    out, err = capsys.readouterr()
    return list(csv.reader(io.StringIO(out, newline=""), strict=True)), err


def test_each_column_is_a_source_of_its_own(world, capsys):
    make_lock(
        world / "project",
        default={
            "PyYAML": {"version": "==6.0.1"},
            "six": {"version": "==1.17"},
            "ours": {"path": ".", "editable": True},
        },
        develop={"six": {"version": "==1.17"}, "x": {"git": "https://host/x.git", "ref": "abc"}},
    )
    make_conda(world / "tools", "six-1.15-0", "openssl-3.0-h1_0")
    (world / ".conda").mkdir()
    (world / ".conda" / "environments.txt").write_text(f"{world}/tools\n")
    rows, err = records(capsys)
    assert rows == [
        HEADING,
        ["openssl", "3.0", "", "", ""],
        ["ours", "", "", "path .", ""],
        ["pyyaml", "", "", "6.0.1", ""],
        ["six", "1.15", "1.16", "1.17", "1.17"],
        ["x", "", "", "", "git+https://host/x.git@abc"],
    ]
    assert err == ""


def test_the_environment_of_the_project_is_no_column(world, capsys):
    make_dist(site_of(world / "project" / ".venv"), "only-installed-there")
    make_lock(world / "project", default={}, develop={})
    assert [row[0] for row in records(capsys)[0]] == ["name", "six"]
    shutil.rmtree(world / "project" / ".venv")
    assert records(capsys)[1] == ""  # nobody is told that there is none


def test_of_several_conda_environments_each_cell_names_its_own(world, capsys, monkeypatch):
    make_conda(world / "one", "six-1.15-0", "zlib-1-0")
    monkeypatch.setenv("CONDA_PREFIX", str(world / "one"))
    monkeypatch.setenv("CONDA_ENVS_PATH", str(world / "envs"))
    make_conda(world / "envs" / "two", "six-1.14-0")
    cells = {row[0]: row[1] for row in records(capsys)[0]}
    assert cells["six"] == "one 1.15; two 1.14"
    assert cells["zlib"] == "one 1"


def test_a_main_interpreter_of_conda_counts_on_both_sides(world, capsys):
    make_conda(world / "main", "six-1.16-0", "openssl-3.0-h1_0")
    cells = {row[0]: row[1:3] for row in records(capsys)[0]}
    assert cells["six"] == ["1.16", "1.16"]
    assert cells["openssl"] == ["3.0", ""]  # no distribution of Python's: pip would not list it


@pytest.mark.parametrize("lock", [None, "{", '{"_meta": {"pipfile-spec": 5}}'], ids=["none", "broken", "old"])
def test_without_a_lock_the_pipfile_is_shown_and_that_is_said(world, capsys, lock):
    if lock is not None:
        (world / "project" / "Pipfile.lock").write_text(lock)
    rows, err = records(capsys)
    cells = {row[0]: row[3:] for row in rows}
    assert (cells["pyyaml"], cells["flask"], cells["pytest"]) == ([">=6", ""], ["*", ""], ["", "*"])
    assert cells["ours"] == ["path .", ""]
    assert "Pipfile.lock: wanted" in err
    assert "until then the Pipfile's own entries are shown" in err


def test_a_further_category_and_a_named_place_are_columns_behind(world, capsys):
    make_lock(world / "project", default={}, develop={}, docs={"sphinx": {"version": "==7"}})
    make_dist(world / "folder", "lone", "2")
    rows, _ = records(capsys, "--python", str(world / "folder"))
    assert rows[0] == [*HEADING, "pipenv docs", str(world / "folder")]
    assert ["lone", "", "", "", "", "", "2"] in rows
    assert ["sphinx", "", "", "", "", "7", ""] in rows


def test_a_place_that_bears_the_name_of_a_column_has_its_path_for_a_heading(world, capsys):
    make_dist(world / "project" / "pip", "lone")
    assert records(capsys, "--python", "pip")[0][0] == [*HEADING, str(world / "project" / "pip")]


def test_what_needs_quotes_has_them_as_rfc_4180_says():
    cells = {"a": ">=1,<2", "b": 'say "x"', "c": "two\nlines", "d": "plain"}
    assert csv_of([Column(name="k, v", source=None, cells=cells)]) == (
        'name,"k, v"\na,">=1,<2"\nb,"say ""x"""\nc,"two\nlines"\nd,plain\n'
    )


def test_a_version_that_nothing_tells_is_told_from_a_missing_name(world, capsys):
    (site_of(world / "main") / "hollow.dist-info").mkdir()
    assert [row[2] for row in records(capsys)[0] if row[0] == "hollow"] == ["?"]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_projects_have_every_entry_of_their_lock(name, world, capsys):
    rows, _ = records(capsys, "--project", str(PROJECTS / name))
    lock = read_lock(PROJECTS / name / "Pipfile.lock")
    for number, section in ((3, "default"), (4, "develop")):
        assert {row[0] for row in rows[1:] if row[number]} == set(lock.section(section))
    assert [row[0] for row in rows[1:]] == sorted({row[0] for row in rows[1:]})


def test_a_folder_with_only_requirements_has_them_as_default(world, capsys):
    rows, err = records(capsys, "--project", str(PROJECTS / "requirements-only"))
    assert any(row[3] for row in rows[1:])
    assert not any(row[4] for row in rows[1:])
    assert "no Pipfile, so its requirements.txt is taken" in err
    assert exit_status(["table", "--json", "--project", str(PROJECTS / "requirements-only")]) == 0
    sources = [each["source"] for each in json.loads(capsys.readouterr().out)["columns"]]
    assert sources[2:] == [str(PROJECTS / "requirements-only" / "requirements.txt"), None]


def test_people_see_where_each_column_comes_from(world, capsys):
    make_lock(world / "project", default={"six": {"version": "==1.17"}}, develop={})
    assert exit_status(["table"]) == 0
    out, err = capsys.readouterr()
    lines = [re.split("  +", line) for line in out.splitlines()]
    assert lines[0] == ["conda", "0 names", "there is none"]
    assert lines[1][:2] == ["pip", "1 names"]
    assert lines[2] == ["pipenv default", "1 names", f"{world}/project/Pipfile.lock"]
    assert lines[-2:] == [HEADING, ["six", "-", "1.16", "1.17", "-"]]
    assert err == ""


def test_json_tells_missing_from_empty(world, capsys):
    make_lock(world / "project", default={"six": {"version": "==1.17"}}, develop={})
    assert exit_status(["table", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in answer["columns"]] == HEADING[1:]
    assert answer["columns"][0] == {"name": "conda", "source": None, "num_names": 0}
    assert answer["rows"] == [
        {"name": "six", "cells": dict(zip(HEADING[1:], [None, "1.16", "1.17", None], strict=True))}
    ]


def test_two_formats_at_once_are_a_usage_error(world, capsys):
    assert exit_status(["table", "--csv", "--json"]) == 2
    assert "wanted --csv or --json, found both; leave one out; see --help" in capsys.readouterr().err


def test_no_cell_shows_a_password(world, capsys):
    make_lock(world / "project", default={"x": {"git": "https://me:secret@host/x.git"}}, develop={})
    assert ["x", "", "", "git+https://***@host/x.git", ""] in records(capsys)[0]
