"""Pictures a second from a folder of JPEGs to batches, against the published script's loader."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.inputs import REPO
from bench.measure import Command, Sample, interleaved

PEER = "ImageFolder, in the loop, as published"
NUM_PICTURES = 160
SIZE_PX = (640, 480)

_NAME = 41


def run(*, rounds: int) -> Iterator[list[str]]:
    """One table."""
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as folder:
        write_pictures(Path(folder, "pictures"))
        samples = interleaved(_commands(Path(folder)), rounds=min(rounds, 5), discarded=1)
    yield [
        f"loader: {NUM_PICTURES} JPEGs of {SIZE_PX[0]} x {SIZE_PX[1]} to batches of 4 of 256 x 256, and no training",
        f"{min(rounds, 5)} rounds interleaved, 1 discarded before them; the first batch does not count",
        *table(samples),
    ]


def write_pictures(folder: Path) -> None:
    """Write smooth pictures with some noise, about as big as photographs of that size."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(1)
    (folder / "all").mkdir(parents=True)
    for number in range(NUM_PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (SIZE_PX[1] // 8, SIZE_PX[0] // 8, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(SIZE_PX), dtype=np.int16) + rng.integers(-8, 9, (SIZE_PX[1], SIZE_PX[0], 3))
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(folder / "all" / f"{number:03d}.jpg", quality=90)


def table(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Lines of a table; faster is how many times as fast as the published loader."""
    lines = [f"{'':{_NAME}}" + "".join(f"{word:>9}" for word in ("per s", "min", "max", "faster"))]
    reference = statistics.median(map(_per_s, samples[PEER]))
    for name, each in samples.items():
        found = [_per_s(sample) for sample in each]
        median = statistics.median(found)
        cells = [f"{median:.0f}", f"{min(found):.0f}", f"{max(found):.0f}", f"{median / reference:.2f}"]
        lines.append(f"{name:{_NAME}}" + "".join(f"{cell:>9}" for cell in cells))
    return lines


def _commands(folder: Path) -> list[Command]:
    programs = {
        PEER: ["published", "--workers", "0"],
        "ImageFolder, 2 processes": ["published", "--workers", "2"],
        "ours, 2 processes": ["processes", "--workers", "2"],
        "ours, 1 thread": ["threads", "--workers", "1"],
        "ours, 2 threads": ["threads", "--workers", "2"],
        "ours, 2 threads, random crops": ["threads", "--workers", "2", "--crop", "random"],
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_", "OMP_"))}
    return [
        Command(
            name=name,
            args=[sys.executable, "-m", "bench.loader_program", who, str(folder / "pictures"), *options],
            env=env,
            cwd=REPO,
        )
        for name, (who, *options) in programs.items()
    ]


def _per_s(sample: Sample) -> float:
    return float(sample.told["num_pictures"]) / float(sample.told["moving_s"])
