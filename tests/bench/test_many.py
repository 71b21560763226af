from __future__ import annotations

import pytest

from bench import many
from bench.many import AGAIN, FIRST, TASKS, allowed_requests, beside, named, section, verdicts
from bench.measure import Sample

COUNTS = (1000, 5000, 10000)


def first(wall_s: float, *, scheduling_s: float = 0.2, moving_s: float = 20.0, planning_s: float = 0.5) -> Sample:
    told = {"scheduling_s": scheduling_s, "moving_s": moving_s, "planning_s": planning_s, "between_s": 0.1}
    told |= {"num_requests": 20400, "num_manifests": 50, "first_picture_s": 7.5}
    return Sample(wall_s=wall_s, cpu_s=30.0, servers_cpu_s=[9.0], told=told)


def again(wall_s: float, *, num_requests: int = 75) -> Sample:
    told = {"scheduling_s": None, "moving_s": None, "planning_s": 1.5, "between_s": 0}
    told |= {"num_requests": num_requests, "num_manifests": 50, "first_picture_s": None}
    return Sample(wall_s=wall_s, cpu_s=1.5, servers_cpu_s=[0.75], told=told)


def tasks() -> Sample:
    each = first(90.0, moving_s=60.0)
    told = {**each.told, "planning_s": None, "scheduling_s": None, "begun_s": 2.5}
    return Sample(wall_s=90.0, cpu_s=50.0, servers_cpu_s=[20.0], told=told)


def samples(**more: list[Sample]) -> dict[str, list[Sample]]:
    found = {
        "tasks": [tasks()],
        "few": [first(12.0)],
        "half": [first(50.0), first(52.0)],
        "whole": [first(100.0)],
        "again": [again(2.5), again(2.0), again(9.0)],
        **more,
    }
    names = ((TASKS, 1000), (FIRST, 1000), (FIRST, 5000), (FIRST, 10000), (AGAIN, 10000))
    return dict(zip((named(*each) for each in names), found.values(), strict=True))


def test_goals_that_are_met():
    scheduling, finished, requests, twice = verdicts(samples(), half=5000, whole=10000)
    assert scheduling == "goal, under 1 s of scheduling for 10,000: 0.20 met"
    assert finished.startswith("goal, under 3 s for a finished run of 10,000: 2.50 met; of it the client takes 1.50 s")
    assert finished.endswith("the server 0.75 s")
    assert requests.endswith("at most 75 requests for it (shards, pages of both listings, 5): 75 met")
    assert twice == "goal, twice the pictures in at most 2.2 times the time: 1.96 met"


def test_goals_that_are_missed_are_told_with_by_how_much():
    each = samples(whole=[first(132.6, scheduling_s=1.5)], again=[again(4.5, num_requests=80)])
    scheduling, finished, requests, twice = verdicts(each, half=5000, whole=10000)
    assert scheduling.endswith(": 1.50 MISSED by 50%")
    assert ": 4.50 MISSED by 50%; of it" in finished
    assert requests.endswith(": 80 MISSED by 5")
    assert twice.endswith(": 2.60 MISSED by 18%")


def test_requests_of_a_finished_run_grow_with_shards_and_pages():
    assert allowed_requests(num_shards=50, num_pictures=10000) == 50 + 10 + 10 + 5
    assert allowed_requests(num_shards=1, num_pictures=1001) == 1 + 2 + 2 + 5


def test_tasks_are_scheduled_from_when_luigi_has_them_to_the_first_picture():
    line = beside(samples(), num_tasks=1000)
    assert line.endswith("scheduling 5.00 s against 0.20 s, a picture from then on 60.0 ms against 20.0 ms")


def test_rows_leave_empty_what_did_not_come_to_pass():
    rows = {row[0]: list(row[1:]) for row in section(samples(), counts=COUNTS).rows}
    assert rows["many, 10,000"] == ["100.00", "10.00", "0.50", "0.20", "0.10", "30.00", "9.00", "20400"]
    assert rows["many, finished, 10,000"] == ["2.50", "0.25", "1.50", "", "0.00", "1.50", "0.75", "75"]
    assert rows["a task per picture, 1,000"][2:5] == ["", "5.00", ""]


@pytest.mark.slow
def test_a_small_run_fills_the_table():
    (found,) = many.run(rounds=1, num_pictures=12, num_tasks=3)
    assert [row[0] for row in found.rows] == [
        "a task per picture, 3",
        "many, 3",
        "many, 6",
        "many, 12",
        "many, finished, 12",
    ]
    assert found.remarks[2].startswith("goal, at most 8 requests for it")
    assert found.remarks[2].endswith(" met")
