from __future__ import annotations

import numpy as np
import pytest
import torch

from neural_style.moments import Moments

ONE = torch.ones(1)
ZERO = torch.zeros(1)


def moments_of(parts: list[np.ndarray]) -> Moments:
    moments = Moments(parts[0].shape[1], device=torch.device("cpu"))
    for part in parts:
        moments.add(torch.from_numpy(part))
    return moments


@pytest.mark.parametrize("num_parts", [1, 7])
def test_the_norm_is_that_of_all_parts_together(rng: np.random.Generator, num_parts: int) -> None:
    values_NC = rng.normal(50, [1, 9, 0.1], (1400, 3)).astype(np.float32)
    scale_C, shift_C = moments_of(np.split(values_NC, num_parts)).scale_and_shift(
        torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]), eps=1e-5
    )
    exact_NC = values_NC.astype(np.float64)
    wanted_NC = (exact_NC - exact_NC.mean(0)) / np.sqrt(exact_NC.var(0) + 1e-5) * [1, 2, 3] + [4, 5, 6]
    assert np.abs(values_NC * scale_C.numpy() + shift_C.numpy() - wanted_NC).max() < 1e-3


def test_millions_of_equal_numbers_have_no_deviation() -> None:
    """The worst case of adding them one by one: every sum is rounded in the same direction."""
    values_NC = np.full((4_000_000, 1), 100.1, np.float32)
    scale_C, shift_C = moments_of([values_NC[:1_000_000], values_NC[1_000_000:]]).scale_and_shift(ONE, ZERO, eps=1e-5)
    assert scale_C.item() == pytest.approx(1e-5**-0.5)
    assert abs(100.1 * scale_C.item() + shift_C.item()) < 0.01


def test_large_parts_are_summed_in_pieces(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    values_NC = rng.normal(3, 2, (1000, 2)).astype(np.float32)
    whole = moments_of([values_NC]).scale_and_shift(torch.ones(2), torch.zeros(2), eps=0)
    monkeypatch.setattr("neural_style.moments._PART_NUMBERS", 64)
    pieces = moments_of([values_NC]).scale_and_shift(torch.ones(2), torch.zeros(2), eps=0)
    torch.testing.assert_close(pieces, whole)


def test_half_precision_is_summed_in_float32() -> None:
    values_NC = np.full((100_000, 1), 3.0, np.float32)
    values_NC[::2] = 5.0
    moments = Moments(1, device=torch.device("cpu"))
    moments.add(torch.from_numpy(values_NC).bfloat16())
    scale_C, shift_C = moments.scale_and_shift(ONE, ZERO, eps=0)
    assert (scale_C.item(), shift_C.item()) == (1, -4)
