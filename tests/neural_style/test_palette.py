from __future__ import annotations

import pytest
import torch

from neural_style.palette import _NATURAL_CORRELATION, _NATURAL_DEVIATION, _NATURAL_MEAN, Palette


def random_from(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def painting_01():
    values = torch.rand(1, 3, 40, 40, generator=random_from(1)) * 0.4 + 0.3
    values[:, 0] = 0.5 * values[:, 0] + 0.5 * values[:, 1]
    return values


def photographs() -> torch.Tensor:
    """Colours that are distributed as photographs' are, but for their tails."""
    deviation = torch.tensor(_NATURAL_DEVIATION)
    covariance = torch.tensor(_NATURAL_CORRELATION) * deviation[:, None] * deviation
    noise = torch.rand(20_000, 3, generator=random_from(2)).sub(0.5) * 12**0.5  # variance 1
    colours = noise @ torch.linalg.cholesky(covariance).T + torch.tensor(_NATURAL_MEAN)
    return colours.T.reshape(1, 3, 100, 200)


def test_photographs_get_the_mean_and_covariance_of_the_painting(painting_01):
    found, wanted = Palette(painting_01).recoloured(photographs())[0].flatten(1), painting_01[0].flatten(1)
    assert torch.allclose(found.mean(dim=1), wanted.mean(dim=1), atol=5e-3)
    assert torch.allclose(torch.cov(found), torch.cov(wanted), atol=2e-3)


def test_what_is_brighter_stays_so_and_a_flat_picture_stays_flat(painting_01):
    palette = Palette(painting_01)
    greys = [palette.recoloured(torch.full((1, 3, 4, 4), value)) for value in (0.2, 0.5, 0.8)]
    assert greys[0].mean() < greys[1].mean() < greys[2].mean()
    assert all(grey.std(dim=(2, 3)).max() < 1e-6 for grey in greys)


def test_each_picture_is_moved_alike_whatever_the_others_are(painting_01):
    palette, pictures = Palette(painting_01), torch.rand(3, 3, 8, 8, generator=random_from(3))
    assert torch.allclose(palette.recoloured(pictures)[1:2], palette.recoloured(pictures[1:2]), atol=1e-6)


def test_a_grey_painting_gives_grey_pictures():
    found = Palette(torch.full((1, 3, 16, 16), 0.4)).recoloured(photographs())
    assert found.std(dim=(2, 3)).max() < 0.05
    assert (found - 0.4).abs().mean() < 0.03
