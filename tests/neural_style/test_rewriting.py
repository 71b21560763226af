"""Kernels written another way give the same numbers; torch's own layers say which."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from neural_style.engines.rewriting import doubled_kernel, enlarging_kernel


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 7), (8, 5)])
def test_one_transposed_convolution_enlarges_and_convolves(rng: np.random.Generator, height: int, width: int) -> None:
    weight = rng.normal(size=(5, 4, 3, 3)).astype(np.float32)
    small = torch.from_numpy(rng.normal(size=(1, 4, height, width)).astype(np.float32))
    large = functional.interpolate(small, scale_factor=2, mode="nearest")
    wanted = functional.conv2d(functional.pad(large, (1,) * 4, mode="reflect"), torch.from_numpy(weight))
    bordered = functional.pad(small, (1,) * 4, mode="replicate")
    found = functional.conv_transpose2d(bordered, torch.from_numpy(enlarging_kernel(weight)), stride=2, padding=3)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_doubled_kernel_gives_four_pixels_at_once(rng: np.random.Generator) -> None:
    weight = rng.normal(size=(3, 4, 9, 9)).astype(np.float32)
    features = torch.from_numpy(rng.normal(size=(1, 4, 18, 24)).astype(np.float32))
    wanted = functional.conv2d(features, torch.from_numpy(weight))
    found = functional.conv2d(features, torch.from_numpy(doubled_kernel(weight)), stride=2)
    torch.testing.assert_close(functional.pixel_shuffle(found, 2), wanted, atol=1e-5, rtol=1e-5)
