from __future__ import annotations

from bench.measure import Sample
from bench.styling_many import AFTER, BESIDE, verdict


def samples(*, after_s: float, beside_s: float) -> dict[str, list[Sample]]:
    seconds = {f"ours, fast{AFTER}": after_s, f"ours, fast{BESIDE}": beside_s}
    return {name: [Sample(wall_s=9.0, told={"num_pictures": 16, "moving_s": s})] for name, s in seconds.items()}


def test_side_by_side_should_not_be_slower():
    goal = "goal, fast, side by side at least as fast as one after the other: "
    assert verdict(samples(after_s=2.0, beside_s=1.6), "fast") == f"{goal}1.25 met"
    assert verdict(samples(after_s=2.0, beside_s=2.5), "fast") == f"{goal}0.80 MISSED by 20%"
