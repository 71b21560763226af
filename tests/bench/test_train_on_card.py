"""What a step is in numbers, and the table of a GPU; the numbers of arithmetic against torch's own counter."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import train_on_card, train_program
from bench.arithmetic import _judge_macs, _net_macs, peak_tflops, step_flops
from bench.measure import Sample
from bench.train_on_card import table, verdict
from bench.train_step import OURS_BF16, PEER
from neural_style.vgg import random_vgg16
from tests.conftest import REPO
from tests.neural_style.published_loop import Net, gram


def counted(compute) -> float:
    """Multiplications that torch counts."""
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() / 2


@pytest.mark.slow
def test_the_judges_arithmetic_is_what_torch_counts():
    vgg, content, out = random_vgg16(), torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32, requires_grad=True)

    def judge() -> None:
        vgg(content, num_taps=2)
        sum(gram(tap).sum() for tap in vgg(out)).backward()

    # Autograd multiplies twice for a Gram matrix's gradient; once is enough, since it is symmetric.
    once_more = sum(channels**2 * side**2 for channels, side in ((64, 32), (128, 16), (256, 8), (512, 4)))
    assert _judge_macs(32) == counted(judge) - once_more


@pytest.mark.slow
def test_the_nets_arithmetic_is_what_torch_counts_but_for_enlarging():
    net, rgb, px, (a, b, c) = Net((4, 8, 16)), torch.rand(1, 3, 32, 32), 32, (4, 8, 16)
    # Nine multiplications at each position of the large map are four.
    saved = 3 * 5 * (c * b * px**2 / 4 + b * a * px**2)
    assert _net_macs(px, (a, b, c)) == counted(lambda: net(rgb).sum().backward()) - saved


def test_a_steps_arithmetic_grows_with_pictures_and_their_size():
    one = step_flops(num_pictures=1, image_px=64)
    assert step_flops(num_pictures=4, image_px=64) == 4 * one
    assert step_flops(num_pictures=1, image_px=128) == 4 * one


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA T1000", None),
    ],
)
def test_the_peak_of_a_card_is_known_or_said_to_be_unknown(card, peak):
    assert peak_tflops(card) == peak


def sample(pictures_per_s: float, share: float | None = 0.25) -> Sample:
    told = {"pictures_per_s": pictures_per_s, "tflops": 250.0, "share_of_bf16_peak": share, "card_peak_bytes": 3e9}
    return Sample(wall_s=9.0, told=told)


def test_a_row_holds_pictures_a_second_and_the_share_of_the_peak():
    each = {PEER: [sample(100.0, None)], OURS_BF16: [sample(450.0), sample(900.0), sample(600.0)]}
    _, peer, ours = table(each)
    assert peer.split()[-5:] == ["100.0", "1.00", "250.0", "unknown", "3000"]
    assert ours.split()[-5:] == ["600.0", "6.00", "250.0", "25.0%", "3000"]


def test_the_verdict_is_that_of_the_fastest_in_bf16():
    each = {PEER: [sample(100.0)], "ours, float32": [sample(900.0)], OURS_BF16: [sample(400.0)]}
    assert verdict(each) == "goal, 5 times as many pictures a second: 4.00 MISSED (ours, bf16)"
    each["ours, bf16, compiled"] = [sample(510.0)]
    assert verdict(each) == "goal, 5 times as many pictures a second: 5.10 met (ours, bf16, compiled)"


def test_every_program_runs_on_the_card_with_enough_steps(monkeypatch):
    asked = []

    def interleaved(commands, **_: object):
        asked.extend(commands)
        return {command.name: [Sample(wall_s=1.0, told={**sample(1.0).told, "card": "a card"})] for command in commands}

    monkeypatch.setattr(train_on_card, "interleaved", interleaved)
    monkeypatch.setenv("PIPELINE_X", "1")
    (lines,) = train_on_card.run(rounds=7)
    assert lines[0].startswith("training on a card: ")
    assert len(asked) == 4
    assert all(["--device", "cuda"] == list(command.args[-6:-4]) for command in asked)
    assert not any("PIPELINE_X" in command.env for command in asked)


def test_a_program_says_what_the_card_did(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    options = SimpleNamespace(device="cuda", batch_size=4, image_px=256)
    said = train_program._of_card(options, 0.01)
    done = step_flops(num_pictures=4, image_px=256) / 0.01 / 1e12
    assert said == {
        "card": "NVIDIA H200",
        "pictures_per_s": 400.0,
        "tflops": done,
        "share_of_bf16_peak": done / 989,
        "card_peak_bytes": 7,
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not there")
@pytest.mark.parametrize("who", [["published"], ["ours"], ["ours", "--precision", "bf16"]], ids=" ".join)
def test_a_program_runs_on_the_card(who):
    small = ["--image-px", "64", "--batch-size", "2", "--steps", "2", "--device", "cuda"]
    args = [sys.executable, "-m", "bench.train_program", *who, *small]
    done = subprocess.run(args, capture_output=True, text=True, cwd=REPO, check=True)
    assert json.loads(done.stdout.strip().rpartition("\n")[2])["pictures_per_s"] > 0
