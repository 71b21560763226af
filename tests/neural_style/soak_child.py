"""Train for a while, and write down after each step when it ended, what it cost and how much memory there is.

`python -m tests.neural_style.soak_child INPUTS FOLDER PX END`: INPUTS holds ``pictures``, ``painting.png`` and
``vgg16.pth``; FOLDER gets ``steps``, one line a step of `Sample`, and all that a run keeps on the way; PX is the side
of a training picture; END is when it ends, in seconds of the system's clock.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neural_style.sample_pictures import Samples
from neural_style.train_config import TrainConfig
from neural_style.train_style import Where, train_style

CHECKPOINT_EVERY = 20
YARDSTICK = np.linspace(0, 1, 500_000)
SINES = np.empty_like(YARDSTICK)


class Sample(NamedTuple):
    """What there was after a step.

    Attributes:
        wall_s: Since training was begun.
        cpu_s: That all threads of the process have used.
        yardstick_s: That the same small piece of work took of the processor this time.
        resident_bytes: Memory of the process.
    """

    wall_s: float
    cpu_s: float
    yardstick_s: float
    resident_bytes: int


class OverError(Exception):
    """The time is over."""


def yardstick_s() -> float:
    """Do the same as ever, and return how long it took: on a shared machine processors are not equally fast."""
    start_s = time.thread_time()
    np.sin(YARDSTICK, out=SINES)
    return time.thread_time() - start_s


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def train(inputs: Path, folder: Path, *, px: int, end_s: float) -> None:
    start = time.monotonic()
    config = TrainConfig(steps=10**9, image_px=px, widths=(16, 32, 64), crop="random")
    where = Where(
        device="cpu",
        threads=2,
        checkpoint_folder=folder / "kept",
        checkpoint_every=CHECKPOINT_EVERY,
        note_every=10,
        progress=False,
        tensorboard_folder=folder / "curves",
        samples=Samples(picture=inputs / "painting.png", folder=folder / "samples", every_steps=50),
    )
    with (folder / "steps").open("w") as file:

        def note(_step: int, _total: int) -> None:
            wall_s, cpu_s = time.monotonic() - start, time.process_time()
            sample = Sample(wall_s, cpu_s, yardstick_s(), resident_bytes())
            file.write(" ".join(map(str, sample)) + "\n")
            if time.time() > end_s:
                raise OverError

        train_style(
            config,
            style=inputs / "painting.png",
            dataset=inputs / "pictures",
            output=folder / "style.pth",
            vgg=inputs / "vgg16.pth",
            where=where,
            on_step=note,
        )


if __name__ == "__main__":
    with suppress(OverError):
        train(Path(sys.argv[1]), Path(sys.argv[2]), px=int(sys.argv[3]), end_s=float(sys.argv[4]))
