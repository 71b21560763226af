"""Environments side by side, and what differs."""

from __future__ import annotations

import json

import pytest

from csci_utils.deps.cli import exit_status
from csci_utils.deps.facts import Distribution, Environment, Origin
from csci_utils.deps.where import side_by_side
from tests.csci_utils.deps.making import BASE_PYTHON, PROJECTS, PUBLIC, make_conda, make_dist, make_program, make_venv


def dist(name, version="1.0", *, site="/s", **rest):
    return Distribution(
        name=name, spelled=name, version=version, path=f"{site}/{name}-{version}.dist-info", location=site, **rest
    )


def environment(label, *distributions):
    return Environment(label=label, kind="python", python=label, prefix=label, distributions=distributions)


def differences(*environments):
    return {row.name: [(each.kind, each.environment) for each in row.differences] for row in side_by_side(environments)}


def test_what_is_missing_on_one_side_is_said():
    found = differences(environment("a", dist("six")), environment("b", dist("flask"), dist("six")))
    assert found == {"flask": [("missing", "a")], "six": []}


@pytest.mark.parametrize(
    ("other", "differs"), [("1.0", False), ("1.0.0", False), ("1.1", True), (None, True), ("odd!", True)]
)
def test_versions_are_compared_as_versions(other, differs):
    found = differences(environment("a", dist("six")), environment("b", dist("six", other)))
    assert found == {"six": [("version", "b")] if differs else []}


def test_versions_that_nothing_can_compare_are_compared_as_text():
    assert differences(environment("a", dist("six", "odd!")), environment("b", dist("six", "odd!"))) == {"six": []}


def test_links_repositories_and_archives_are_said():
    linked = dist("linked", editable=True, origin=Origin(url="file:///src"))
    git = dist("git", origin=Origin(url="https://host/x.git", vcs="git", commit="abc"))
    both = dist("both", editable=True, origin=Origin(url="https://host/x.git", vcs="git", commit="abc"))
    archive = dist("archive", origin=Origin(url="https://host/x.zip"))
    assert differences(environment("a", linked, git, both, archive)) == {
        "archive": [("url", "a")],
        "both": [("editable", "a"), ("vcs", "a")],
        "git": [("vcs", "a")],
        "linked": [("editable", "a")],
    }


def test_what_lies_hidden_is_said_and_is_no_version():
    hidden = dist("six", "2.0", site="/system", hidden_by="/s/six-1.0.dist-info")
    (row,) = side_by_side([environment("a", dist("six"), hidden)])
    assert row.found["a"].version == "1.0"
    assert [each.sentence for each in row.differences] == [
        "a finds /s/six-1.0.dist-info before /system/six-2.0.dist-info (2.0, the environment's own)"
    ]


