"""Two processes learn a style as one does that has the whole batch: step by step, and through the command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from tests.conftest import REPO
from tests.neural_style.comparing import assert_equal

pytestmark = pytest.mark.slow


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


# The momenta are the means of the last gradients; at the rate of a real run rounding has grown in them by then.
@pytest.mark.parametrize(
    ("kind", "losses_apart", "momenta_apart"), [("vgg16", 1e-3, 0.2), ("random", 1e-4, 0.01)], ids=["vgg16", "random"]
)
def test_two_processes_follow_one_that_has_the_whole_batch(kind, losses_apart, momenta_apart, tmp_path):
    """Each has half of every batch; the mean of their losses is the whole's, every part of it."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    places = [{}] + [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.neural_style.style_child", kind, str(tmp_path / str(number))],
            env={**os.environ, **place},
            cwd=REPO,
        )
        for number, place in enumerate(places)
    ]
    try:
        assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    finally:
        for child in children:
            child.kill()
    alone, *two = (torch.load(tmp_path / str(number), weights_only=True) for number in range(3))
    assert_equal(two[1]["weights"], two[0]["weights"])
    assert len(alone["losses"]) == 20
    for step, (wanted, *found) in enumerate(zip(alone["losses"], *(each["losses"] for each in two), strict=True)):
        mean = {name: (found[0][name] + found[1][name]) / 2 for name in wanted}
        assert mean == pytest.approx(wanted, rel=losses_apart), step
    assert (two[0]["momenta"] - alone["momenta"]).norm() < momenta_apart * alone["momenta"].norm()
