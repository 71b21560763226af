from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from neural_style.difference import difference
from neural_style.errors import PictureError


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_equal_pictures_do_not_differ(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    found = difference(save(tmp_path / "a.png", pixels), save(tmp_path / "b.bmp", pixels))
    assert (found.largest, found.psnr_db) == (0, math.inf)
    assert str(found) == "largest difference 0 of 255, no difference"


def test_the_largest_difference_and_the_decibels_are_those_of_a_plain_loop(tmp_path, rng):
    one, other = rng.integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    found = difference(save(tmp_path / "a.png", one), save(tmp_path / "b.png", other))
    apart = [abs(int(a) - int(b)) for a, b in zip(one.flat, other.flat, strict=True)]
    assert found.largest == max(apart)
    assert found.psnr_db == pytest.approx(10 * math.log10(255**2 / (sum(d * d for d in apart) / len(apart))))
    assert str(found) == f"largest difference {max(apart)} of 255, {found.psnr_db:.1f} dB"


def test_pictures_of_two_sizes_cannot_be_compared(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with pytest.raises(PictureError, match="pictures of one size can be compared, not 7 x 5 and 7 x 4"):
        difference(save(tmp_path / "a.png", pixels), save(tmp_path / "b.png", pixels[:4]))
