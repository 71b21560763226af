from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench import train_step
from bench.measure import Sample
from bench.train_step import OURS, OURS_BF16, PEER, TUNED, find_allocator, table, verdict
from tests.conftest import REPO


def sample(step_s: float) -> Sample:
    told = {"moving_s": 3 * step_s, "num_steps": 3, "moving_cpu_s": 6 * step_s, "peak_bytes": 2_000_000_000}
    return Sample(wall_s=99.0, told=told)


def samples(**step_s: float) -> dict[str, list[Sample]]:
    names = {"peer": PEER, "ours": OURS, "bf16": OURS_BF16}
    found = {names[name]: [sample(seconds)] for name, seconds in step_s.items()}
    return {**found, **{name + TUNED: [sample(each[0].told["moving_s"] / 6)] for name, each in found.items()}}


def test_row_holds_a_steps_seconds_and_how_many_times_as_fast_it_is():
    each = {PEER: [sample(4.0)], OURS: [sample(1.0), sample(9.0), sample(2.0)]}
    _, peer, ours = table(each)
    assert peer.split()[-6:] == ["4.000", "4.000", "4.000", "1.00", "8.000", "2000"]
    assert ours.split()[-6:] == ["2.000", "1.000", "9.000", "2.00", "4.000", "2000"]


def test_each_allocator_has_its_own_peer():
    each = samples(peer=4.0, ours=2.0)
    each[OURS + TUNED] = [sample(0.5)]
    assert [line.split()[-3] for line in table(each)[1:]] == ["1.00", "2.00", "1.00", "4.00"]


def test_verdict_says_missed_where_it_is_missed():
    each = samples(peer=4.0, ours=2.0, bf16=1.0)
    assert verdict(each, OURS) == f"goal, {OURS} 1.5 times as fast: 2.00 met; both with the tuned allocator 2.00 met"
    each[OURS_BF16 + TUNED] = [sample(0.7)]
    assert verdict(each, OURS_BF16).endswith("3 times as fast: 4.00 met; both with the tuned allocator 2.86 MISSED")


def test_allocator_is_jemalloc_where_it_is_there_and_glibcs_settings_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(train_step, "_JEMALLOC", (str(tmp_path / "libjemalloc.so"),))
    assert find_allocator().described.startswith("glibc's malloc with MALLOC_MMAP_MAX_=0 ")
    (tmp_path / "libjemalloc.so").touch()
    assert find_allocator().env["LD_PRELOAD"] == str(tmp_path / "libjemalloc.so")


def test_every_program_runs_with_each_allocator_and_nothing_foreign(monkeypatch):
    monkeypatch.setenv("MALLOC_CONF", "foreign:true")
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    commands = train_step._commands(train_step.Allocator(env={"TUNED": "1"}, described=""), [])
    assert [command.name for command in commands] == [n + s for s in ("", TUNED) for n in (PEER, OURS, OURS_BF16)]
    assert [command.env.get("TUNED") for command in commands] == [None] * 3 + ["1"] * 3
    assert not any({"MALLOC_CONF", "OMP_NUM_THREADS"} & set(command.env) for command in commands)


def test_what_takes_most_is_said_first():
    told = {"shares": {"norms": 0.2, "convolutions": 0.7, "the rest": 0.1}}
    assert train_step.shares(Sample(wall_s=1.0, told=told)) == "convolutions 70%, norms 20%, the rest 10%"


@pytest.mark.slow
@pytest.mark.parametrize(
    "who", [["published"], ["ours"], ["ours", "--precision", "bf16", "--whole-batch"]], ids=" ".join
)
def test_program_tells_what_its_steps_took(who):
    small = ["--image-px", "32", "--batch-size", "1", "--steps", "2"]
    args = [sys.executable, "-m", "bench.train_program", *who, *small]
    done = subprocess.run(args, capture_output=True, text=True, cwd=REPO, check=True)
    told = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert told["num_steps"] == 2
    assert 0 < told["moving_s"] < 60


@pytest.mark.slow
def test_program_tells_what_its_time_goes_into():
    small = ["--profile", "--image-px", "64", "--batch-size", "1", "--steps", "1"]
    args = [sys.executable, "-m", "bench.train_program", "ours", *small]
    done = subprocess.run(args, capture_output=True, text=True, cwd=REPO, check=True)
    shares = json.loads(done.stdout.strip().rpartition("\n")[2])["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "convolutions"
    assert min(shares.values()) > 0
