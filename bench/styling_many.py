"""Pictures a second: all cores on one picture after the other, against a thread for each of several pictures."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.inputs import REPO
from bench.measure import Command, Sample, interleaved
from bench.report import Section
from bench.styling import CHANNELS, PEER, clean_env
from bench.styling_inputs import StylingInputs, make_inputs

NUM_PICTURES = 16
SIDE_PX = 512
BESIDE = ", side by side"
AFTER = ", one after the other"
PRECISIONS = ("float32", "fast")


def run(*, rounds: int, num_pictures: int = NUM_PICTURES) -> Iterator[Section]:
    """One table."""
    rounds = min(rounds, 5)
    with tempfile.TemporaryDirectory(prefix="bench-many-") as name:
        inputs = make_inputs(Path(name), channels=CHANNELS, sides=(SIDE_PX,), many=num_pictures)
        samples = interleaved(_commands(inputs), rounds=rounds, discarded=1)
    yield Section(
        title=f"styling many: {num_pictures} pictures of {SIDE_PX} x {SIDE_PX}, {CHANNELS} channels, random weights",
        notes=[
            f"{rounds} rounds interleaved, 1 discarded before them; from bytes to bytes; a picture in each thread "
            "before the others does not count.",
            f"One after the other: {cores()} threads for a picture. Side by side: {cores()} pictures at once, a thread "
            "for each.",
        ],
        head=["per s", "min", "max", "times", "cpu s", "peak MB"],
        rows=[_row(samples, name) for name in samples],
        remarks=[verdict(samples, precision) for precision in PRECISIONS],
    )


def verdict(samples: Mapping[str, Sequence[Sample]], precision: str) -> str:
    """Say what it brings to style side by side."""
    after, beside = (_per_s(samples[f"ours, {precision}{how}"]) for how in (AFTER, BESIDE))
    said = "met" if beside >= after else f"MISSED by {1 - beside / after:.0%}"
    return f"goal, {precision}, side by side at least as fast as one after the other: {beside / after:.2f} {said}"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _commands(inputs: StylingInputs) -> list[Command]:
    common = ["--weights", str(inputs.weights), "--pictures", str(inputs.many)]
    common += ["--cache", str(inputs.folder / "converted")]
    ways = {
        AFTER: ["--threads", str(cores()), "--side-by-side", "1"],
        BESIDE: ["--threads", "1", "--side-by-side", str(cores())],
    }
    programs = {PEER: ["--plain"], **{f"ours, {precision}": ["--precision", precision] for precision in PRECISIONS}}
    return [
        Command(
            name=name + how,
            args=[sys.executable, "-m", "bench.styling_many_program", *common, *program, *way],
            env=clean_env(),
            cwd=REPO,
        )
        for name, program in programs.items()
        for how, way in ways.items()
    ]


def _row(samples: Mapping[str, Sequence[Sample]], name: str) -> list[str]:
    each = samples[name]
    found = [_rate(sample) for sample in each]
    cpu_s, peak_bytes = (statistics.median(s.told[key] for s in each) for key in ("moving_cpu_s", "peak_bytes"))
    return [
        name,
        *(f"{value:.2f}" for value in (statistics.median(found), min(found), max(found))),
        f"{_per_s(each) / _per_s(samples[PEER + AFTER]):.2f}",
        f"{cpu_s:.1f}",
        f"{peak_bytes / 1e6:.0f}",
    ]


def _per_s(samples: Sequence[Sample]) -> float:
    return statistics.median(map(_rate, samples))


def _rate(sample: Sample) -> float:
    return float(sample.told["num_pictures"]) / float(sample.told["moving_s"])
