from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from bench import bands, bands_program
from bench.bands import AUTO, OURS, large_row, large_section, section, verdicts
from bench.measure import Sample
from bench.styling import PEER
from tests.conftest import REPO

MIB = 2**20


def sample(seconds: float, *, more_mib: float = 100, all_mib: float = 700) -> Sample:
    told = {
        "moving_s": seconds,
        "own_idle_bytes": 300 * MIB,
        "own_peak_bytes": (300 + more_mib) * MIB,
        "peak_bytes": all_mib * MIB,
        "net_s": 3.5,
        "made_by": {"bands": {"kept": "on disk", "rows": 20}},
    }
    return Sample(wall_s=99.0, told=told)


def samples() -> dict[str, list[Sample]]:
    ours = [sample(2.0, more_mib=90), sample(1.0, more_mib=250), sample(9.0)]
    return {OURS: ours, PEER: [sample(4.0, more_mib=7000)], AUTO: [sample(3.0)]}


def test_goals_take_the_worst_memory_and_the_median_time():
    assert verdicts(samples(), {OURS: 1, AUTO: 0}) == [
        "goal, at most 256 MiB of own memory over idle: 250 met",
        f"goal, at most the time of {PEER}: 0.50 met",
        "goal, no pixel differs by more than 1 of 255 from the whole picture: 1 met",
    ]


def test_goals_that_are_missed_are_told_with_what_is_too_much():
    each = {**samples(), OURS: [sample(5.0, more_mib=320)]}
    memory, seconds, levels = verdicts(each, {OURS: 1, AUTO: 2})
    assert memory.endswith(": 320 MISSED by 25%")
    assert seconds.endswith(": 1.25 MISSED by 25%")
    assert levels.endswith(": 2 MISSED")


def test_row_holds_time_and_the_worst_memory():
    found = section(samples(), {OURS: 1, AUTO: 0}, size_px=(4096, 4028), rounds=3)
    assert found.title.startswith("bands: 4096 x 4028 (16.5 MP)")
    assert list(found.rows[0]) == [OURS, "2.00", "1.00", "9.00", "0.50", "300", "250", "700", "1"]
    assert [row[-1] for row in found.rows] == ["1", "", "0"]
    assert "kept: on disk, bands of 20 rows." in found.notes[-1]


def test_memory_over_size_is_judged_by_the_largest_picture():
    each = [sample(2.0, more_mib=100), sample(50.0, more_mib=150, all_mib=1100)]
    rows = [large_row(size, one) for size, one in zip(((2048, 2000), (10000, 10000)), each, strict=True)]
    assert rows[1] == ["10000 x 10000", "100.0", "50.0", "0.50", "150", "1100", "on disk", "20"]
    goal, flat = large_section(rows, each).remarks
    assert goal == "goal, the largest in at most 1024 MiB in all: 1100 MISSED by 7%"
    assert flat.startswith("flat: own memory of the largest is 1.50 of that of the smallest")


def test_a_picture_that_was_not_styled_in_bands_is_whole():
    one = sample(2.0)
    assert large_row((10, 10), Sample(wall_s=1.0, told={**one.told, "made_by": {}}))[-2:] == ["whole", ""]


def test_own_memory_is_watched_while_the_block_runs(monkeypatch):
    now, looked = [100], threading.Event()

    def own_bytes() -> int:
        found = now[0]
        if found == 900:
            looked.set()
        return found

    monkeypatch.setattr(bands_program, "own_bytes", own_bytes)
    seen: dict = {}
    with bands_program.own_memory_watched(seen):
        now[0] = 900
        assert looked.wait(10)
        now[0] = 300
    assert seen == {"own_idle_bytes": 100, "own_peak_bytes": 900}


@pytest.mark.slow
def test_own_memory_is_what_lies_in_no_file():
    program = (
        "import json\nfrom bench.bands_program import own_memory_watched\nimport time\nseen = {}\n"
        "with own_memory_watched(seen):\n    kept = b'x' * 200_000_000\n    time.sleep(0.05)\n    del kept\n"
        "print(json.dumps(seen))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=REPO)
    seen = json.loads(done.stdout)
    assert 190e6 < seen["own_peak_bytes"] - seen["own_idle_bytes"] < 230e6


@pytest.mark.slow
def test_a_picture_in_bands_is_compared_with_the_whole_one(monkeypatch):
    monkeypatch.setattr(bands, "CHANNELS", 4)
    (found,) = bands.run(rounds=1, size_px=(320, 260))
    assert found.remarks[2].endswith("met")
    assert [row[0] for row in found.rows] == [OURS, PEER, AUTO]
