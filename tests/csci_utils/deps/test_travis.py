"""`.travis.yml` on the command line: printed, written, checked; a file that is there is never lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from csci_utils import io
from csci_utils.deps.cli import exit_status
from csci_utils.deps.travis_edit import MARK
from tests.conftest import REPO
from tests.csci_utils.deps.making import PROJECTS, PUBLIC
from tests.csci_utils.deps.travis_schema import validate

ODD = """# mine
language: python
python:
  - "3.5"  # old
  # the newest
  - "3.7"
env:
- A=1   # odd
anchor: &a {x:   1}
merged:
    <<: *a
# last
"""


@pytest.fixture
def project(tmp_path):
    shutil.copytree(PROJECTS / "aimmo", tmp_path / "project")
    return tmp_path / "project"


def travis(capsys, *arguments, status=0):
    assert exit_status(["travis", *map(str, arguments)]) == status
    return capsys.readouterr()


def names(folder):
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("name", [*PUBLIC, "requirements-only"])
def test_what_is_made_for_public_projects_is_what_travis_takes(name, capsys):
    out, _ = travis(capsys, "--project", PROJECTS / name)
    config = YAML(typ="safe", pure=True).load(out)
    validate(config)
    assert out.startswith(MARK)
    assert config["stages"][1] == {"name": "deploy", "if": "branch = master AND type != pull_request"}
    assert [job["stage"] for job in config["jobs"]["include"]] == ["deploy"]
    assert config.get("python") == {"aimmo": ["3.7"], "misp-modules": ["3.12"], "pymisp": ["3.6"]}.get(name)


def test_this_project_has_a_file_that_travis_takes_and_that_is_in_step(capsys):
    text = (REPO / ".travis.yml").read_text(encoding="utf-8")
    config = YAML(typ="safe", pure=True).load(text)
    validate(config)
    out, err = travis(capsys, "--project", REPO, "--check")
    assert (out, err) == (f"{REPO / '.travis.yml'}: in step\n", "")
    assert f"{MARK} language, python, cache, stages, install, script, deploy\n" in text
    assert config["script"] == ["make lint", "make test"]


def test_make_lint_checks_the_file_of_this_project():
    done = subprocess.run(["make", "-n", "lint"], cwd=REPO, capture_output=True, text=True, check=True)
    assert "python -m csci_utils.deps travis --check" in done.stdout


def test_without_write_it_is_printed_and_nothing_written(project, capsys):
    before = names(project)
    out, err = travis(capsys, "--project", project)
    assert 'python:\n  - "3.7"\n' in out
    assert err == (
        "csci_utils.deps: nothing says what to run on master: write it as the script of the job of stage deploy, "
        "instead of skip\n"
    )
    assert names(project) == before


def test_what_is_written_is_in_step(project, capsys):
    out, _ = travis(capsys, "--project", project)
    assert travis(capsys, "--project", project, "--write").out == f"{project / '.travis.yml'}\n"
    assert (project / ".travis.yml").read_text() == out
    assert travis(capsys, "--project", project, "--check") == (f"{project / '.travis.yml'}: in step\n", "")


def test_a_file_that_is_in_step_is_not_touched(project, capsys):
    travis(capsys, "--project", project, "--write")
    os.utime(project / ".travis.yml", (1, 1))
    travis(capsys, "--project", project, "--write")
    assert (project / ".travis.yml").stat().st_mtime == 1


def test_what_is_there_stays_but_for_what_is_kept_in_step(project, capsys):
    (project / ".travis.yml").write_text(f"{MARK} python\n{ODD}")
    travis(capsys, "--project", project, "--write")
    expected = ODD.replace('  - "3.5"  # old\n', "")
    assert (project / ".travis.yml").read_text() == f"{MARK} python\n{expected}"


def test_check_names_what_differs_and_ends_with_1(project, capsys):
    path = project / ".travis.yml"
    path.write_text(f"{MARK} python, script\n{ODD}")
    out, err = travis(capsys, "--project", project, "--check", status=1)
    assert out.splitlines() == [
        f"{path}: python: wanted 3.7, found 3.5, 3.7",
        f"{path}: script: wanted pipenv run pytest, found none",
    ]
    assert err == "csci_utils.deps: to mend it: python -m csci_utils.deps travis --write\n"
    assert path.read_text() == f"{MARK} python, script\n{ODD}"


def test_check_of_a_file_that_is_not_there_ends_with_1(project, capsys):
    out, _ = travis(capsys, "--project", project, "--check", status=1)
    assert out == f"{project / '.travis.yml'}: wanted one, found none\n"


def test_a_new_classifier_is_seen(project, capsys):
    travis(capsys, "--project", project, "--write")
    classifiers = "['Programming Language :: Python :: 3.7', 'Programming Language :: Python :: 3.8']"
    (project / "setup.py").write_text(f"from setuptools import setup\nsetup(classifiers={classifiers})\n")
    out, err = travis(capsys, "--project", project, "--check", status=1)
    assert out == f"{project / '.travis.yml'}: python: wanted 3.7, 3.8, found 3.7\n"
    assert "the Pipfile requires Python 3.7, and pipenv install --deploy stops on others (3.8)" in err


def test_json_says_what_differs_and_holds_the_text(project, capsys):
    (project / ".travis.yml").write_text(f"{MARK} python\npython: 3.5\n")
    found = json.loads(travis(capsys, "--project", project, "--json", "--check", status=1).out)
    assert (found["in_step"], found["kept_in_step"]) == (False, ["python"])
    assert found["differences"] == [
        {"key": "python", "wanted": ["3.7"], "found": 3.5, "sentence": "python: wanted 3.7, found 3.5"}
    ]
    found = json.loads(travis(capsys, "--project", project, "--json").out)
    assert found["text"] == f'{MARK} python\npython:\n  - "3.7"\n'


def test_another_file_may_be_named(project, tmp_path, capsys):
    travis(capsys, "--project", project, "--write", "--out", tmp_path / "new" / "ci.yml")
    assert names(tmp_path / "new") == ["ci.yml"]
    assert ".travis.yml" not in names(project)
    travis(capsys, "--project", project, "--check", "--out", tmp_path / "new" / "ci.yml")


def test_words_that_are_no_keys_are_told(project, capsys):
    (project / ".travis.yml").write_text(f"{MARK} python, env\npython: 3.7\n")
    assert "says that env is kept in step, which is none of the keys" in travis(capsys, "--project", project).err


def test_permissions_and_links_stay(project, tmp_path, capsys):
    real = tmp_path / "real.yml"
    real.write_text(f"{MARK} python\npython: 3.5\n")
    real.chmod(0o640)
    (project / ".travis.yml").symlink_to(real)
    travis(capsys, "--project", project, "--write")
    assert (project / ".travis.yml").is_symlink()
    assert real.read_text() == f'{MARK} python\npython:\n  - "3.7"\n'
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a:\n\t- b\n", ".travis.yml:2: wanted YAML, found this: found character '\\t'"),
        (b"a: [1\n", ".travis.yml:2: wanted YAML"),
        (b"- a\n- b\n", ".travis.yml: wanted keys and values, found a list"),
        (b"a: \xff\n", ".travis.yml: wanted UTF-8, found other bytes at 3; save it as UTF-8"),
        ("a: é\n".encode("utf-16"), ".travis.yml: wanted UTF-8"),
        (b"{language: python}\n", ".travis.yml: wanted each key on a line of its own"),
    ],
    ids=["tab", "broken", "list", "latin", "utf-16", "flow"],
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_stays(project, capsys, content, sentence):
    (project / ".travis.yml").write_bytes(content)
    before = names(project)
    for arguments in ([], ["--write"], ["--check"]):
        out, err = travis(capsys, "--project", project, *arguments, status=2)
        assert out == ""
        (line,) = (line for line in err.splitlines() if "error: " in line)
        assert sentence in line
    assert (project / ".travis.yml").read_bytes() == content
    assert names(project) == before


@pytest.mark.parametrize("name", ["Makefile", ".travis.yml"])
def test_a_pipe_is_never_waited_for(project, capsys, monkeypatch, name):
    os.mkfifo(project / name)
    for each in ("read_bytes", "read_text"):
        monkeypatch.setattr(Path, each, _not_of(project / name, getattr(Path, each)))
    for arguments in ([], ["--write"], ["--check"]):
        out, err = travis(capsys, "--project", project, *arguments, status=2)
        assert out == ""
        assert f"{project / name}: wanted a file, found a pipe of that name; rename it" in err.splitlines()[-1]


def _not_of(pipe, read):
    def checked(path, *arguments, **options):
        assert path != pipe, "would hang"
        return read(path, *arguments, **options)

    return checked


def test_a_layout_that_allows_no_change_is_one_sentence_and_stays(project, capsys):
    text = f"{MARK} deploy\nx: &x 3.5\njobs:\n  - stage: deploy\n    python: *x\n"
    (project / ".travis.yml").write_text(text)
    for arguments in ([], ["--write"]):
        assert "wanted to write deploy and change nothing else" in travis(
            capsys, "--project", project, *arguments, status=2
        ).err  # fmt: skip
    assert "deploy: wanted python: 3.7, found python: 3.5" in travis(
        capsys, "--project", project, "--check", status=1
    ).out  # fmt: skip
    assert (project / ".travis.yml").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--write", "--check"], "wanted --write or --check, found both"),
        (["--out", "."], "wanted a file, found a folder of that name"),
        (["--project", "/gone"], "/gone: wanted the folder of a project, found none"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(project, capsys, arguments, sentence):
    out, err = travis(capsys, "--project", project, *arguments, status=2)
    assert out == ""
    assert sentence in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("Pipfile", "[packages", "Pipfile: wanted TOML"),
        ("Pipfile", "scripts = 3\n", "[scripts] as pipenv reads"),
    ],
)
def test_a_broken_pipfile_is_one_sentence(project, capsys, name, content, sentence):
    (project / name).write_text(content)
    assert sentence in travis(capsys, "--project", project, "--write", status=2).err
    assert ".travis.yml" not in names(project)


def test_a_broken_lock_is_said(project, capsys):
    (project / "Pipfile.lock").write_text("{")
    out, err = travis(capsys, "--project", project)
    assert "  - pipenv install --dev --skip-lock\n" in out
    assert "Pipfile.lock: wanted JSON" in err
    assert "until then CI installs whatever is newest" in err


@pytest.mark.parametrize("where", ["write", "sync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_else(project, capsys, monkeypatch, where):
    old = f"{MARK} python\npython: 3.5\n"
    (project / ".travis.yml").write_text(old)
    before = names(project)

    def fail(*arguments, **rest):
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(path, data):
        with open(path, "wb") as file:
            file.write(data[:5])
        fail()

    if where == "write":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(io if where == "sync" else io.os, where, fail)
    out, err = travis(capsys, "--project", project, "--write", status=2)
    assert out == ""
    assert "No space left on device" in err.splitlines()[-1]
    monkeypatch.undo()
    assert (project / ".travis.yml").read_text() == old
    assert names(project) == before


def test_ctrl_c_while_it_is_written_keeps_the_old_file(project, capsys, monkeypatch):
    old = f"{MARK} python\npython: 3.5\n"
    (project / ".travis.yml").write_text(old)
    before = names(project)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(io, "sync", stop)
    travis(capsys, "--project", project, "--write", status=130)
    assert (project / ".travis.yml").read_text() == old
    assert names(project) == before


@pytest.mark.slow
def test_the_pipe_of_the_text_is_the_file(project, capsys):
    command = [sys.executable, "-m", "csci_utils.deps", "travis", "--project", str(project)]
    printed = subprocess.run(command, capture_output=True, check=True, cwd=REPO).stdout
    travis(capsys, "--project", project, "--write")
    assert (project / ".travis.yml").read_bytes() == printed
