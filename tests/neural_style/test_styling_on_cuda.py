"""Styling on a GPU against plain eager torch on the CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neural_style.drawn import draw_scene
from neural_style.engines.torch_engine import TorchEngine
from neural_style.stylize import Stylizer
from neural_style.weights import save_weights
from tests.neural_style.test_banded_net import lively_net, whole

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not there"),
]

LEAST_DB = {"float32": 70, "fast": 43}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    save_weights(lively_net((8, 16, 32)), path)
    return path


def decibels(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    difference = found.astype(np.float64).clip(0, 255) - wanted.astype(np.float64).clip(0, 255)
    return float(10 * np.log10(255**2 / max(1e-12, np.square(difference).mean())))


@pytest.mark.parametrize("precision", ["float32", "fast"])
def test_a_card_keeps_its_promise_at_every_size(weights: Path, precision: str) -> None:
    stylizer = Stylizer(weights, device="cuda", precision=precision)
    for height, width in ((8, 8), (61, 67), (300, 401), (512, 512)):
        scene = draw_scene(3, width_px=width, height_px=height)
        wanted = whole(lively_net((8, 16, 32)), scene)[:height, :width]
        for _ in range(3):  # launched one by one, recorded, played
            assert decibels(stylizer.style_float(scene), wanted) > LEAST_DB[precision]


def test_more_sizes_than_are_recorded(weights: Path) -> None:
    stylizer = Stylizer(weights, device="cuda")
    scenes = [draw_scene(3, width_px=64 + 4 * index, height_px=64) for index in range(7)]
    first = [stylizer.style(scene) for scene in scenes]
    for _ in range(2):
        for scene, styled in zip(scenes, first, strict=True):
            assert np.abs(stylizer.style(scene).astype(int) - styled.astype(int)).max() <= 1


def test_threads_style_at_once_as_one_after_the_other(weights: Path) -> None:
    stylizer = Stylizer(weights, device="cuda")
    scenes = [draw_scene(seed, width_px=160, height_px=128) for seed in range(24)]
    wanted = [stylizer.style(scene) for scene in scenes]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(stylizer.style, scenes))
    assert all(np.array_equal(each, other) for each, other in zip(found, wanted, strict=True))


def test_bands_on_a_card_are_the_whole_pictures(weights: Path) -> None:
    scene = draw_scene(5, width_px=300, height_px=420)
    in_bands = Stylizer(weights, device="cuda", memory_bytes=24 << 20).style_float(scene)
    assert decibels(in_bands, whole(lively_net((8, 16, 32)), scene)[:420, :300]) > 70


def test_a_card_that_is_full_styles_in_bands(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    scene = draw_scene(5, width_px=96, height_px=120)
    stylizer = Stylizer(weights, device="cuda")
    wanted = stylizer.style(scene)
    engine: Any = stylizer._engine
    assert isinstance(engine, TorchEngine)
    monkeypatch.setattr(engine._cuda, "run", full)
    for _ in range(2):
        assert np.abs(stylizer.style(scene).astype(int) - wanted.astype(int)).max() <= 1
    assert [record.message for record in caplog.records] == [
        "cuda:0 has not enough memory for 96 x 120 pixels at once; styling in bands"
    ]
