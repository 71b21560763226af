from __future__ import annotations

import pytest

from bench.many_store import Asked
from bench.many_timeline import as_told, read_timeline

MODEL, FIRST, SECOND = (
    "/b/r/saved_models/m.pth?",
    "/b/r/stylized/m/.shards/1.jsonl?",
    "/b/r/stylized/m/.shards/2.jsonl?",
)
LISTING = "/b?list-type=2&prefix=r/images/"


def asked(*each: tuple[float, float, str, str]) -> list[Asked]:
    return [Asked(*one) for one in each]


PLANNING = asked(
    (10.0, 10.1, "HEAD", MODEL),
    (10.1, 10.5, "GET", LISTING),
    (10.5, 10.9, "GET", FIRST),
    (10.5, 10.7, "GET", SECOND),
)
FIRST_SHARD = asked(
    (11.2, 11.3, "HEAD", MODEL),
    (11.3, 11.4, "GET", FIRST),
    (12.0, 12.5, "GET", "/b/r/images/a.jpg?"),
    (12.6, 13.0, "PUT", "/b/r/stylized/m/a.jpg?"),
    (13.0, 13.1, "PUT", FIRST),
)
SECOND_SHARD = asked(
    (13.3, 13.4, "GET", SECOND),
    (13.9, 14.0, "GET", "/b/r/images/b.jpg?"),
    (14.0, 14.1, "PUT", "/b/r/stylized/m/b.jpg?"),
    (14.2, 14.4, "PUT", SECOND),
    (14.5, 14.6, "GET", FIRST),
)


def test_a_run_is_read_from_what_its_store_was_asked():
    found = read_timeline([*PLANNING, *FIRST_SHARD, *SECOND_SHARD])
    assert (found.num_requests, found.num_manifests, found.first_picture_s) == (14, 2, 12.0)
    assert found.planning_s == pytest.approx(0.9)
    assert found.scheduling_s == pytest.approx(0.3)
    assert found.moving_s == pytest.approx(2.4)
    assert found.between_s == pytest.approx(0.8)


def test_a_run_that_finds_nothing_to_do_only_plans():
    told = as_told(PLANNING)
    assert told["planning_s"] == pytest.approx(0.9)
    assert (told["scheduling_s"], told["moving_s"], told["first_picture_s"]) == (None, None, None)
    assert (told["num_requests"], told["num_manifests"]) == (4, 2)


def test_a_run_without_manifests_has_no_plan():
    found = read_timeline([each for each in FIRST_SHARD if each.target != FIRST])
    assert (found.planning_s, found.scheduling_s, found.num_manifests) == (None, None, 0)
    assert found.moving_s == pytest.approx(1.0)
