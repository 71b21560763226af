"""A long training neither takes more and more memory nor becomes slower."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from neural_style.drawn import draw_painting, draw_scene
from neural_style.vgg import random_vgg16
from tests.conftest import REPO
from tests.neural_style.soak_child import CHECKPOINT_EVERY, Sample

NUM_PICTURES = 60
WARM_UP = 0.25
"""Share of the time: the first steps, checkpoints, samples and epochs reserve what later ones use again. Larger
pictures want some hundred steps of it: what the C library has free lies in more and more pieces, until it is enough."""
WINDOW = 0.15
"""Share of the time whose median is taken, after the warm-up and at the end."""
MORE_MEMORY = 1.02


class Run(NamedTuple):
    """How long, of which pictures, and how much slower the last third may be than the second, by the median step.

    It is slower where it is so both by the clock, which counts what other programs on this machine take, and in
    processor time measured by a yardstick, a small piece of work done after each step, since the processors of a busy
    machine are slower, too. Both were seen 1.4 times as large for half a minute on two processors with five programs.
    """

    seconds: float
    px: int
    slower: float


SHORT = Run(seconds=120, px=64, slower=1.5)
FULL = Run(seconds=1200, px=128, slower=1.2)


@pytest.fixture
def inputs(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Pictures of many sizes as PNG and JPEG, a painting, and weights of VGG16's shape."""
    folder = tmp_path / "inputs"
    (folder / "pictures").mkdir(parents=True)
    for number in range(NUM_PICTURES):
        width_px, height_px = (int(side) for side in rng.integers(140, 500, 2))
        scene = Image.fromarray(draw_scene(number, width_px=width_px, height_px=height_px))
        scene.save(folder / "pictures" / f"{number}.{'jpg' if number % 2 else 'png'}")
    Image.fromarray(draw_painting(width_px=128, height_px=128)).save(folder / "painting.png")
    torch.save(random_vgg16(seed=1).state_dict(), folder / "vgg16.pth")
    return folder


def between(samples: list[Sample], first: float, last: float) -> list[Sample]:
    """Those of a part of the time, given as shares of all of it."""
    end_s = samples[-1].wall_s
    return [sample for sample in samples if first * end_s <= sample.wall_s <= last * end_s]


def step_times(samples: list[Sample]) -> tuple[float, float]:
    """The median step, in seconds by the clock, and in processor time as so many yardsticks."""
    pairs = list(zip(samples, samples[1:], strict=False))
    yardsticks = (min(a.yardstick_s, b.yardstick_s) for a, b in pairs)
    return (
        median(b.wall_s - a.wall_s for a, b in pairs),
        median((b.cpu_s - a.cpu_s) / yardstick_s for (a, b), yardstick_s in zip(pairs, yardsticks, strict=True)),
    )


def memory_bytes(samples: list[Sample]) -> float:
    return median(sample.resident_bytes for sample in samples)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_long_training_neither_leaks_nor_slows(inputs, tmp_path, request, say):
    start = time.time()
    run = FULL if request.config.getoption("--soak") else SHORT
    (tmp_path / "run").mkdir()
    program = [sys.executable, "-m", "tests.neural_style.soak_child"]
    arguments = [str(inputs), str(tmp_path / "run"), str(run.px), str(start + run.seconds)]
    ended = subprocess.run(
        [*program, *arguments], cwd=REPO, capture_output=True, text=True, check=False, timeout=run.seconds + 120
    )
    assert ended.returncode == 0, ended.stderr
    lines = (tmp_path / "run" / "steps").read_text().splitlines()
    samples = [Sample(*map(float, times), int(size)) for *times, size in map(str.split, lines)]
    num_checkpoints = len(samples) // CHECKPOINT_EVERY
    say(f"{len(samples)} steps of {run.px} px, {num_checkpoints} checkpoints in {time.time() - start:.0f} s")
    for tenth in range(10):
        part = between(samples, tenth / 10, (tenth + 1) / 10)
        if len(part) < 2:
            continue
        wall_s, yardsticks = step_times(part)
        size_mb = memory_bytes(part) / 1e6
        say(f"{part[-1].wall_s:5.0f} s: {size_mb:.1f} MB, a step {wall_s:.4f} s, {yardsticks:.1f} yardsticks")
    memory = [memory_bytes(between(samples, first, first + WINDOW)) for first in (WARM_UP, 1 - WINDOW)]
    steps = [step_times(between(samples, first, first + 1 / 3)) for first in (1 / 3, 2 / 3)]
    by_clock, by_yardstick = (late / early for early, late in zip(*steps, strict=True))
    say(f"memory {memory[1] / memory[0]:.4f}, a step by the clock {by_clock:.3f}, by yardsticks {by_yardstick:.3f}")
    assert memory[1] <= MORE_MEMORY * memory[0]
    assert min(by_clock, by_yardstick) <= run.slower
