from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bench import styling, styling_quality
from bench.measure import Sample
from bench.styling import COMPILED, OURS, OURS_FAST, PEER, PEERS, TUNED, commands_for, met, section, shares, verdicts
from bench.styling_inputs import StylingInputs, make_inputs
from bench.styling_program import decibels
from tests.conftest import REPO


def sample(picture_s: float, **more) -> Sample:
    made_by = {"engine": "openvino", "engine_version": "1.0", "arithmetic": "bfloat16"}
    told = {"picture_s": picture_s, "ready_s": 0.5, "peak_bytes": 3e8, "db": 47.94, **made_by, **more}
    return Sample(wall_s=9.0, told=told)


def samples(*, ours: float = 1.0, fast: float = 0.5) -> dict[str, list[Sample]]:
    found = {name: [sample(seconds)] for name, seconds in zip(PEERS, (4.0, 2.0, 3.0, 1.8, 1.5, 0.6), strict=True)}
    return {**found, OURS: [sample(ours)], OURS_FAST: [sample(fast)]}


def test_row_holds_medians_both_baselines_memory_and_quality():
    each = samples()
    each[OURS] = [sample(1.0), sample(9.0), sample(0.8)]
    each[PEER] = [sample(4.0, db=200.0)]
    found = section(each, side_px=512, rounds=3, pictures=5, compile_s=26.04)
    rows = {name: cells for name, *cells in found.rows}
    assert list(rows) == list(each)
    assert rows[OURS] == ["1.000", "0.800", "9.000", "4.00", "2.00", "0.50", "300", "47.9"]
    assert rows[PEER][-1] == "same"
    assert len(found.head) == len(rows[OURS])
    assert "nothing in its cache: 26.0 s" in " ".join(found.notes)
    assert "ours, fast is openvino 1.0 in bfloat16" in found.notes[-1]


def test_goals_that_are_met_are_said_to_be():
    eager, best, fast_eager, fast_best = verdicts(samples())
    assert eager == f"goal, {OURS} 3 times as fast as {PEER}: 4.00 met; as that with the tuned allocator 2.00"
    assert best.endswith("best peer (OpenVINO float32, published graph): 1.50 met; 1.2 times as fast: met")
    assert fast_eager.startswith(f"goal, {OURS_FAST} 5 times as fast as {PEER}: 8.00 met;")
    assert fast_best.endswith("best peer (OpenVINO bf16, published graph): 1.20 met; 1.2 times as fast: met")


def test_goals_that_are_missed_are_told_with_what_lacks():
    eager, best, fast_eager, fast_best = verdicts(samples(ours=1.6, fast=0.55))
    assert ": 2.50 MISSED by 17%;" in eager
    assert best.endswith(": 0.94 MISSED by 6%; 1.2 times as fast: MISSED by 22%")
    assert ": 7.27 met;" in fast_eager
    assert fast_best.endswith(": 1.09 met; 1.2 times as fast: MISSED by 9%")


def test_float32_is_not_measured_by_a_peer_that_is_less_exact():
    each = samples()
    each["OpenVINO bf16, published graph"] = [sample(0.001)]
    assert "OpenVINO float32" in verdicts(each)[1]
    assert "OpenVINO bf16" in verdicts(each)[3]


def test_peers_of_fast_are_all_of_them():
    each = samples()
    each[COMPILED] = [sample(0.001)]
    assert all(f"({COMPILED})" in line for line in (verdicts(each)[1], verdicts(each)[3]))


@pytest.mark.parametrize(("times", "said"), [(3.0, "met"), (2.7, "MISSED by 10%")], ids=["just", "short"])
def test_what_is_short_is_told_as_a_part_of_the_goal(times, said):
    assert met(times, 3.0) == said


def test_where_the_time_goes_begins_with_the_most_and_leaves_trifles_out():
    told = {"seconds": {"MVN": 0.01, "Convolution": 0.0896, "Reshape": 0.0004}}
    assert shares(Sample(wall_s=1.0, told=told)) == "0.100 s: Convolution 90%, MVN 10%"


