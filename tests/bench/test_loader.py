from __future__ import annotations

import pytest

from bench import loader
from bench.measure import Sample, interleaved


def test_the_table_says_how_many_a_second_and_against_the_published_loader():
    told = {"num_pictures": 100}
    samples = {
        loader.PEER: [Sample(wall_s=1, told={**told, "moving_s": seconds}) for seconds in (1.0, 0.5, 2.0)],
        "ours": [Sample(wall_s=1, told={**told, "moving_s": 0.25})],
    }
    assert [line.split() for line in loader.table(samples)] == [
        ["per", "s", "min", "max", "faster"],
        [*loader.PEER.split(), "100", "50", "200", "1.00"],
        ["ours", "400", "400", "400", "4.00"],
    ]


@pytest.mark.slow
def test_each_program_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "NUM_PICTURES", 12)
    loader.write_pictures(tmp_path / "pictures")
    commands = loader._commands(tmp_path)
    assert len(commands) == 6
    samples = interleaved(commands[:1] + commands[2:3] + commands[-1:], rounds=1, discarded=0)
    assert {sample.told["num_pictures"] for each in samples.values() for sample in each} == {8}
    assert len(loader.table(samples)) == 4