@pytest.fixture
def two(tmp_path, monkeypatch, nothing_started):
    """A project with an environment, beside another one."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Pipfile").write_text("[packages]\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(BASE_PYTHON.parent))
    for name in ("VIRTUAL_ENV", "WORKON_HOME", "PIPENV_PIPFILE", "PIPENV_VENV_IN_PROJECT", "CONDA_PREFIX", "CONDA_EXE"):
        monkeypatch.delenv(name, raising=False)
    for folder, version in (("project/.venv", "1.0"), ("other", "2.0")):
        site = make_venv(tmp_path / folder)
        make_dist(site, "Six_Pack", version)
        make_dist(site, "same")
    return tmp_path


def test_the_table_says_version_folder_and_what_differs(two, capsys):
    assert exit_status(["--project", str(two / "project"), "where", "--python", str(two / "other")]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    (site,) = (line.partition(" ")[0] for line in lines if ".venv/lib" in line and line.startswith("["))
    (row,) = (line for line in lines if line.startswith("six-pack"))
    assert f"1.0 {site}" in row
    assert "2.0 [" in row
    assert f"version: {two / 'other'}" in out
    assert err == ""


def test_json_holds_every_path(two, capsys):
    assert exit_status(["where", "--json", "--project", str(two / "project"), "--python", str(two / "other")]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [each["kind"] for each in found["environments"]] == ["main", "pipenv", "python"]
    (six,) = (each for each in found["environments"][1]["distributions"] if each["name"] == "six-pack")
    assert six["path"].startswith(str(two / "project" / ".venv" / "lib"))
    (row,) = (each for each in found["rows"] if each["name"] == "six-pack")
    assert list(row["versions"].values())[1:] == ["1.0", "2.0"]
    assert {"kind": "version", "environment": str(two / "other")}.items() <= row["differences"][-1].items()


def test_paths_are_a_line_each(two, capsys):
    assert exit_status(["--project", str(two / "project"), "where", "--paths"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (six,) = (line for line in lines if line[:2] == ["pipenv", "Six_Pack"])
    assert six[2] == "1.0"
    assert six[3].endswith("Six_Pack-1.0.dist-info")


@pytest.mark.slow
def test_only_what_differs_may_be_asked_for(two, capsys, monkeypatch):
    make_program(two / "bin" / "python3", f'exec {two}/other/bin/python "$@"')
    monkeypatch.setenv("PATH", str(two / "bin"))
    names = []
    for more in ([], ["--differing"]):
        assert exit_status(["--project", str(two / "project"), "where", "--json", *more]) == 0
        answer = json.loads(capsys.readouterr().out)
        names.append([each["name"] for each in answer["rows"]])
        assert {each["name"] for each in answer["environments"][0]["distributions"]} == set(names[-1])
    assert names == [["same", "six-pack"], ["six-pack"]]


def test_options_may_stand_before_and_after(two, capsys):
    make_dist(two / "folder", "lone")
    command = ["--python", str(two / "other"), "where", "--python", str(two / "folder"), "--json"]
    assert exit_status([*command, "--project", str(two / "project")]) == 0
    labels = [each["label"] for each in json.loads(capsys.readouterr().out)["environments"]]
    assert labels == ["main", "pipenv", str(two / "other"), str(two / "folder")]


def test_conda_stands_beside_the_others(two, capsys, monkeypatch):
    monkeypatch.setenv("CONDA_PREFIX", str(make_conda(two / "tools", "openssl-3.0.1-h7f8727e_0")))
    assert exit_status(["--project", str(two / "project"), "where", "--json"]) == 0
    (row,) = (each for each in json.loads(capsys.readouterr().out)["rows"] if each["name"] == "openssl")
    assert row["versions"] == {"main": None, "pipenv": None, "conda:tools": "3.0.1"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_projects_without_an_environment_say_so(name, two, capsys):
    assert exit_status(["--project", str(PROJECTS / name), "where", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [each["label"] for each in json.loads(out)["environments"]] == ["main"]
    assert f"no pipenv environment at {two}/.local/share/virtualenvs/{name}-" in err


def test_a_folder_with_only_requirements_says_so(two, capsys):
    assert exit_status(["--project", str(PROJECTS / "requirements-only"), "where", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] is not None
    assert "no Pipfile, so its requirements.txt is taken" in err


def test_no_project_at_all_is_no_error_unless_it_was_named(two, capsys, monkeypatch):
    (two / "empty").mkdir()
    monkeypatch.chdir(two / "empty")
    assert exit_status(["where", "--python", str(two / "other"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert [each["kind"] for each in json.loads(out)["environments"]] == ["main", "python"]
    assert "wanted a Pipfile or a requirements.txt, found neither" in err
    assert exit_status(["where", "--project", str(two / "empty")]) == 2
    assert capsys.readouterr().out == ""


def test_a_broken_pipfile_is_said_and_the_rest_is_listed(two, capsys):
    (two / "project" / "Pipfile").write_text("[packages\n")
    assert exit_status(["where", "--project", str(two / "project"), "--python", str(two / "other"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert [each["kind"] for each in json.loads(out)["environments"]] == ["main", "python"]
    assert "wanted TOML" in err


def test_broken_metadata_is_listed_and_said(two, capsys):
    site = make_venv(two / "broken")
    (site / "hollow-3.0.dist-info").mkdir()
    make_dist(site, "twice", "1.0")
    make_dist(site, "Twice", "2.0")
    assert exit_status(["where", "--project", str(two / "project"), "--python", str(two / "broken")]) == 0
    out = capsys.readouterr().out
    assert "hollow-3.0.dist-info: its METADATA or PKG-INFO is missing or cannot be read" in out
    assert out.count("more than one metadata folder has its name") == 2
    assert f"problem: {two / 'broken'}" in out
