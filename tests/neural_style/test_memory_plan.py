from __future__ import annotations

import pytest

from neural_style.memory_plan import Kept, band_plan, least_bytes

MIB = 1 << 20
WANTED = 24 * MIB


def plan_of(memory_bytes: int | None, *, height: int = 4096, width: int = 4096, channels: int = 16):
    return band_plan(height, width, channels=channels, memory_bytes=memory_bytes, wanted_band_bytes=WANTED)


def test_without_a_limit_all_is_kept() -> None:
    plan = plan_of(None)
    assert plan is not None
    assert (plan.kept, plan.disk_bytes) == (Kept.ALL, 0)


@pytest.mark.parametrize(
    ("memory_bytes", "kept"),
    [
        (2000 * MIB, Kept.ALL),
        (1500 * MIB, Kept.HALF_SIZE),
        (600 * MIB, Kept.QUARTER_SIZE),
        (200 * MIB, Kept.ON_DISK),
    ],
)
def test_less_memory_keeps_less_and_never_takes_more_than_there_is(memory_bytes: int, kept: Kept) -> None:
    plan = plan_of(memory_bytes)
    assert plan is not None
    assert plan.kept is kept
    assert plan.memory_bytes <= memory_bytes
    assert (plan.disk_bytes > 0) is (kept is Kept.ON_DISK)


def test_the_least_memory_is_enough_and_less_is_not() -> None:
    least = least_bytes(4096, 4096, channels=16)
    plan = plan_of(least)
    assert plan is not None
    assert (plan.kept, plan.band_rows) == (Kept.ON_DISK, 1)
    assert plan_of(least - 1) is None


def test_memory_does_not_grow_with_the_height() -> None:
    plans = [plan_of(100 * MIB, height=height) for height in (4096, 40960, 400_000)]
    assert len({(plan.kept, plan.band_rows, plan.memory_bytes) for plan in plans if plan is not None}) == 1


def test_a_band_is_not_taller_than_the_picture() -> None:
    plan = plan_of(None, height=13, width=13)
    assert plan is not None
    assert plan.band_rows == 4


def test_a_low_picture_has_no_more_rows_around_a_band_than_it_has() -> None:
    assert least_bytes(8, 40_000, channels=4) < 100 * MIB < least_bytes(4096, 40_000, channels=4)
    plan = plan_of(100 * MIB, height=8, width=40_000, channels=4)
    assert plan is not None
    assert plan.memory_bytes <= 100 * MIB


def test_a_plan_tells_what_it_keeps() -> None:
    plan = plan_of(200 * MIB)
    assert plan is not None
    assert plan.description() == {"kept": "on disk", "rows": 4 * plan.band_rows}
