from __future__ import annotations

import pytest

from bench import many_rate
from bench.many_rate import ALONE, FEW, WHOLE, Costs, costs_of, named, section, verdicts, where_it_goes
from bench.measure import Sample


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_rate, "cores", lambda: 2)


def sample(num_pictures: int, *, moving_s: float, cpu_s: float = 0.0, server_s: float = 0.0) -> Sample:
    told = {"num_pictures": num_pictures, "moving_s": moving_s, "moving_cpu_s": 0.1 * num_pictures}
    return Sample(wall_s=moving_s + 2, cpu_s=cpu_s, servers_cpu_s=[server_s], told=told)


def samples(side_px: int, *, whole_s: float) -> dict[str, list[Sample]]:
    """Of the net alone 0.1 s of CPU time and 20 pictures a second; of the rest 0.02 s, of the server 0.005 s."""
    return {
        named(ALONE, side_px): [sample(200, moving_s=10.0)],
        named(FEW, side_px): [sample(8, moving_s=0.5, cpu_s=3.0, server_s=1.0)],
        named(WHOLE, side_px): [sample(208, moving_s=whole_s, cpu_s=27.0, server_s=2.0)],
    }


def test_costs_leave_out_what_a_start_takes():
    costs = costs_of(samples(512, whole_s=13.0), 512)
    assert (costs.net_s, costs.client_s, costs.server_s) == pytest.approx((0.1, 0.02, 0.005))
    assert costs.allowed_per_s == pytest.approx(16.0)


def test_large_pictures_are_judged_by_the_net_alone():
    goal, where = verdicts(samples(512, whole_s=208 / 19))
    assert goal == (
        "goal, at 512 px at least 0.9 of the Stylizer alone: 0.95 met; 0.80 is what the sum of the CPU costs allows"
    )
    assert where.startswith("where the cores' time goes at 512 px: net 95%, ")
    goal, where = verdicts(samples(512, whole_s=208 / 14.4))
    assert ": 0.72 MISSED by 20%; " in goal
    assert where.endswith(": net 72%, rest of the client 14%, server 4%, idle, or others' 10%")


def test_small_pictures_are_judged_by_what_all_costs_allow():
    goal, _ = verdicts(samples(256, whole_s=208 / 15.2))
    assert goal == "goal, at 256 px at least 0.9 of what the sum of the CPU costs allows: 0.95 met"
    goal, _ = verdicts(samples(256, whole_s=208 / 12))
    assert goal.endswith(": 0.75 MISSED by 17%")


def test_rows_hold_both_and_what_the_costs_are():
    found = section(samples(512, whole_s=13.0), sides={512: 208}, rounds=1)
    alone, whole = (list(row) for row in found.rows)
    assert alone == ["512 px, Stylizer alone", "20.00", "20.00", "20.00", "1.00", "100.0", *[""] * 5]
    assert whole[:6] == ["512 px, whole run", "16.00", "16.00", "16.00", "0.80", "100.0"]
    assert whole[6:] == ["20.0", "5.0", "16.00", "1.00", "15.0"]
    assert len(found.head) == len(whole) - 1


def test_all_that_is_measured_adds_up():
    assert Costs(net_s=0.03, client_s=0.008, server_s=0.002).allowed_per_s == pytest.approx(50.0)
    assert where_it_goes(samples(256, whole_s=13.0), 256).endswith("server 4%, idle, or others' 0%")


@pytest.mark.slow
def test_a_small_run_fills_the_table(monkeypatch):
    monkeypatch.setattr(many_rate, "NUM_FEW", 2)
    monkeypatch.setattr(many_rate, "DISCARDED", 0)
    (found,) = many_rate.run(rounds=1, sides={64: 6})
    assert [row[0] for row in found.rows] == ["64 px, Stylizer alone", "64 px, whole run"]
    assert all(float(row[1]) > 0 for row in found.rows)
