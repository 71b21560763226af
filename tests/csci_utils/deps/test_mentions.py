"""What is used without an import: commands, plug-ins, stubs, settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csci_utils.deps import mentions
from csci_utils.deps.facts import normal_name
from csci_utils.deps.mentions import Mentions, read_words
from tests.csci_utils.deps.checking import environment_with, write


def said(words, *, present=(), environment=None):
    return Mentions(words=frozenset(words), present=frozenset(present), environment=environment)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Makefile", "lint:\n\t$(BIN)/the_tool check . ## all\n"),
        ("make/more.mk", "\tthe-tool\n"),
        ("Procfile", "web: the-tool app:app\n"),
        ("deploy/Dockerfile", 'CMD ["the-tool", "-w", "2"]\n'),
        (".travis.yml", "script:\n  - python -m the_tool\n"),
        (".github/workflows/ci.yml", "    - run: pipenv run the-tool\n"),
        (".pre-commit-config.yaml", "        entry: .venv/bin/the-tool check --fix\n"),
        ("tox.ini", "commands = the-tool {posargs}\n"),
        (".flake8", "[flake8]\nplugin = the.tool\n"),
        ("pyproject.toml", "[tool.the-tool]\nx = 1\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '-p the_tool'\n"),
        ("pyproject.toml", "[tool.mypy]\nplugins = ['the_tool.plugin']\n"),
        ("pyproject.toml", "[build-system]\nrequires = ['the_tool>=3']\n"),
        ("setup.cfg", "[the-tool]\nx = 1\n"),
        ("setup.cfg", "[tool:pytest]\naddopts =\n  -p the_tool\n"),
        ("Pipfile", "[scripts]\nstart = 'the-tool --all'\n"),
        ("bin/start", "#!/bin/sh\nexec the-tool\n"),
        (".ci/run", "the-tool || exit 1\n"),
        ("run.sh", "DB=postgresql+the_tool://x\n"),
        ("alembic.ini", "sqlalchemy.url = x+the_tool://y\n"),
    ],
)
def test_a_tool_is_used_where_a_command_or_a_setting_names_it(tmp_path, file, text):
    write(tmp_path, {file: text})
    assert said(read_words(tmp_path, [file], [])).use("the-tool", [])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Makefile", "# the-tool would be nice\nlint:\n\tother-the-tool x  # the-tool\n"),
        ("Pipfile", "[dev-packages]\nthe-tool = '*'\n"),
        ("Pipfile.lock", '{"the-tool": 1}'),
        ("requirements.txt", "the-tool\n"),
        ("pyproject.toml", "[project]\ndependencies = ['the-tool']\n"),
        ("pyproject.toml", "[tool.poetry.dependencies]\nthe-tool = '*'\n"),
        ("pyproject.toml", "[[tool.csci_utils.deps.exceptions]]\nname = 'the-tool'\n"),
        ("pyproject.toml", "[broken the-tool"),
        ("setup.cfg", "[options]\ninstall_requires =\n  the-tool\n"),
        ("setup.cfg", "the-tool\n"),
        ("setup.cfg", "[x]\nkey\n  the-tool\n"),
        ("README.md", "pip install the-tool\n"),
        ("gone.ini", None),
    ],
)
def test_declaring_or_praising_a_tool_is_no_use(tmp_path, file, text):
    write(tmp_path, {} if text is None else {file: text})
    assert not said(read_words(tmp_path, [file], [])).use("the-tool", [])


def test_strings_in_sources_name_modules_commands_and_drivers():
    strings = ["uvicorn.workers.UvicornWorker", ".venv/bin/ruff", "mysql+pymysql://u@h/d", "app.main:make", "a/b c"]
    words = read_words(None, [], strings)
    assert {"uvicorn", "uvicorn-workers", "ruff", "pymysql", "app", "app-main"} <= words
    assert words.isdisjoint({"b", "u", "h", "make"})
    assert said(words).use("the-server", ["uvicorn"])


def test_files_of_tools_name_them():
    assert "pre-commit" in read_words(Path("/gone"), [".pre-commit-config.yaml"], [])


def test_large_and_odd_files_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(mentions, "LARGEST_FILE_BYTES", 20)
    write(tmp_path, {"big.yml": "the-tool\n" * 5, "odd.yml": b"\xff the-tool \0"})
    assert not said(read_words(tmp_path, ["big.yml"], [])).use("the-tool", [])
    assert said(read_words(tmp_path, ["odd.yml"], [])).use("the-tool", [])
    os.mkfifo(tmp_path / "pipe.yml")
    os.mkfifo(tmp_path / ".odd.yml.json")
    assert read_words(tmp_path, ["pipe.yml"], []) == frozenset()
    assert said(read_words(tmp_path, ["odd.yml"], [])).use("the-tool", [])


@pytest.mark.parametrize(
    ("record", "used"),
    [('{"made_from": {"environments": "1"}, "x": "the-tool"}', False), ("{}", True), ("{", True), (None, True)],
)
def test_a_report_that_lies_beside_its_record_is_no_use(tmp_path, record, used):
    write(tmp_path, {"docs/where.json": '{"name": "the-tool"}'})
    if record is not None:
        write(tmp_path, {"docs/.where.json.json": record})
    files = ["docs/.where.json.json", "docs/where.json"]
    assert said(read_words(tmp_path, files, [])).use("the-tool", []) is used


@pytest.mark.parametrize(
    ("name", "present", "used"),
    [
        ("types-tqdm", ["tqdm"], True),
        ("types-pyyaml", ["pyyaml"], True),
        ("types-docker", ["python-docker"], True),
        ("pandas-stubs", ["pandas"], True),
        ("types-tqdm", ["click"], False),
        ("mypy-boto3-s3", ["boto3", "mypy"], False),
        ("mypy-boto3-s3", ["boto3-stubs"], True),
        ("pytest-timeout", ["pytest"], True),
        ("pytest-timeout", [], False),
        ("pytest", ["pytest"], False),
        ("flake8-bugbear", ["flake8"], True),
        ("sphinx-rtd-theme", ["sphinx"], True),
        ("setuptools", [], True),
        ("django-extensions", ["django"], False),
    ],
)
def test_stubs_and_plug_ins_are_used_by_what_is_there(name, present, used):
    assert said([], present=present).use(name, []) is used


def test_entry_points_tell_commands_and_plug_ins(tmp_path):
    environment = environment_with(tmp_path, {"the-tool": [], "plugged": [], "bugs": [], "broken": []})
    write(
        tmp_path,
        {
            "the_tool-1.0.dist-info/entry_points.txt": "[console_scripts]\nlint-it = a:b\n[the_tool.parts]\nx = y\n",
            "plugged-1.0.dist-info/entry_points.txt": "[pytest11]\nx = plugged\n",
            "bugs-1.0.dist-info/entry_points.txt": "[flake8.extension]\nB = bugs\n",
            "broken-1.0.dist-info/entry_points.txt": b"no section\xff\n",
        },
    )
    assert said(["lint-it"], environment=environment).use("the-tool", [])
    assert not said(["lint"], environment=environment).use("the-tool", [])
    assert not said([], present=["the-tool"], environment=environment).use("the-tool", [])
    assert said([], present=["pytest"], environment=environment).use("plugged", [])
    assert not said([], present=["flake8"], environment=environment).use("plugged", [])
    assert said([], present=["flake8"], environment=environment).use("bugs", [])
    assert not said(["b"], present=["flake8"], environment=environment).use("broken", [])


def test_words_are_compared_in_normal_form(tmp_path):
    write(tmp_path, {"Makefile": "\tThe.Tool\n"})
    assert normal_name("The.Tool") in read_words(tmp_path, ["Makefile"], [])
