from __future__ import annotations

import json
import subprocess

import pytest

from bench import deps
from bench.measure import interleaved_s


def outputs(commands):
    return {
        each.name: subprocess.run(
            each.args, env=each.env, cwd=each.cwd, capture_output=True, text=True, check=True
        ).stdout
        for each in commands
    }


@pytest.mark.slow
def test_both_list_the_same_two_hundred(tmp_path):
    places = [deps._environment(tmp_path / name) for name in ("project/.venv", "other")]
    (tmp_path / "project" / "Pipfile").write_text("[packages]\n")
    said = outputs(deps._commands(tmp_path, places, deps._environ(tmp_path)))
    theirs = [{each["name"]: each["version"] for each in json.loads(line)} for line in said[deps.PIP].splitlines()]
    ours = json.loads(said[deps.WHERE])["environments"]
    assert [each["label"] for each in ours] == ["main", "pipenv", str(places[1])]
    assert [{each["name"]: each["version"] for each in one["distributions"]} for one in ours] == [{}, *theirs]
    assert [len(each) for each in theirs] == [deps.NUM_DISTRIBUTIONS] * 2


@pytest.mark.slow
def test_the_help_is_the_help(tmp_path):
    commands = deps._helps(deps._environ(tmp_path))
    assert all("Usage:" in said for said in outputs(commands).values())
    assert set(interleaved_s(commands, rounds=1, discarded=0)) == {deps.PIP_HELP, deps.HELP}


def test_a_goal_is_judged_by_the_median():
    assert deps._verdict({deps.HELP: [0.1, 0.15, 0.9]}, deps.HELP).endswith("0.15 s met")
    assert deps._verdict({deps.HELP: [0.1, 0.25, 0.9]}, deps.HELP).endswith("0.25 s MISSED")
