from __future__ import annotations

import numpy as np
import pytest

from neural_style.drawn import draw_painting, draw_scene


def test_a_seed_is_a_scene():
    one, again, other = (draw_scene(seed, width_px=96, height_px=64) for seed in (3, 3, 4))
    assert (one.shape, one.dtype) == ((64, 96, 3), np.uint8)
    assert (one == again).all()
    assert (other != one).mean() > 0.3


@pytest.mark.slow
def test_a_seed_is_a_painting():
    one, again, other = (draw_painting(seed, width_px=33, height_px=200) for seed in (3, 3, 4))
    assert (one.shape, one.dtype) == ((200, 33, 3), np.uint8)
    assert (one == again).all()
    assert (other != one).mean() > 0.3


@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 200), (200, 33)])
def test_a_scene_has_any_size(width, height):
    assert draw_scene(width_px=width, height_px=height).shape == (height, width, 3)


@pytest.mark.slow
def test_the_painting_has_strokes_all_over_and_colours_far_apart():
    painting = draw_painting(width_px=256, height_px=256).astype(float)
    blocks = painting.reshape(16, 16, 16, 16, 3).std(axis=(1, 3)).mean(axis=-1)
    assert blocks.min() > 3  # a sixteenth of a side without any stroke would be flat
    assert painting.reshape(-1, 3).std(axis=0).min() > 40


def test_scenes_have_edges_and_a_grain_everywhere():
    scene = draw_scene(width_px=256, height_px=192).astype(float)
    steps = np.abs(np.diff(scene, axis=1)).max(axis=-1)
    assert (steps > 60).sum() > 50
    assert (steps < 10).mean() > 0.6  # yet most of it is calm
    assert scene.reshape(12, 16, 16, 16, 3).std(axis=(1, 3)).mean(axis=-1).min() > 1
