"""One training step on this machine's GPU against the published loop on the same one, each in a process of its own."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence

from bench.inputs import REPO
from bench.measure import Command, Sample, interleaved
from bench.train_step import OURS_BF16, PEER, PROGRAMS

GOAL = 5.0
"""How many times as many pictures a second."""

_NAME = 41
_PROGRAMS = {**PROGRAMS, f"{OURS_BF16}, compiled": [*PROGRAMS[OURS_BF16], "--compiled"]}
_LENGTH = ["--device", "cuda", "--warm-up", "20", "--steps", "100"]


def card() -> str | None:
    """Name the GPU that training would use; None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def run(*, rounds: int, options: Sequence[str] = ()) -> Iterator[list[str]]:
    """One table: pictures a second, and what share of the card's bfloat16 peak that is."""
    rounds = min(rounds, 3)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_"))}
    commands = [
        Command(
            name=name,
            args=[sys.executable, "-m", "bench.train_program", *program, *_LENGTH, *options],
            env=env,
            cwd=REPO,
        )
        for name, program in _PROGRAMS.items()
    ]
    samples = interleaved(commands, rounds=rounds, discarded=0)
    yield [
        f"training on {samples[PEER][0].told['card']}: steps of 4 pictures of 256 x 256, random VGG16 weights",
        f"{rounds} rounds interleaved; in each process 20 first steps that do not count, then 100",
        "published: float32 as torch has it, with TF32 in convolutions; ours, float32: without",
        *table(samples),
        verdict(samples),
    ]


def table(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Lines of a table; the share is of what the card can do in dense bfloat16 products, where that is known."""
    head = ["pict./s", "faster", "TFLOP/s", "of peak", "peak MB"]
    lines = [f"{'':{_NAME}}" + "".join(f"{word:>9}" for word in head)]
    for name, each in samples.items():
        shares = [sample.told["share_of_bf16_peak"] for sample in each]
        share = "unknown" if None in shares else f"{100 * statistics.median(shares):.1f}%"
        cells = [f"{_median(each, 'pictures_per_s'):.1f}", f"{_faster(samples, name):.2f}"]
        cells += [f"{_median(each, 'tflops'):.1f}", share, f"{_median(each, 'card_peak_bytes') / 1e6:.0f}"]
        lines.append(f"{name:{_NAME}}" + "".join(f"{cell:>9}" for cell in cells))
    return lines


def verdict(samples: Mapping[str, Sequence[Sample]]) -> str:
    """Say whether the goal is met, by the best of ours in bfloat16."""
    faster, name = max((_faster(samples, each), each) for each in samples if each.startswith(OURS_BF16))
    said = "met" if faster >= GOAL else "MISSED"
    return f"goal, {GOAL:g} times as many pictures a second: {faster:.2f} {said} ({name})"


def _faster(samples: Mapping[str, Sequence[Sample]], name: str) -> float:
    return _median(samples[name], "pictures_per_s") / _median(samples[PEER], "pictures_per_s")


def _median(samples: Sequence[Sample], what: str) -> float:
    return statistics.median(float(sample.told[what]) for sample in samples)
