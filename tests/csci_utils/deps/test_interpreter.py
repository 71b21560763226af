"""Interpreters that are none, break or hang: told in one sentence, in time, and nothing is left running."""

from __future__ import annotations

import os
import signal
import time

import pytest

from csci_utils.deps import interpreter
from csci_utils.deps.errors import InterpreterError
from csci_utils.deps.interpreter import ask
from tests.csci_utils.deps.making import BASE_PYTHON, make_program
from tests.processes import wait_until_gone


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("exit 0", "wanted Python 3.6 or later, but it ended with status 0, silent; name another interpreter"),
        ("echo hello; exit 3", "it ended with status 3 and said 'hello'"),
        (r"printf '\036{\"cut\": '", "status 0 and said"),
        (r"printf '\036[]'", "status 0 and said"),
        (r"printf '\036'; head -c 100000 /dev/zero | tr '\0' '['", "status 0 and said"),
        ("echo https://u53r:hunter2@host; exit 1", r"said 'https://\*\*\*@host'"),
        ("cat; exit 1", "ended with status 1 and said"),
        ("kill -9 $$", "ended with status -9, silent"),
        (r"printf '\303\050\033[31mred'", "said '.*red'"),
    ],
    ids=["silent", "fails", "cut", "list", "deep", "secret", "echoes", "killed", "bytes"],
)
def test_what_is_no_python_is_one_sentence(tmp_path, script, match):
    program = make_program(tmp_path / "python", script)
    with pytest.raises(InterpreterError, match=match) as caught:
        ask(program, timeout_s=20)
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_started_is_one_sentence(tmp_path):
    (tmp_path / "python").write_text("no program")
    with pytest.raises(InterpreterError, match="python: wanted an interpreter, found: Permission denied; name another"):
        ask(tmp_path / "python")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(InterpreterError, match="found: Exec format error"):
        ask(tmp_path / "python")
    with pytest.raises(InterpreterError, match="found: No such file"):
        ask(tmp_path / "gone")


@pytest.mark.slow
def test_an_interpreter_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    program = make_program(tmp_path / "python", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    start = time.monotonic()
    with pytest.raises(InterpreterError, match=r"wanted an answer in 0.5 s, found none"):
        ask(program, timeout_s=0.5)
    assert time.monotonic() - start < 25
    wait_until_gone(int((tmp_path / "child").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("then", ["echo done", "exec sleep 60"], ids=["ends", "hangs"])
def test_nobody_waits_for_a_child_that_left_its_group_and_holds_the_pipe(tmp_path, then):
    """It cannot be ended with the group, and the pipe does not end before it does."""
    child = tmp_path / "child"
    leave = f"setsid sh -c 'echo $$ > {child}.new; mv {child}.new {child}; exec sleep 30' &"
    program = make_program(tmp_path / "python", f"{leave} until [ -e {child} ]; do sleep 0.01; done; {then}")
    start = time.monotonic()
    with pytest.raises(InterpreterError, match="said 'done'" if then == "echo done" else "found none"):
        ask(program, timeout_s=20 if then == "echo done" else 0.5)
    assert time.monotonic() - start < 25
    os.kill(int(child.read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_one_that_closes_its_output_and_goes_on_is_ended(tmp_path):
    program = make_program(tmp_path / "python", "exec >&- 2>&-; sleep 60")
    with pytest.raises(InterpreterError, match=r"wanted an answer in 0.3 s"):
        ask(program, timeout_s=0.3)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 1e300])
def test_a_limit_that_is_none_is_a_defect_of_the_caller(timeout_s):
    with pytest.raises(ValueError, match="wanted a limit above 0 and up to 86400 s, found"):
        ask(BASE_PYTHON, timeout_s=timeout_s)


def test_one_that_prints_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "_LONGEST_ANSWER_BYTES", 2**16)
    program = make_program(tmp_path / "python", "exec yes")
    with pytest.raises(InterpreterError, match="ended with status -9 and said"):
        ask(program, timeout_s=60)


@pytest.mark.slow
def test_what_starts_with_an_interpreter_may_print(tmp_path):
    program = make_program(tmp_path / "python", f'echo hello; echo careful >&2; exec {BASE_PYTHON} "$@"')
    assert ask(program)["prefix"] == ask(BASE_PYTHON)["prefix"]


def test_no_file_is_named_to_a_program_that_may_be_no_python(tmp_path):
    program = make_program(tmp_path / "python", f'printf "%s\\n" "$@" > {tmp_path}/arguments')
    with pytest.raises(InterpreterError, match="silent"):
        ask(program, modules=True)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert [each for each in arguments if os.path.exists(each)] == []
    assert arguments[:2] == ["-I", "-S"]


def test_the_surroundings_of_the_caller_change_nothing(tmp_path, monkeypatch):
    """Neither PYTHONPATH nor a module in the working folder gets a chance to run."""
    for name in ("json.py", "sitecustomize.py", "platform.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/gone")
    monkeypatch.chdir(tmp_path)
    assert ask(BASE_PYTHON)["distributions"] is not None
    assert not (tmp_path / "ran").exists()
