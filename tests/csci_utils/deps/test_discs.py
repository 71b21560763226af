"""Discs whose areas are in proportion to numbers, measured on a plain grid."""

from __future__ import annotations

import math

import numpy as np
import pytest

from csci_utils.deps.discs import Disc, _turned, areas, arrange, shared_area

R = frozenset


def measured(discs, steps=600):
    """The area of each region, by counting the cells of a grid over all discs."""
    left, right = min(each.x - each.r for each in discs), max(each.x + each.r for each in discs)
    top, bottom = min(each.y - each.r for each in discs), max(each.y + each.r for each in discs)
    xs, ys = np.meshgrid(
        np.linspace(left, right, steps, endpoint=False) + (right - left) / steps / 2,
        np.linspace(top, bottom, steps, endpoint=False) + (bottom - top) / steps / 2,
    )
    codes = sum(
        ((xs - each.x) ** 2 + (ys - each.y) ** 2 <= each.r**2).astype(int) << number
        for number, each in enumerate(discs)
    )
    cell = (right - left) * (bottom - top) / steps**2
    counts = np.bincount(codes.ravel(), minlength=1 << len(discs))
    return {
        R(each for each in range(len(discs)) if code >> each & 1): counts[code] * cell for code in range(1, len(counts))
    }


@pytest.mark.parametrize(
    ("only_first", "only_second", "both"),
    [(90, 50, 10), (3, 400, 2), (1000, 1000, 1), (20, 30, 0), (100, 0, 20), (0, 7, 1), (0, 0, 40)],
    ids=["overlap", "small-and-large", "barely", "disjoint", "second-within", "first-within", "equal"],
)
def test_two_discs_are_exact(only_first, only_second, both):
    regions = {R({0}): only_first, R({1}): only_second, R({0, 1}): both}
    found = measured(arrange(regions, 2))
    for region, num in regions.items():
        assert found[region] == pytest.approx(num, abs=0.004 * sum(regions.values()))


def test_the_shared_area_is_that_of_the_textbook():
    assert shared_area(1, 1, distance=1) == pytest.approx(2 * math.pi / 3 - math.sqrt(3) / 2)
    assert shared_area(1, 1, distance=2) == 0
    assert shared_area(3, 1, distance=1.5) == pytest.approx(math.pi)


def test_areas_are_those_of_the_grid():
    discs = arrange({R({0}): 60, R({1}): 50, R({2}): 20, R({0, 1}): 40, R({0, 2}): 3, R({1, 2}): 1, R({0, 1, 2}): 4}, 3)
    found = measured(discs)
    for region, area in areas(discs).items():
        assert area == pytest.approx(found[region], abs=0.3)


@pytest.mark.parametrize(
    "regions",
    [
        {R({0}): 60, R({1}): 50, R({2}): 20, R({0, 1}): 40, R({0, 2}): 3, R({1, 2}): 1, R({0, 1, 2}): 4},
        {R({0}): 100, R({0, 1}): 20, R({0, 1, 2}): 5},
        {R({0, 1, 2}): 40},
        {R({0}): 10, R({1}): 9, R({2}): 8},
        {R({0}): 10, R({0, 1}): 10, R({2}): 30},
    ],
    ids=["overlap", "nested", "equal", "disjoint", "one-apart"],
)
def test_three_discs_come_near(regions):
    found = measured(arrange(regions, 3))
    for region, area in found.items():
        assert area == pytest.approx(regions.get(region, 0), abs=0.02 * sum(regions.values()))


def test_a_few_of_thousands_are_still_seen():
    found = areas(arrange({R({0}): 9000, R({0, 1}): 1, R({0, 2}): 1, R({2}): 1}, 3))
    assert {region for region, area in found.items() if area > 0.3} == {R({0}), R({0, 1}), R({0, 2}), R({2})}


def test_an_empty_set_has_no_disc_and_the_others_are_exact():
    first, second, third = arrange({R({0}): 10, R({0, 2}): 5, R({2}): 20}, 3)
    assert second is None
    found = measured([first, third])
    assert [round(found[R(each)]) for each in ({0}, {1}, {0, 1})] == [10, 20, 5]
    assert arrange({}, 2) == [None, None]


def test_two_within_a_third_are_kept_apart_as_far_as_they_can_be():
    found = measured(arrange({R({0}): 10, R({0, 1}): 10, R({0, 2}): 10}, 3))
    assert found[R({0, 1, 2})] < 1.5
    assert found[R({1})] + found[R({2})] < 1


def test_turning_keeps_all_distances_and_brings_the_first_to_the_left():
    before = [Disc(3, 1, 2), Disc(1, 4, 1), Disc(6, 5, 3)]
    after = _turned(before)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = [math.dist((each[i].x, each[i].y), (each[j].x, each[j].y)) for each in (before, after)]
        assert apart[0] == pytest.approx(apart[1])
    assert after[1].y == pytest.approx(after[0].y)
    assert after[0].x < after[1].x
    assert after[2].y > after[0].y
    assert [each.r for each in after] == [2, 1, 3]


def test_the_first_is_on_the_left_and_the_third_below():
    first, second, third = arrange({R({0}): 10, R({1}): 20, R({2}): 30, R({0, 1, 2}): 5}, 3)
    assert first.x < second.x
    assert first.y == pytest.approx(second.y)
    assert third.y > first.y
