"""The command line: statuses, one sentence an error, nothing but the answer on standard output, quick help."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import click
import pytest

from csci_utils.deps import cli, where
from csci_utils.deps.cli import exit_status
from csci_utils.deps.text import columns
from tests.conftest import REPO
from tests.csci_utils.deps.making import make_program


def run(*arguments, **rest):
    command = [sys.executable, "-m", "csci_utils.deps", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO, **rest)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "No such command 'nothing'; see --help"),
        (["where", "--nothing"], "No such option '--nothing'"),
        (["where", "--python", "/gone/python"], "/gone/python: wanted an interpreter or a folder, found nothing"),
        (["where", "--project", "/gone"], "/gone: wanted the folder of a project, found none"),
        (["where", "--project", ""], "wanted the folder of a project, found an empty name; name one with --project"),
        (["--project", " ", "check"], "wanted the folder of a project, found an empty name; name one with --project"),
        (["where", "--timeout", "0"], "Invalid value for '--timeout'"),
    ],
    ids=["command", "option", "python", "project", "empty", "blank", "timeout"],
)
def test_what_cannot_be_used_is_one_line_and_status_2(arguments, sentence, capsys):
    assert exit_status(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if "error: " in line]
    assert line.startswith("csci_utils.deps: error: ")
    assert sentence in line


def test_without_a_subcommand_the_help_is_shown(capsys):
    assert exit_status([]) == 2
    assert "Usage: python -m csci_utils.deps" in capsys.readouterr().err


def test_every_subcommand_is_a_module_with_a_command(capsys):
    for name in cli.COMMANDS:
        assert isinstance(importlib.import_module(f"csci_utils.deps.{name}").command, click.Command)
        assert exit_status([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert "--project" in out
        assert "--json" in out


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd"), 40, "this is a defect of the program"),
        (PermissionError(13, "Permission denied", "/secret"), 2, "Permission denied: '/secret'; mend that"),
        (ModuleNotFoundError("x", name="packaging.version"), 2, "packaging.version is not installed: pip install"),
        (ModuleNotFoundError("x", name="csci_utils.gone"), 40, "this is a defect"),
    ],
    ids=["ctrl-c", "defect", "os", "library", "own-module"],
)
def test_failures_have_their_status(error, status, sentence, world, monkeypatch, capsys):
    def fail(*arguments, **rest):
        raise error

    monkeypatch.setattr(where, "side_by_side", fail)
    assert exit_status(["where", "--timeout", "60"]) == status
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""


@pytest.mark.slow
def test_the_time_limit_reaches_the_interpreter(tmp_path, capsys):
    program = make_program(tmp_path / "python", "exec sleep 60")
    assert exit_status(["--timeout", "0.1", "where", "--python", str(program)]) == 2
    assert "wanted an answer in 0.1 s" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["nan", "inf", "-inf", "1e300", "0", "soon"])
def test_a_time_limit_that_is_none_is_one_sentence(capsys, limit):
    assert exit_status(["where", f"--timeout={limit}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "Invalid value for '--timeout'" in err


@pytest.mark.slow
def test_help_imports_no_subcommand_and_no_library():
    names = ["csci_utils.deps.where", "packaging", "plette", "ruamel", "luigi", "tomllib", "importlib.metadata"]
    code = (
        "import sys, runpy, atexit\n"
        f"atexit.register(lambda: print([n for n in {names!r} if n in sys.modules], file=sys.stderr))\n"
        "sys.argv = ['deps', '--help']\nrunpy.run_module('csci_utils.deps', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPO)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "where" in done.stdout


@pytest.mark.slow
def test_a_reader_that_has_gone_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "csci_utils.deps", "travis", "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=REPO, check=False)
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


@pytest.mark.slow
def test_a_path_that_is_not_utf_8_is_printed(tmp_path):
    folder = os.fsencode(tmp_path) + b"/f\xff\x1b"
    os.makedirs(folder + b"/x-1.0.dist-info")
    done = run("where", "--python", folder, "--project", str(REPO))
    assert done.returncode == 0, done.stderr
    assert "f\\udcff" in done.stdout


def test_columns_line_up():
    assert columns([("a", "bbb", "c"), ("aaaa", "b"), ("", "", "")]) == ["a     bbb  c", "aaaa  b", ""]
    assert columns([]) == []
