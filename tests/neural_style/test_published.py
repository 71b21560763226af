"""Results are the published net's own, written a second time in plain functions (see conftest)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from neural_style.images import load_image
from neural_style.stylize import Stylizer

pytestmark = pytest.mark.slow

Reference = Callable[..., NDArray[np.float32]]

# dB against the authors' pictures, for JPEG at quality 75 (the table that comes with them)
PUBLISHED_PSNR_DB = {"mosaic_nc16": 29.5, "candy_nc16": 37.6, "mosaic_nc8": 28.5, "candy_nc8": 36.2}
SMALL_SIZES = [(height, width) for height in range(1, 8) for width in range(1, 8)]


def worst_difference(stylizer: Stylizer, state: dict, rgb_HW3: NDArray[np.uint8], reference: Reference) -> int:
    """In levels of 255, between rounded pictures."""
    styled_HW3 = stylizer.style(rgb_HW3)
    assert styled_HW3.shape == rgb_HW3.shape
    assert styled_HW3.dtype == np.uint8
    wanted_HW3 = np.rint(reference(state, rgb_HW3))
    return int(np.abs(styled_HW3 - wanted_HW3).max())


def crop_of(real: Path, height: int, width: int) -> NDArray[np.uint8]:
    with Image.open(real / "images" / "amber.jpg") as image:
        return np.asarray(image.convert("RGB"))[200 : 200 + height, 100 : 100 + width]


@pytest.fixture(scope="module", params=PUBLISHED_PSNR_DB)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def published(real: Path, model: str) -> tuple[Stylizer, dict[str, torch.Tensor]]:
    path = real / "saved_models" / f"{model}.pth"
    return Stylizer(path, device="cpu"), torch.load(path, map_location="cpu", weights_only=True)


@pytest.mark.parametrize(("height", "width"), [(333, 501), (61, 67), (5, 5), (8, 3), (7, 64)])
def test_published_weights_give_the_published_nets_pixels(
    published: tuple, real: Path, reference: Reference, height: int, width: int
) -> None:
    assert worst_difference(*published, crop_of(real, height, width), reference) <= 1


def test_published_weights_style_the_smallest_pictures(published: tuple, real: Path, reference: Reference) -> None:
    worst = {size: worst_difference(*published, crop_of(real, *size), reference) for size in SMALL_SIZES}
    assert {size: levels for size, levels in worst.items() if levels > 1} == {}


@pytest.mark.slow
def test_published_weights_give_the_published_nets_picture(published: tuple, real: Path, reference: Reference) -> None:
    whole = np.asarray(load_image(real / "images" / "amber.jpg"))
    assert whole.shape == (1080, 1080, 3)
    assert worst_difference(*published, whole, reference) <= 1


@pytest.mark.slow
def test_results_are_as_near_the_authors_pictures_as_published(
    published: tuple, real: Path, model: str, tmp_path: Path
) -> None:
    published[0].style_file(real / "images" / "amber.jpg", tmp_path / "out.jpg", quality=75)
    found = load_image(tmp_path / "out.jpg").rgb_HW3.astype(np.float64)
    with Image.open(real / "published" / f"amber-{model}.jpg") as image:
        theirs = np.asarray(image.convert("RGB")).astype(np.float64)
    psnr_db = 10 * np.log10(255**2 / np.mean((found - theirs) ** 2))
    assert abs(psnr_db - PUBLISHED_PSNR_DB[model]) <= 0.2


@pytest.mark.parametrize("widths", [(4, 8, 16), (3, 5, 7), (8, 8, 8)], ids=str)
@pytest.mark.parametrize("old", [False, True], ids=["new", "with-running-statistics"])
def test_weights_of_any_width_give_the_published_nets_pixels(
    tmp_path: Path,
    rng: np.random.Generator,
    reference: Reference,
    make_state: Callable[..., dict[str, torch.Tensor]],
    widths: tuple[int, int, int],
    old: bool,
) -> None:
    state = make_state(widths)
    statistics = {
        f"{name}.running_{what}": torch.full((widths[0],), 5.0) for name in ("in1", "in5") for what in ("mean", "var")
    }
    torch.save({**state, **statistics} if old else state, tmp_path / "w.pth")
    stylizer = Stylizer(tmp_path / "w.pth", device="cpu")
    for size in [(61, 67), (5, 5), (33, 8), *SMALL_SIZES]:
        rgb_HW3 = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        assert worst_difference(stylizer, state, rgb_HW3, reference) <= 1, size
    assert 10 < reference(state, rng.integers(0, 256, (61, 67, 3), dtype=np.uint8)).std() < 120  # no blank pictures


def test_the_reference_itself_makes_pictures(
    small_state: dict[str, torch.Tensor], rgb_HW3: NDArray[np.uint8], reference: Reference
) -> None:
    wanted = reference(small_state, rgb_HW3)
    assert 10 < wanted.std() < 120  # neither grey nor all clamped: then every comparison above would pass
    # and a change of one weight is seen
    other = {**small_state, "res3.in1.bias": small_state["res3.in1.bias"] * 1.5}
    assert np.abs(reference(other, rgb_HW3) - wanted).max() > 1
