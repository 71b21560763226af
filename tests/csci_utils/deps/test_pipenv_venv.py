"""The environment of a project is looked for where pipenv itself says that it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from csci_utils.deps.conda_and_pipenv import venv_name, venv_of, workon_home
from csci_utils.deps.pipfile import read_pipfile
from csci_utils.deps.places import own_place
from csci_utils.deps.project import read_project
from tests.conftest import REPO
from tests.csci_utils.deps.making import make_venv

PIPENV = REPO / ".pipenv" / "bin" / "pipenv"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "My (odd) project with a name that is far too long for anybody"
    folder.mkdir()
    (folder / "Pipfile").write_text("[packages]\n")
    return folder


CASES = {
    "plain": {},
    "workon-home": {"WORKON_HOME": "~/envs"},
    "data-home": {"XDG_DATA_HOME": "~/share"},
    "custom-name": {"PIPENV_CUSTOM_VENV_NAME": "mine"},
    "python": {"PIPENV_PYTHON": "3.11"},
    "python-path": {"PIPENV_PYTHON": "/usr/bin/python3"},
    "beside": {"PIPENV_VENV_IN_PROJECT": "1"},
    "beside-no": {"PIPENV_VENV_IN_PROJECT": "0", "folder": ".venv"},
    "beside-negated": {"PIPENV_NO_VENV_IN_PROJECT": "yes", "folder": ".venv"},
    "beside-there": {"folder": ".venv"},
    "beside-odd": {"PIPENV_VENV_IN_PROJECT": "", "folder": ".venv"},
    "file-name": {"file": "shared-env\n"},
    "file-path": {"file": "../elsewhere/env"},
    "file-empty": {"file": " \n"},
    "table": {"pipfile": "[pipenv]\nvenv_in_project = true\n"},
    "table-no": {"pipfile": "[pipenv]\nvenv_in_project = false\n", "folder": ".venv"},
    "active": {"VIRTUAL_ENV": "$TMP/active"},
    "active-ignored": {"VIRTUAL_ENV": "$TMP/active", "PIPENV_IGNORE_VIRTUALENVS": "1"},
    "active-pipenv": {"VIRTUAL_ENV": "$TMP/active", "PIPENV_ACTIVE": "1"},
}


def prepared(case: dict[str, str], folder: Path) -> dict[str, str]:
    """Lay the case out, and give its environment variables."""
    if "folder" in case:
        (folder / case["folder"]).mkdir()
    if "file" in case:
        (folder / ".venv").write_text(case["file"])
    if "pipfile" in case:
        (folder / "Pipfile").write_text(case["pipfile"])
    variables = {name: value for name, value in case.items() if name.isupper()}
    variables = {name: value.replace("$TMP", str(folder.parent)) for name, value in variables.items()}
    return {"HOME": str(folder.parent / "home"), **variables}


@pytest.mark.slow
@pytest.mark.skipif(not PIPENV.exists(), reason="pipenv itself is not set up: make setup")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pipenv_itself_looks_there(case, folder, monkeypatch):
    environ = prepared(case, folder)
    monkeypatch.setenv("HOME", environ["HOME"])
    expected = venv_of(read_pipfile(folder / "Pipfile"), environ=environ)
    if (expected / "bin").exists() is False:
        if expected.is_dir():
            expected.rmdir()
        make_venv(expected)
    told = subprocess.run(
        [PIPENV, "--venv"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert os.path.normpath(told.stdout.strip()) == str(expected), told.stderr


def test_an_environment_that_pipenv_has_made_goes_before_one_beside(folder, monkeypatch):
    environ = prepared({"folder": ".venv"}, folder)
    pipfile = read_pipfile(folder / "Pipfile")
    monkeypatch.setenv("HOME", environ["HOME"])
    assert venv_of(pipfile, environ=environ) == folder / ".venv"
    own = workon_home(environ) / venv_name(pipfile.path, environ=environ)
    own.mkdir(parents=True)
    assert venv_of(pipfile, environ=environ) == own


@pytest.mark.parametrize("file", ["a\0b", "../a\0b"])
def test_a_file_beside_that_holds_no_name_is_passed_over(folder, file):
    environ = prepared({"file": file}, folder)
    (folder.parent / "home").mkdir()
    project = read_project(folder)
    place, remarks = own_place(project, environ=environ)
    named = workon_home(environ) / venv_name(folder / "Pipfile", environ=environ)
    assert place is None
    assert remarks == [f"no pipenv environment at {named}; make it: pipenv install --dev"]


def test_the_name_is_safe_and_short(folder):
    name = venv_name(folder / "Pipfile", environ={})
    assert name.startswith("My__odd__project_with_a_name_that_is_far_t-")
    assert len(name) == 42 + 9
    assert name != venv_name(folder.parent / "Pipfile", environ={})


def test_this_projects_environment_lies_beside_its_pipfile():
    pipfile = read_pipfile(REPO / "Pipfile")
    assert venv_of(pipfile, environ={"PIPENV_VENV_IN_PROJECT": "1"}) == REPO / ".venv"
