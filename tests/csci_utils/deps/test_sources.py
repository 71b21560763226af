"""Which files belong to a project, to which part of it, and which modules they are."""

from __future__ import annotations

import os
import subprocess

import pytest

from csci_utils.deps.check_settings import CheckSettings
from csci_utils.deps.sources import read_tree
from tests.csci_utils.deps.checking import write

NOTHING = CheckSettings()


def tree_of(folder, files, settings=NOTHING):
    return read_tree(write(folder, dict.fromkeys(files, "")), settings)


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


def test_in_a_repository_what_git_tracks_or_would_track_is_taken(tmp_path):
    write(tmp_path, {".gitignore": "made/\n", "made/a.py": "", "build/kept.py": "", "gone.py": "", "\u00fc \n.py": ""})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    write(tmp_path, {"new.py": "", "made/b.py": ""})
    (tmp_path / "gone.py").unlink()
    assert read_tree(tmp_path, NOTHING).sources == ("build/kept.py", "new.py", "\u00fc \n.py")


def test_a_folder_of_a_repository_is_read_from_there(tmp_path, monkeypatch):
    write(tmp_path, {".gitignore": "made.py\n", "outer.py": "", "inner/a.py": "", "inner/made.py": ""})
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("GIT_DIR", "/gone")  # as a hook of another repository would have it
    assert read_tree(tmp_path / "inner", NOTHING).sources == ("a.py",)


def test_no_program_that_the_repository_names_is_run(tmp_path):
    write(tmp_path, {"a.py": ""})
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/run; false")
    assert read_tree(tmp_path, NOTHING).sources == ("a.py",)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("git_says", ["exit 128", "exec sleep 60"], ids=["fails", "hangs"])
def test_without_an_answer_of_git_the_folder_is_walked(tmp_path, monkeypatch, git_says):
    write(tmp_path / "bin", {"git": f"#!/bin/sh\n{git_says}\n"})
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setattr("csci_utils.deps.sources._GIT_TIMEOUT_S", 0.2)
    assert tree_of(tmp_path / "p", ["a.py"]).sources == ("a.py",)


def test_what_is_made_is_left_out(tmp_path):
    made = [".venv/a.py", "node_modules/a.py", "build/a.py", "x.egg-info/a.py", "src/__pycache__/a.py", ".tox/a.py"]
    odd = ["my-env/pyvenv.cfg", "my-env/lib/a.py", "conda/conda-meta/history", "conda/lib/a.py"]
    tree = tree_of(tmp_path, ["a.py", "src/b.py", ".ci/c.py", "notebook.ipynb", *made, *odd])
    assert tree.sources == (".ci/c.py", "a.py", "src/b.py")


def test_links_in_circles_are_not_followed(tmp_path):
    write(tmp_path, {"a/b.py": ""})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert read_tree(tmp_path, NOTHING).sources == ("a/b.py",)


def test_a_folder_with_a_pipfile_of_its_own_is_another_project(tmp_path):
    tree = tree_of(tmp_path, ["Pipfile", "a.py", "services/api/Pipfile", "services/api/b.py", "data/Pipfile"])
    assert tree.sources == ("a.py",)
    assert tree.remarks == (f"{tmp_path}/services/api has a Pipfile of its own, so it is not looked at",)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("a.py", "package"),
        ("src/a/b.py", "package"),
        ("a/latest.py", "package"),
        ("a/testament/b.py", "package"),
        ("setup.py", "build"),
        ("a/setup.py", "package"),
        ("tests/a.py", "development"),
        ("a/tests/b.py", "development"),
        ("test/a.py", "development"),
        ("conftest.py", "development"),
        ("a/test_b.py", "development"),
        ("a/b_test.py", "development"),
        ("docs/conf.py", "development"),
        ("benchmarks/a.py", "development"),
        (".ci/a.py", "development"),
        ("noxfile.py", "development"),
        ("scripts/a.py", "development"),
        ("scripts2/a.py", "package"),
        ("docs/app/a.py", "package"),
    ],
)
def test_parts_are_told_by_names_and_settings(tmp_path, source, part):
    settings = CheckSettings(development=("scripts",), package=("docs/app",))
    assert tree_of(tmp_path, [source], settings).part_of(source) == part


def test_modules_of_the_project_are_those_of_its_folder_and_of_src(tmp_path):
    tree = tree_of(tmp_path, ["one.py", "two/__init__.py", "src/three/__init__.py", "plain/a.py", "data/x.txt"])
    assert [tree.has_module(each) for each in ("one", "two", "two.made_later", "three", "plain", "plain.a")] == [
        True
    ] * 6
    assert [tree.has_module(each) for each in ("four", "data", "src.four", "plain.b")] == [False] * 4


def test_a_namespace_is_shared_with_libraries(tmp_path):
    tree = tree_of(tmp_path, ["google/ours/__init__.py", "google/cloud/more.py"])
    ours = ("google", "google.ours", "google.ours.x", "google.cloud.more", "google.cloud.more.f")
    assert [tree.has_module(each) for each in ours] == [True] * 5
    assert not tree.has_module("google.cloud.storage")


def test_neighbours_of_scripts_and_tests_are_found_from_the_root_of_their_package(tmp_path):
    scripts = ["scripts/run.py", "scripts/helper.py"]
    tests = ["tests/unit/__init__.py", "tests/unit/test_a.py", "tests/making.py", "spec/tests/other.py"]
    tree = tree_of(tmp_path, ["app/__init__.py", "app/a.py", "app/luigi/__init__.py", *scripts, *tests])
    assert tree.root_of("app/a.py") == "."
    assert tree.root_of("tests/unit/test_a.py") == "tests"
    assert tree.has_neighbour("helper", "scripts/run.py")
    assert tree.has_neighbour("making", "tests/unit/test_a.py")
    assert tree.has_neighbour("other.x", "tests/unit/test_a.py")  # pytest puts every root of tests on the path
    assert not tree.has_neighbour("luigi", "app/a.py")
    assert not tree.has_neighbour("making", "scripts/run.py")
    assert not tree.has_neighbour("test_a", "scripts/run.py")