def test_every_peer_has_its_defaults_and_nothing_foreign(monkeypatch, tmp_path):
    for name in ("MALLOC_CONF", "OMP_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "foreign")
    inputs = StylingInputs(folder=tmp_path)
    commands = {each.name: each for each in commands_for(inputs, side_px=512, pictures=5)}
    assert list(commands) == [*PEERS, OURS, OURS_FAST, *styling.BY_NAME]
    assert not [name for name, each in commands.items() if "foreign" in each.env.values()]
    assert [name for name, each in commands.items() if set(styling.find_allocator().env) <= set(each.env)] == [TUNED]
    assert commands[COMPILED].env["TORCHINDUCTOR_CACHE_DIR"].startswith(str(tmp_path))
    assert commands[OURS_FAST].args[-6:-2] == ["--engine", "auto", "--precision", "fast"]


def test_decibels_are_of_what_can_be_seen():
    right = np.array([0.0, 100.0, 255.0], np.float32)
    assert decibels(right + np.array([-50, 0, 50]), right) == 200.0
    assert decibels(right + np.array([0, 1, 0]), right) == pytest.approx(10 * np.log10(255**2 * 3))


def test_quality_is_judged_by_the_worst_weights():
    found = {"a": {"float32": 90.0, "fast": 50.0}, "b": {"float32": 80.04, "fast": 42.0}}
    section = styling_quality.section(found)
    assert [list(row) for row in section.rows] == [["a", "90.0", "50.0"], ["b", "80.0", "42.0"]]
    assert section.remarks == [
        "goal, float32 within 70 dB of plain torch: 80.0 met",
        "goal, fast within 43 dB of plain torch: 42.0 MISSED",
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> StylingInputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"), channels=4, sides=(64,), many=2)


def run(*arguments: str) -> dict:
    args = [sys.executable, "-m", *arguments]
    done = subprocess.run(args, capture_output=True, text=True, cwd=REPO, check=True)
    return json.loads(done.stdout.strip().rpartition("\n")[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PEERS if name not in (TUNED, COMPILED)])
def test_every_peer_makes_the_same_picture(inputs, name):
    command = next(each for each in commands_for(inputs, side_px=64, pictures=2) if each.name == name)
    told = run(*command.args[2:])
    assert told["db"] > (20 if name in styling.ONLY_FAST else 70)
    assert 0 < told["picture_s"] < 60
    assert told["ready_s"] > told["picture_s"]
    assert told["peak_bytes"] > 30e6


@pytest.mark.slow
def test_ours_is_what_a_stylizer_makes_of_it(inputs):
    command = next(each for each in commands_for(inputs, side_px=64, pictures=1) if each.name == "ours, torch, float32")
    told = run(*command.args[2:])
    assert told["db"] > 70
    assert (told["engine"], told["precision"]) == ("torch", "float32")


@pytest.mark.slow
def test_openvinos_counters_say_where_its_time_goes(inputs):
    pytest.importorskip("openvino")
    files = ["--weights", str(inputs.weights), "--picture", str(inputs.picture(64))]
    told = run("bench.styling_profile", *files)
    assert told["engine"] == "openvino"
    assert told["seconds"]["Convolution"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("who", [["--plain"], ["--precision", "fast"]], ids=["plain", "ours"])
def test_many_pictures_are_counted(inputs, who):
    files = ["--weights", str(inputs.weights), "--pictures", str(inputs.many)]
    told = run("bench.styling_many_program", *files, "--threads", "1", "--side-by-side", "2", *who)
    assert told["num_pictures"] == 2
    assert 0 < told["moving_s"] < 60


@pytest.mark.slow
def test_random_weights_make_results_that_fill_the_range(inputs):
    levels = np.load(inputs.answer(64))
    assert 100 < levels.mean() < 155
    assert 25 < levels.std() < 90
