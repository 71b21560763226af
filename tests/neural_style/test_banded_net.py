"""The net in bands against the published net on the whole picture, `TransformerNet` in eager mode."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neural_style.banded_net import BandedNet
from neural_style.errors import OutputError
from neural_style.memory_plan import BandPlan, Kept
from neural_style.pixels import ArraySource
from neural_style.transformer_net import TransformerNet


@cache
def lively_net(widths: tuple[int, int, int]) -> TransformerNet:
    """A net whose random weights make a picture of many levels."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(widths))
        net = TransformerNet(widths).eval().requires_grad_(False)
        for module in net.modules():
            if isinstance(module, torch.nn.InstanceNorm2d):
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
        net.deconv3.conv2d.weight.mul_(30)
        assert net.deconv3.conv2d.bias is not None
        net.deconv3.conv2d.bias.fill_(128)
    return net


def whole(net: TransformerNet, rgb_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return net(torch.from_numpy(rgb_HW3).permute(2, 0, 1)[None].float())[0].permute(1, 2, 0).numpy()


def in_bands(
    net: BandedNet, rgb_HW3: NDArray[np.uint8], *, kept: Kept = Kept.ALL, band_rows: int = 1, **options: Any
) -> NDArray[np.float32]:
    height, width = rgb_HW3.shape[:2]
    out = torch.full((-(-height // 4) * 4, -(-width // 4) * 4, 3), torch.nan)
    plan = BandPlan(kept=kept, band_rows=band_rows, memory_bytes=0, disk_bytes=0)

    def put(top: int, rows_HW3: torch.Tensor) -> None:
        out[top : top + len(rows_HW3)] = rows_HW3

    with torch.inference_mode():
        net.style(ArraySource(rgb_HW3), put, plan, **options)
    return out.numpy()


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    widths=st.sampled_from([(3, 5, 7), (4, 8, 16), (8, 8, 8), (8, 16, 32)]),
    kept=st.sampled_from(list(Kept)),
    band_rows=st.integers(1, 24),
    plain=st.booleans(),
    seed=st.integers(0, 2**16),
)
@pytest.mark.slow
def test_bands_of_any_height_give_the_whole_pictures_numbers(
    tmp_path: Path,
    height: int,
    width: int,
    widths: tuple[int, int, int],
    kept: Kept,
    band_rows: int,
    plain: bool,
    seed: int,
) -> None:
    rgb_HW3 = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    net = lively_net(widths)
    found = in_bands(BandedNet(net, plain=plain), rgb_HW3, kept=kept, band_rows=band_rows, folder=tmp_path)
    assert np.abs(found - whole(net, rgb_HW3)).max() < 0.05
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", list(Kept), ids=lambda kept: kept.name)
def test_what_is_kept_changes_nothing(rng: np.random.Generator, tmp_path: Path, kept: Kept) -> None:
    rgb_HW3 = rng.integers(0, 256, (21, 30, 3), dtype=np.uint8)
    net = lively_net((4, 8, 16))
    found = in_bands(BandedNet(net), rgb_HW3, kept=kept, band_rows=2, folder=tmp_path)
    assert np.abs(found - whole(net, rgb_HW3)).max() < 0.01


def test_an_array_that_may_not_be_written_is_read(rng: np.random.Generator) -> None:
    """As decoders give them; torch would warn of it, and warnings are errors here."""
    rgb_HW3 = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    net = BandedNet(lively_net((3, 5, 7)))
    wanted = in_bands(net, rgb_HW3)
    rgb_HW3.flags.writeable = False
    assert np.array_equal(in_bands(net, rgb_HW3), wanted)


def test_a_picture_of_one_colour_stays_one() -> None:
    """Whose norms take rounding for contrast, where that is not the same at every position."""
    rgb_HW3 = np.full((33, 47, 3), (200, 30, 90), np.uint8)
    net = lively_net((4, 8, 16))
    found = in_bands(BandedNet(net, plain=True), rgb_HW3, band_rows=3)
    assert np.ptp(found, axis=(0, 1)).max() == 0
    assert np.abs(found - whole(net, rgb_HW3)).max() < 0.05


@pytest.mark.parametrize("kept", list(Kept), ids=lambda kept: kept.name)
def test_progress_grows_to_the_end(rng: np.random.Generator, tmp_path: Path, kept: Kept) -> None:
    told: list[float] = []
    in_bands(
        BandedNet(lively_net((3, 5, 7))),
        rng.integers(0, 256, (40, 16, 3), dtype=np.uint8),
        kept=kept,
        folder=tmp_path,
        on_progress=told.append,
    )
    assert told == sorted(told)
    assert len(told) > 50
    assert told[0] < 0.05
    assert told[-1] == pytest.approx(1)


def test_bfloat16_spares_the_first_layers(rng: np.random.Generator) -> None:
    small = torch.from_numpy(rng.integers(0, 256, (1, 3, 12, 12)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(small, (96, 96), mode="bicubic").clamp(0, 255)
    rgb_HW3 = smooth[0].permute(1, 2, 0).numpy().astype(np.uint8)
    net = lively_net((8, 16, 32))
    wanted = whole(net, rgb_HW3)
    all_half = in_bands(BandedNet(net, front=torch.bfloat16, rest=torch.bfloat16), rgb_HW3, band_rows=24)
    spared = in_bands(BandedNet(net, rest=torch.bfloat16), rgb_HW3, band_rows=24)
    assert np.square(spared - wanted).mean() < 0.8 * np.square(all_half - wanted).mean()


def test_a_full_disk_is_one_sentence(rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OutputError, match="scratch file.*free some"):
        in_bands(
            BandedNet(lively_net((3, 5, 7))),
            rng.integers(0, 256, (16, 16, 3), dtype=np.uint8),
            kept=Kept.ON_DISK,
            folder=tmp_path,
        )
    assert list(tmp_path.iterdir()) == []
