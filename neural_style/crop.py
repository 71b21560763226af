"""A decoded picture becomes a square of training pixels: as the published script cuts it, or at random.

Axes: H height, W width; 3 is red, green, blue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CENTER = "center"
RANDOM = "random"

WIDEST = 2
"""A picture is shrunk for a random crop until its short side is at most so many times the crop's."""

_ORDER, _CROP = 0, 1  # what a stream of random numbers is for; the last word of its seed


def shuffled(num_items: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the numbers below ``num_items`` in the order of an epoch; another one for each seed and epoch.

    It is made of the raw numbers of a generator, which NumPy keeps the same in all versions, unlike its permutations.
    """
    raw = _raw(num_items, seed, epoch, _ORDER)
    return np.argsort(raw, kind="stable").astype(np.int64)


def least_side_px(crop: str, image_px: int) -> int | None:
    """Return the short side with which a JPEG may be decoded at less than its size; None: not at all.

    It is twice what the picture is then shrunk to. On photographs this moves pixels by about one level of 255, some by
    a dozen: of no matter where crops are random. The published script's pixels are not touched.
    """
    return 2 * widest_side_px(crop, image_px) if crop == RANDOM else None


def widest_side_px(crop: str, image_px: int) -> int:
    """Return the most that a picture's short side is brought to before it is cut."""
    return WIDEST * image_px if crop == RANDOM else image_px


def cut(image: Image.Image, image_px: int, *, crop: str, seed: int, epoch: int, number: int) -> NDArray[np.uint8]:
    """Cut a square out of a picture.

    Args:
        image: RGB.
        image_px: height and width of the square.
        crop: ``center``: the picture's short side becomes ``image_px``, and the middle is taken. ``random``: the short
            side is shrunk to twice ``image_px``, or enlarged to once, or left alone in between; a square of it is
            taken anywhere, and half of them are mirrored.
        seed: with ``epoch`` and ``number`` all that a random crop depends on.
        epoch: from 0.
        number: of the picture.

    Returns:
        ``(image_px, image_px, 3)``, 0-255.
    """
    if crop == CENTER:
        resized = _with_short_side(image, image_px)
        left, top = (round((side - image_px) / 2) for side in resized.size)
        return _window(resized, left=left, top=top, side=image_px)
    horizontal, vertical, flip = (int(value) for value in _raw(3, seed, epoch, _CROP, number))
    resized = _with_short_side(image, min(max(min(image.size), image_px), widest_side_px(crop, image_px)))
    left = horizontal * (resized.width - image_px + 1) >> 64
    top = vertical * (resized.height - image_px + 1) >> 64
    window = _window(resized, left=left, top=top, side=image_px)
    return window[:, ::-1] if flip >> 63 else window


def _with_short_side(image: Image.Image, short_px: int) -> Image.Image:
    """Resize as torchvision's `Resize` does it to a Pillow image: bilinear, the long side cut off to a whole number."""
    short, long = sorted(image.size)
    if short == short_px:
        return image
    long_px = int(short_px * long / short)
    size = (short_px, long_px) if image.width <= image.height else (long_px, short_px)
    return image.resize(size, Image.Resampling.BILINEAR)


def _window(image: Image.Image, *, left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Cut by NumPy: `Image.crop` looks at Pillow's limit of pixels, which another thread may have set for its own."""
    return np.asarray(image)[top : top + side, left : left + side]


def _raw(num_values: int, *words: int) -> NDArray[np.uint64]:
    """Return random numbers of 64 bits that depend on these words alone."""
    return np.asarray(np.random.PCG64(np.random.SeedSequence(words)).random_raw(num_values), dtype=np.uint64)
