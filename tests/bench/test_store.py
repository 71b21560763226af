"""The comparisons that need no peer's program, with little to move."""

from __future__ import annotations

import pytest

from bench.looks import Look, counted
from bench.store import Sizes, open_store, run

SIZES = Sizes(big_bytes=20_000_000, huge_bytes=40_000_000)


@pytest.mark.slow
def test_exists_is_one_request_hit_or_miss_and_luigi_needs_four_on_a_miss():
    with open_store(SIZES) as store:
        looks = counted(store)
    assert {case: (each["ours"], each["luigi"]) for case, each in looks.items()} == {
        "hit": (Look(num_requests=1, found=True), Look(num_requests=1, found=True)),
        "miss": (Look(num_requests=1, found=False), Look(num_requests=4, found=False)),
        "bare prefix": (Look(num_requests=1, found=False), Look(num_requests=4, found=True)),
    }


@pytest.mark.slow
def test_digest_and_memory_have_figures_that_fit_together():
    digest, memory = run(["digest", "memory"], rounds=1, sizes=SIZES)
    _, seconds, gb_per_s, of_time, of_cpu = next(line for line in digest if line.startswith("sha256")).split()
    assert float(seconds) * float(gb_per_s) == pytest.approx(0.02, rel=0.2)
    assert 0 < float(of_time.rstrip("%")) <= 100
    assert 0 < float(of_cpu.rstrip("%")) <= 150
    ours = next(line for line in memory if line.startswith("ours: get")).split()
    idle, end, more, most = map(float, ours[-4:])
    assert end - idle == pytest.approx(more, abs=0.2)
    assert more == most > 0
    assert memory[-1] == "goal, under 64 MB more: met"
