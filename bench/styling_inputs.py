"""What is styled: random weights whose results fill 0-255, drawn scenes, the published graph, the right answers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import REPO


@dataclass(frozen=True, kw_only=True)
class StylingInputs:
    """Files on this machine.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    @property
    def weights(self) -> Path:
        """A state dict of the published net."""
        return self.folder / "random.pth"

    @property
    def graph(self) -> Path:
        """The same net as torch exports it, with free height and width."""
        return self.folder / "published.onnx"

    @property
    def many(self) -> Path:
        """Pictures of one size, ``(N, H, W, 3)`` uint8."""
        return self.folder / "many.npy"

    def picture(self, side_px: int) -> Path:
        """A scene, ``(H, W, 3)`` uint8."""
        return self.folder / f"scene-{side_px}.npy"

    def answer(self, side_px: int) -> Path:
        """What plain torch makes of it in float32, ``(H, W, 3)``, not clamped."""
        return self.folder / f"answer-{side_px}.npy"


def make_inputs(folder: Path, *, channels: int, sides: tuple[int, ...], many: int = 0) -> StylingInputs:
    """Write the inputs; ``many`` pictures of the first side. Without sides, weights alone."""
    args = [sys.executable, "-m", "bench.styling_inputs_program", str(folder), "--channels", str(channels)]
    args += ["--sides", *map(str, sides), "--many", str(many)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_"))}
    done = subprocess.run(args, cwd=REPO, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the inputs could not be made: {done.stderr.strip()[-2000:]}")
    return StylingInputs(folder=folder)
