"""The painting that a style is learned from: what can be learned from, and the size at which it is looked at.

Axes: H height, W width. ``_255`` is 0-255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import DeviceError, PictureError
from .free_memory import free_bytes
from .train_config import TrainConfig

_LEAST_PX = 16
"""What VGG16's pools need; and on less than that no stroke can be seen."""
_MOST_ELONGATED = 32
_PAINTED_PX = 400
"""Short side for random features: its strokes are to be as wide as the filters see."""
_BYTES_A_PIXEL = {"vgg16": 700, "random": 450}
"""What the judge takes while it looks at the painting; measured, with some room."""


def as_judged(rgb_255_HW3: NDArray[np.uint8], config: TrainConfig) -> NDArray[np.uint8]:
    """Bring a painting to the size at which a judge looks at it.

    Raises:
        PictureError: it is too small, or too elongated.
    """
    height_px, width_px = rgb_255_HW3.shape[:2]
    size = _judged_size(width_px, height_px, config)
    if size == (width_px, height_px):
        return rgb_255_HW3
    return np.asarray(Image.fromarray(rgb_255_HW3).resize(size, Image.Resampling.LANCZOS))


def refuse_painting(rgb_255_HW3: NDArray[np.uint8], config: TrainConfig, *, device: str) -> None:
    """Find out whether a style can be learned from a painting there, before anything is learned.

    Raises:
        PictureError: it is too small, or too elongated.
        DeviceError: to look at it takes more memory than is free.
    """
    height_px, width_px = rgb_255_HW3.shape[:2]
    width_px, height_px = _judged_size(width_px, height_px, config)
    needed_bytes, found_bytes = width_px * height_px * _BYTES_A_PIXEL[config.features], free_bytes(device)
    if found_bytes is not None and needed_bytes > found_bytes:
        raise DeviceError(
            f"the style picture: wanted {needed_bytes / 1e9:.1f} GB of memory to look at {width_px} x {height_px} "
            f"pixels, found {found_bytes / 1e9:.1f} GB free; give a smaller --style-size"
        )


def _judged_size(width_px: int, height_px: int, config: TrainConfig) -> tuple[int, int]:
    """Return width and height; the published script makes it a square where a side is asked for."""
    if min(width_px, height_px) < _LEAST_PX:
        raise PictureError(
            f"the style picture: wanted {_LEAST_PX} pixels a side or more, found {width_px} x {height_px}; take another"
        )
    if max(width_px, height_px) > _MOST_ELONGATED * min(width_px, height_px):
        raise PictureError(
            f"the style picture: wanted a side of at most {_MOST_ELONGATED} times the other, found "
            f"{width_px} x {height_px}; crop it"
        )
    if config.features == "random":
        scale = (config.style_px or _PAINTED_PX) / min(width_px, height_px)
        return round(width_px * scale), round(height_px * scale)
    return (width_px, height_px) if config.style_px is None else (config.style_px, config.style_px)
