"""Conda's environments, found by the files that conda keeps."""

from __future__ import annotations

import os

import pytest

from csci_utils.deps.conda_and_pipenv import conda_environments, conda_packages
from tests.csci_utils.deps.making import make_conda, make_program


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".conda").mkdir()
    return tmp_path


def test_environments_are_found_by_every_road_and_each_once(home):
    root = make_conda(home / "miniconda3")
    program = make_program(root / "bin" / "conda", "exit 9")
    for name in ("a", "b"):
        make_conda(root / "envs" / name)
    (root / "envs" / "no-environment").mkdir()
    make_conda(home / "elsewhere" / "c")
    make_conda(home / "more" / "a")
    (home / ".conda" / "environments.txt").write_text(
        f"{root}\n{root / 'envs' / 'a'}\n{home / 'elsewhere' / 'c'}\n/gone\n\n"
    )
    environ = {"HOME": str(home), "CONDA_EXE": str(program), "CONDA_ENVS_PATH": str(home / "more")}
    assert conda_environments(environ) == {
        "base": root,
        "a": root / "envs" / "a",
        "c": home / "elsewhere" / "c",
        "b": root / "envs" / "b",
        str(home / "more" / "a"): home / "more" / "a",
    }


def test_conda_on_the_path_belongs_to_its_installation(home):
    root = make_conda(home / "conda")
    program = make_program(root / "bin" / "conda", "exit 9")
    (home / "bin").mkdir()
    (home / "bin" / "conda").symlink_to(program)
    assert conda_environments({"HOME": str(home), "PATH": f"/gone:{home / 'bin'}"}) == {"base": root}


def test_the_active_environment_is_found(home):
    folder = make_conda(home / "active")
    assert conda_environments({"HOME": str(home), "CONDA_PREFIX": str(folder)}) == {"active": folder}


def test_without_conda_there_is_nothing(home):
    assert conda_environments({"HOME": str(home / "gone"), "PATH": ""}) == {}


def test_names_of_packages_may_hold_dashes(home):
    folder = make_conda(home / "c", "python-3.11.7-h955ad1f_0", "ca-certificates-2026.1.1-0", "_libgcc_mutex-0.1-main")
    (folder / "conda-meta" / "state.json").touch()
    assert [(each.spelled, each.version) for each in conda_packages(folder)] == [
        ("_libgcc_mutex", "0.1"),
        ("ca-certificates", "2026.1.1"),
        ("python", "3.11.7"),
    ]


def test_a_list_that_is_a_pipe_or_names_no_path_is_passed_over(home):
    (home / ".conda" / "environments.txt").write_bytes(b"/a\0b\n\xff\n")
    assert conda_environments({"HOME": str(home)}) == {}
    (home / ".conda" / "environments.txt").unlink()
    os.mkfifo(home / ".conda" / "environments.txt")
    assert conda_environments({"HOME": str(home)}) == {}
