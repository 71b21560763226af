from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.measure import Command, cpu_s, interleaved, interleaved_s, processes_under, table

BURN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"


def python(name: str, code: str, **more) -> Command:
    return Command(name=name, args=[sys.executable, "-c", code], env=dict(os.environ), cwd=Path.cwd(), **more)


@pytest.mark.slow
def test_every_command_runs_once_a_round_and_the_first_rounds_do_not_count():
    ran: list[str] = []
    commands = [python(name, "", before=lambda name=name: ran.append(name)) for name in ("a", "b")]
    samples = interleaved(commands, rounds=2, discarded=1)
    assert ran == ["a", "b"] * 3
    assert {name: len(each) for name, each in samples.items()} == {"a": 2, "b": 2}


@pytest.mark.slow
def test_wall_seconds_hold_the_whole_process():
    seconds = interleaved_s([python("sleeps", "import time; time.sleep(0.3)")], rounds=1, discarded=0)
    assert seconds["sleeps"][0] >= 0.3


@pytest.mark.slow
def test_cpu_is_that_of_the_program_alone():
    samples = interleaved([python("burns", BURN), python("sleeps", "")], rounds=1, discarded=0)
    assert samples["burns"][0].cpu_s >= 0.2
    assert samples["sleeps"][0].cpu_s < samples["burns"][0].cpu_s


def test_cpu_of_servers_is_what_they_took_meanwhile():
    sample = interleaved([python("waits", "")], rounds=1, discarded=0, server_pids=[os.getpid()])["waits"][0]
    [server_s] = sample.servers_cpu_s
    assert 0 <= server_s < cpu_s(os.getpid())


@pytest.mark.parametrize(
    ("printed", "told"),
    [('noise\n{"moving_s": 2}', {"moving_s": 2}), ("", {}), ("words", {}), ("[1]", {})],
    ids=["json-last", "nothing", "words", "no-object"],
)
def test_a_program_may_tell_of_itself_in_its_last_line(printed, told):
    sample = interleaved([python("tells", f"print({printed!r})")], rounds=1, discarded=0)["tells"][0]
    assert sample.told == told


def test_what_is_seen_after_a_run_is_told_with_it():
    command = python("tells", "print('{\"moving_s\": 2}')", after=lambda: {"num_requests": 3})
    sample = interleaved([command], rounds=1, discarded=0)["tells"][0]
    assert sample.told == {"moving_s": 2, "num_requests": 3}


def test_a_failing_command_ends_the_run_with_its_own_words():
    with pytest.raises(RuntimeError, match="^broken ended with 3: no such luck$"):
        interleaved([python("broken", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)")], rounds=1)


@pytest.mark.slow
def test_a_process_knows_its_children():
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
    try:
        assert child in processes_under(os.getpid())
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
    assert child not in processes_under(os.getpid())


def test_table_has_medians_and_their_ratio_to_the_peer():
    lines = table({"peer": [2.0, 9.0, 1.0], "ours": [3.0, 1.0, 1.0]}, peer="peer")
    assert [line.split() for line in lines[1:]] == [
        ["peer", "2.000s", "1.000s", "9.000s", "1.00", "(the", "peer)"],
        ["ours", "1.000s", "1.000s", "3.000s", "0.50"],
    ]
