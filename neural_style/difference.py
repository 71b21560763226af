"""How far two pictures are apart.

Axes: H height, W width; 3 is red, green, blue.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from .contract import DEFAULT_MAX_PIXELS
from .errors import PictureError
from .images import load_image


@dataclass(frozen=True)
class Difference:
    """Two pictures of one size, compared.

    Attributes:
        largest: of all pixels and channels, 0-255.
        psnr_db: peak signal-to-noise ratio over all of them, decibels; infinite for equal pictures.
    """

    largest: int
    psnr_db: float

    def __str__(self) -> str:
        decibels = "no difference" if math.isinf(self.psnr_db) else f"{self.psnr_db:.1f} dB"
        return f"largest difference {self.largest} of 255, {decibels}"


def difference(
    first: str | os.PathLike[str], second: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Difference:
    """Compare the colours of two picture files, as decoded.

    Raises:
        PictureError: one is no picture, or their sizes differ.
    """
    pictures = [load_image(path, max_pixels=max_pixels) for path in (first, second)]
    one_HW3, other_HW3 = (picture.rgb_HW3.astype(np.int16) for picture in pictures)
    if one_HW3.shape != other_HW3.shape:
        sizes = " and ".join(f"{picture.width} x {picture.height}" for picture in pictures)
        raise PictureError(f"pictures of one size can be compared, not {sizes}")
    apart_HW3 = np.abs(one_HW3 - other_HW3)
    mean_square = float(np.mean(np.square(apart_HW3, dtype=np.float64)))
    psnr_db = 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
    return Difference(int(apart_HW3.max()), psnr_db)
