"""Every engine keeps its promise: the published weights, from one pixel to 2000 x 3000, against the published net.

Tiny pictures can be such that some map is one number but for the last bit, of which the next norm makes a pattern: then
the published net in float32 is itself 26 dB from what it is in float64, and no other arithmetic can come nearer to it.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from neural_style.allocator import memory_kept
from neural_style.engines.proof import PROMISED_DB, quality_db
from neural_style.pixels import ArraySource, Extended
from neural_style.stylize import Stylizer
from neural_style.transformer_net import TransformerNet
from neural_style.weights import load_weights, widths_of

pytestmark = [pytest.mark.slow, pytest.mark.soak]

Reference = Callable[..., NDArray[np.float32]]
Pictures = dict[str, tuple[NDArray[np.uint8], NDArray[np.float32], float]]

MODELS = ("mosaic_nc8", "mosaic_nc16", "candy_nc8", "candy_nc16")
ENGINES = (
    ("openvino", "float32"),
    ("openvino", "fast"),
    ("onnxruntime", "float32"),
    ("torch", "float32"),
    ("torch", "fast"),
)
SMALL_SIZES_HW = ((1, 1), (1, 2), (2, 1), (1, 9), (3, 5), (7, 64), (8, 8), (13, 12), (61, 67), (256, 257), (333, 501))
LARGE_HW = (2000, 3000)
LARGE_IN_EACH_RUN = ("mosaic_nc8",)
"""Of the others so large a picture takes minutes: they meet it in `make soak`, and one of half its sides each time."""

TINY_PX = 100
NO_LIMIT_BYTES = 1 << 50


@pytest.fixture(scope="module", autouse=True)
def _memory_is_kept() -> Iterator[None]:
    """Half the time would go to the system, which would clear the same pages again and again."""
    with memory_kept():
        yield


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, real: Path) -> Path:
    return real / "saved_models" / f"{request.param}.pth"


@pytest.fixture(scope="module")
def pictures(model: Path, real: Path, reference: Reference, request: pytest.FixtureRequest) -> Pictures:
    """Pictures by what they are, each with what the published net makes of it, and how well float32 determines that."""
    state = load_weights(model)
    with Image.open(real / "images" / "amber.jpg") as image:
        photo = image.convert("RGB")
    whole = np.asarray(photo)
    found = {f"{height} x {width}": whole[200 : 200 + height, 100 : 100 + width] for height, width in SMALL_SIZES_HW}
    found["one colour"] = np.full((70, 90, 3), (200, 90, 30), np.uint8)
    found["stripes"] = np.where(np.arange(90)[:, None] % 2, found["one colour"], 0).astype(np.uint8)
    found["noise"] = np.random.default_rng(8).integers(0, 256, (301, 299, 3), dtype=np.uint8)
    parts = 1 if request.config.getoption("soak") or model.stem in LARGE_IN_EACH_RUN else 2
    height, width = LARGE_HW[0] // parts, LARGE_HW[1] // parts
    found[f"{height} x {width}"] = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
    return {
        name: (picture, reference(state, picture), self_quality_db(state, picture)) for name, picture in found.items()
    }


def self_quality_db(state: dict[str, torch.Tensor], picture: NDArray[np.uint8]) -> float:
    """How near the published net in float32 comes to itself in float64; asked of tiny pictures alone."""
    if picture.shape[0] * picture.shape[1] > TINY_PX or (picture == picture[0, 0]).all():
        return math.inf
    extended = Extended(ArraySource(picture)).rows(0, 8 if len(picture) < 8 else len(picture))
    nets = [TransformerNet(widths_of(state)) for _ in range(2)]
    styled = []
    for net, dtype in zip(nets, (torch.float32, torch.float64), strict=True):
        net.load_state_dict(state)
        with torch.inference_mode():
            batch = torch.from_numpy(extended.transpose(2, 0, 1)[np.newaxis].copy()).to(dtype)
            styled.append(net.to(dtype)(batch).numpy())
    return quality_db(*styled)


@pytest.mark.parametrize(("engine", "precision"), ENGINES, ids=str)
def test_an_engine_keeps_its_promise_at_every_size(
    model: Path, pictures: Pictures, engine: str, precision: str, say: Callable[[str], None]
) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    stylizer = Stylizer(model, device="cpu", engine=engine, precision=precision, memory_bytes=NO_LIMIT_BYTES)
    assert stylizer.description()["engine"] == engine
    promised = PROMISED_DB[stylizer.description()["precision"]]
    qualities_db = {}
    missed = {}
    for name, (picture, wanted, determined_db) in pictures.items():
        styled = stylizer.style_float(picture)
        assert styled.shape == picture.shape
        qualities_db[name] = round(quality_db(styled, wanted), 1)
        if qualities_db[name] < min(promised, determined_db - 6):
            missed[name] = (qualities_db[name], determined_db)
    say(f"{model.stem} {engine} {precision}: {qualities_db}")
    assert missed == {}
