"""Pictures by the thousand, and a model, as files that a store is filled from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.styling_inputs import make_inputs

if TYPE_CHECKING:
    import numpy as np

    Picture = np.ndarray[Any, np.dtype[Any]]

CHANNELS = 16
NUM_SCENES = 40
"""That are different; the others are these, moved."""

_BIG_SCENE_PX = 1536
_QUALITY = 90


def make_model(folder: Path) -> Path:
    """Write random weights, and return their path."""
    return make_inputs(folder, channels=CHANNELS, sides=()).weights


def make_scenes(folder: Path, *, side_px: int, count: int) -> tuple[Path, Path]:
    """Write scenes as JPEG, and some of them in one array file; return the folder and the file."""
    import numpy as np

    from neural_style.drawn import draw_scene

    drawn = [draw_scene(number, width_px=side_px, height_px=side_px) for number in range(1, 1 + min(NUM_SCENES, count))]
    array = folder / f"scenes-{side_px}.npy"
    np.save(array, np.stack(drawn))
    moved = (np.roll(drawn[number % len(drawn)], number // len(drawn), axis=1) for number in range(count))
    return _write(moved, folder / f"pictures-{side_px}"), array


def make_small(folder: Path, *, side_px: int, count: int) -> Path:
    """Write parts of one big scene as JPEG, each from another place of it; return their folder."""
    from neural_style.drawn import draw_scene

    scene = draw_scene(width_px=_BIG_SCENE_PX, height_px=_BIG_SCENE_PX)
    across = int(count**0.5) + 1
    step = (_BIG_SCENE_PX - side_px) // across
    corners = (divmod(number, across) for number in range(count))
    parts = (scene[step * row :, step * column :][:side_px, :side_px] for row, column in corners)
    return _write(parts, folder / f"small-{side_px}")


def _write(pictures: Iterator[Picture], folder: Path) -> Path:
    from PIL import Image

    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:05d}.jpg", quality=_QUALITY)
    return folder
