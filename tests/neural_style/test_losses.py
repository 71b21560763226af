"""Gram matrices and total variation, against loops over single numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neural_style.losses import gram_matrix, total_variation


@pytest.fixture(name="features_BCHW")
def small_features(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(2, 3, 4, 5)))


def grams_by_loop(features_BCHW: torch.Tensor) -> np.ndarray:
    """Sums over single products, in Python's own floats."""
    batch = features_BCHW.numpy()
    size = batch[0].size
    return np.array([[[float((a * b).sum()) / size for b in picture] for a in picture] for picture in batch])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_gram_matrix_sums_the_products_of_channels(features_BCHW, memory_format):
    found = gram_matrix(features_BCHW.contiguous(memory_format=memory_format))
    np.testing.assert_allclose(found.numpy(), grams_by_loop(features_BCHW), rtol=1e-12)


def test_gram_matrix_of_a_strided_view_is_right_too(features_BCHW):
    view = features_BCHW[:, :, ::2, ::2]
    np.testing.assert_allclose(gram_matrix(view).numpy(), grams_by_loop(view), rtol=1e-12)


@pytest.mark.parametrize("autocast", [False, True])
def test_gram_matrix_of_bfloat16_is_summed_in_float32(autocast):
    ones = torch.ones(1, 2, 40, 40, dtype=torch.bfloat16)  # bfloat16 alone would stop counting at 256
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = gram_matrix(ones)
    assert found.dtype == torch.float32
    assert found.eq(0.5).all()


def test_gram_matrix_refuses_another_number_of_axes():
    with pytest.raises(ValueError, match=r"^features_BCHW: wanted 4 axes, found the shape \(3, 4, 5\)$"):
        gram_matrix(torch.zeros(3, 4, 5))


def test_total_variation_is_the_mean_step_down_plus_the_mean_step_across():
    image = torch.tensor([[[[0.0, 10.0, 4.0], [1.0, 1.0, 1.0]]]])
    down, across = (1 + 9 + 3) / 3, (10 + 6 + 0 + 0) / 4
    assert total_variation(image).item() == pytest.approx(down + across)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 1, 8), (1, 3, 1, 1)], ids=str)
def test_an_even_picture_varies_by_nothing(shape):
    assert total_variation(torch.full(shape, 200.0)).item() == 0


def test_total_variation_does_not_grow_with_the_picture():
    ramp = torch.arange(64.0).expand(1, 3, 64, 64)
    assert total_variation(ramp).item() == pytest.approx(total_variation(ramp[..., :16, :16]).item()) == 1
