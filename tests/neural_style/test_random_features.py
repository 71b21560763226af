from __future__ import annotations

import numpy as np
import pytest
import torch

from neural_style.drawn import draw_scene
from neural_style.losses import gram_matrix
from neural_style.random_features import (
    Draws,
    RandomFeatures,
    local_correlation,
    out_of_range,
    relative_gram_error,
    sliced_wasserstein,
)


@pytest.fixture
def picture_01():
    scene = draw_scene(5, width_px=80, height_px=64)
    return torch.from_numpy(scene.astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.fixture
def features(picture_01):
    return RandomFeatures(picture_01, seed=1)


def random_from(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance(here: torch.Tensor, there: torch.Tensor, *, num_positions: int, seed: int) -> torch.Tensor:
    num_here, num_there = here[0, 0].numel(), there[0, 0].numel()
    random = random_from(seed)
    drawn = Draws.drawn(
        here.shape[1], num_there=num_there, num_here=num_here, num_positions=num_positions, random=random
    )
    return sliced_wasserstein(here, there, drawn)


def test_four_layers_are_looked_at(features, picture_01):
    taps = features(picture_01)
    for height, width in ((64, 80), (63, 78)):
        seen = features(picture_01[..., :height, :width])
        assert features.sizes(height, width) == [(tap.shape[1], tap[0, 0].numel()) for tap in seen]
    assert [tuple(tap.shape[1:]) for tap in taps] == [(16, 64, 80), (32, 32, 40), (64, 16, 20), (64, 16, 20)]
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_each_channel_is_as_lively_as_any_other_on_the_style(features, picture_01):
    raw = []
    for conv in features._convs:
        conv.register_forward_hook(lambda _conv, _given, out: raw.append(out))
    features(picture_01)
    for out in raw:
        assert out.mean(dim=(0, 2, 3)).abs().max() < 1e-4
        assert (out.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3


def test_a_seed_is_a_judge(picture_01):
    one, again, other = (RandomFeatures(picture_01, seed=seed)(picture_01)[-1] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=0.1)


def test_the_style_itself_has_no_error(features, picture_01):
    tap = features(picture_01)[2]
    assert relative_gram_error(tap, gram_matrix(tap)) == 0
    assert relative_gram_error(torch.zeros_like(tap), gram_matrix(tap)) == pytest.approx(1)
    assert relative_gram_error(tap * 2**0.5, gram_matrix(tap)) == pytest.approx(1, rel=1e-4)


@pytest.mark.slow
def test_each_picture_of_a_batch_has_a_style_of_its_own(features, picture_01):
    tap = features(torch.cat([picture_01, 1 - picture_01]))[1]
    assert relative_gram_error(tap, gram_matrix(tap)) == 0
    assert relative_gram_error(tap, gram_matrix(tap.flip(0))) > 0.1
    same = distance(tap, tap, num_positions=20_000, seed=1)
    assert distance(tap, tap.flip(0), num_positions=20_000, seed=1) > 10 * same


@pytest.mark.slow
def test_the_distance_of_distributions_does_not_see_places():
    values = torch.randn(2, 5, 8, 8, generator=random_from(1))
    moved = values.flatten(2)[..., torch.randperm(64, generator=random_from(2))].view_as(values)
    every = {"num_positions": 20_000, "seed": 3}
    assert distance(moved, values[:1], **every) > 0.01  # the second of the batch is another picture
    assert distance(moved[:1], values[:1], **every) < 0.01
    assert distance(moved[:1] + 1, values[:1], **every) == pytest.approx(1 / 5 * 5, rel=0.5)


@pytest.mark.slow
def test_the_distance_is_that_of_a_shift_along_the_directions():
    one = torch.randn(1, 1, 8, 8, generator=random_from(1))
    for shift in (0.5, 2.0):
        apart = distance(one + shift, one, num_positions=20_000, seed=4)
        assert apart == pytest.approx(shift**2, rel=0.1)  # in one dimension every direction is the axis


def test_the_same_draws_give_the_same_distance():
    one, other = torch.rand(1, 4, 16, 16, generator=random_from(1)), torch.rand(1, 4, 9, 9, generator=random_from(2))
    found = [distance(one, other, num_positions=50, seed=seed) for seed in (7, 7, 8)]
    assert found[0] == found[1] != found[2]


def blotches(seed: int) -> torch.Tensor:
    """Contrast at every scale that is looked at."""
    layers = [torch.rand(1, 3, side, side, generator=random_from(seed + side)) for side in (4, 8, 16, 32)]
    return sum(torch.nn.functional.interpolate(each, size=(128, 128), mode="bilinear") for each in layers) / 4


def test_luminance_goes_together_with_itself_and_against_its_negative():
    one = blotches(1)
    assert local_correlation(one, one) > 0.9
    assert local_correlation(one, 1 - one) < -0.9
    assert local_correlation(one, 0.7 * one + 0.2) > 0.9  # whatever contrast and lightness
    assert local_correlation(one, blotches(100)).abs() < 0.2


def test_a_flat_picture_goes_together_with_nothing():
    assert local_correlation(blotches(1), torch.full((1, 3, 128, 128), 0.5)).abs() < 1e-3


def test_only_what_is_out_of_range_costs():
    assert out_of_range(torch.tensor([0.0, 0.5, 1.0])) == 0
    assert out_of_range(torch.tensor([-1.0, 0.5, 1.5])) == pytest.approx((1 + 0.25) / 3)
