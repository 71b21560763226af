"""What paintings are taken, and at what size they are looked at."""

from __future__ import annotations

import re

import numpy as np
import pytest

from neural_style import painting
from neural_style.errors import DeviceError, PictureError
from neural_style.painting import as_judged, refuse_painting
from neural_style.train_config import TrainConfig, config_for

VGG, RANDOM = TrainConfig(), config_for({"features": "random"})


def of_size(width_px: int, height_px: int) -> np.ndarray:
    return np.zeros((height_px, width_px, 3), np.uint8)


@pytest.mark.parametrize(
    ("config", "size", "wanted"),
    [
        (VGG, (52, 40), (52, 40)),
        (TrainConfig(style_px=24), (52, 40), (24, 24)),
        (RANDOM, (50, 40), (500, 400)),
        (RANDOM, (40, 50), (400, 500)),
        (config_for({"features": "random", "style_px": 100}), (512, 16), (3200, 100)),
    ],
    ids=["vgg16", "vgg16-square", "random", "random-upright", "random-most-elongated"],
)
def test_each_judge_looks_at_its_own_size(config, size, wanted):
    height_px, width_px, _ = as_judged(of_size(*size), config).shape
    assert (width_px, height_px) == wanted


BAD = [
    ((3, 3), "the style picture: wanted 16 pixels a side or more, found 3 x 3; take another"),
    ((20_000, 15), "the style picture: wanted 16 pixels a side or more, found 20000 x 15; take another"),
    ((16, 513), "the style picture: wanted a side of at most 32 times the other, found 16 x 513; crop it"),
]


@pytest.mark.parametrize("config", [VGG, TrainConfig(style_px=64), RANDOM], ids=["vgg16", "vgg16-square", "random"])
@pytest.mark.parametrize(("size", "sentence"), BAD, ids=lambda value: str(value)[:10])
def test_a_painting_of_no_use_is_refused(config, size, sentence):
    for refused in (as_judged, lambda rgb, config: refuse_painting(rgb, config, device="cpu")):
        with pytest.raises(PictureError, match=f"^{re.escape(sentence)}$"):
            refused(of_size(*size), config)


@pytest.mark.parametrize(
    ("config", "needed", "looked_at"), [(VGG, 700_000_000, "1000 x 1000"), (RANDOM, 72_000_000, "400 x 400")]
)
def test_a_painting_that_memory_has_no_room_for_is_refused(monkeypatch, config, needed, looked_at):
    free: dict[str, int | None] = {}
    monkeypatch.setattr(painting, "free_bytes", lambda device: free[device])
    for free["cuda:1"] in (needed, None):
        refuse_painting(of_size(1000, 1000), config, device="cuda:1")
    free["cuda:1"] = needed - 1
    sentence = f"GB of memory to look at {looked_at} pixels, found 0.[17] GB free; give a smaller --style-size$"
    with pytest.raises(DeviceError, match=f"^the style picture: wanted 0.[17] {sentence}"):
        refuse_painting(of_size(1000, 1000), config, device="cuda:1")
