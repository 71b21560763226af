from __future__ import annotations

import pytest

from bench.measure import Sample
from bench.transfer_table import Goal, is_met, table, verdict, where_it_goes

GOAL = Goal(ours="ours", peer="peer")


def sample(wall_s: float, moving_s: float | None = None, **more) -> Sample:
    told = {} if moving_s is None else {"moving_s": moving_s, "moving_cpu_s": moving_s / 2}
    return Sample(wall_s=wall_s, cpu_s=0.25, servers_cpu_s=[0.5, 2.0, 1.0], told=told, **more)


def samples(ours: tuple[float, float], peer_s: float = 4.0):
    return {"peer": [sample(peer_s)], "ours": [sample(*ours)]}


def test_row_holds_whole_and_alone_each_with_its_ratio_and_the_cpu_of_both_sides():
    each = {"peer": [sample(4.0)], "ours": [sample(9.0, 5.0), sample(3.0, 1.0), sample(6.0, 2.0)]}
    _, peer, ours = table(each, peer="peer")
    assert peer.split() == ["peer", "4.000", "4.000", "4.000", "1.00", "0.250", "3.500", "2.000", "peer"]
    assert ours.split() == ["ours", "6.000", "3.000", "9.000", "1.50", "2.000", "0.50", "0.250", "3.500", "2.000"]


def test_columns_line_up_where_a_program_says_nothing_of_itself():
    head, peer, ours = table(samples((6.0, 2.0)), peer="peer")
    assert head.index("servers") + len("servers") == peer.index("3.500") + 5 == ours.index("3.500") + 5


def test_transfer_alone_is_compared_with_the_peers_alone_where_it_says_so():
    each = {"peer": [sample(4.0, 1.0)], "ours": [sample(4.0, 2.0)]}
    assert "whole command 1.00 met, transfer alone 2.00 MISSED" in verdict(each, GOAL)[0]


@pytest.mark.parametrize(
    ("ours", "said", "met"),
    [
        ((4.0, 2.0), "whole command 1.00 met, transfer alone 0.50 met", True),
        ((5.0, 2.0), "whole command 1.25 MISSED, transfer alone 0.50 met", False),
        ((5.0, 4.5), "whole command 1.25 MISSED, transfer alone 1.12 MISSED", False),
    ],
    ids=["met", "whole-missed", "both-missed"],
)
def test_goal_is_met_by_the_whole_command_and_by_the_transfer_alone(ours, said, met):
    lines = verdict(samples(ours), GOAL)
    assert lines[0] == f"goal, at most 1.00 of peer: {said}"
    assert is_met(samples(ours), GOAL) is met
    assert (len(lines) == 1) is met


def test_ratio_just_over_the_goal_is_missed_though_it_reads_the_same():
    lines = verdict(samples((4.001, 1.0)), GOAL)
    assert "whole command 1.00 MISSED" in lines[0]


def test_a_missed_goal_says_where_the_time_goes():
    said = " ".join(where_it_goes([sample(9.0, 5.0)]))
    assert "start, imports and end 4.00 s; the transfer 5.00 s" in said
    assert "our process computed for 2.50 s, the servers for 3.50 s, the busiest of them for 2.00 s" in said
