from __future__ import annotations

import pytest
import torch

from neural_style.losses import gram_matrix
from neural_style.random_features import RandomFeatures
from neural_style.style_patches import StylePatches


@pytest.fixture
def painting_01():
    """Dark blue on the left, yellow on the right, and lively below."""
    picture = torch.zeros(1, 3, 96, 128)
    picture[:, :, :, :64] = torch.tensor([0.1, 0.1, 0.5])[:, None, None]
    picture[:, :, :, 64:] = torch.tensor([0.9, 0.8, 0.2])[:, None, None]
    picture[:, :, 48:] += (
        torch.rand(1, 1, 6, 16, generator=torch.Generator().manual_seed(1))
        .repeat_interleave(8, dim=2)
        .repeat_interleave(8, dim=3)
    )
    return picture.clamp(0, 1)


@pytest.fixture
def judge(painting_01):
    return RandomFeatures(painting_01, seed=3)


def test_parts_are_cut_from_what_the_judge_saw_of_the_whole(judge, painting_01):
    patches = StylePatches(judge, painting_01, side_px=48)
    whole = judge(painting_01)
    assert [tuple(tap.shape[2:]) for tap in patches.taps] == [(48, 48), (24, 24), (12, 12), (12, 12)]
    for tap, seen, gram in zip(patches.taps, whole, patches.grams, strict=True):
        assert torch.equal(tap[0], seen[0, :, : tap.shape[2], : tap.shape[3]])  # the first lies above and left,
        assert torch.equal(tap[-1], seen[0, :, -tap.shape[2] :, -tap.shape[3] :])  # the last below and right
        assert torch.equal(gram, gram_matrix(tap))


def test_a_picture_is_compared_with_the_part_that_is_like_it(judge, painting_01):
    patches = StylePatches(judge, painting_01, side_px=48)
    corners = [painting_01[:, :, top : top + 48, left : left + 48] for top in (0, 48) for left in (0, 80)]
    found = patches.nearest(torch.cat(corners))
    assert len(set(found.tolist())) == 4
    for number, corner in zip(found.tolist(), corners, strict=True):
        assert patches.nearest(corner).item() == number  # whatever else the batch holds
        assert torch.allclose(patches.taps[0][number].mean(), judge(corner)[0].mean(), rtol=0.1)


@pytest.mark.parametrize(("height_px", "width_px", "number"), [(40, 300, 5), (64, 64, 1), (70, 81, 4), (17, 19, 1)])
def test_paintings_of_any_shape_have_parts(height_px, width_px, number):
    painting = torch.rand(1, 3, height_px, width_px, generator=torch.Generator().manual_seed(2))
    patches = StylePatches(RandomFeatures(painting, seed=1), painting, side_px=64)
    assert [len(tap) for tap in patches.taps] == [number] * 4
    assert patches.nearest(painting[:, :, :16, :16]).item() < number
