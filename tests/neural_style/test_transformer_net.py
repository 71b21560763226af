"""The net's attribute names are the format of every published weight file."""

from __future__ import annotations

import pytest
import torch

from neural_style.transformer_net import TransformerNet

# Written out from the published state dicts, not made from the code under test.
LAYERS = ["conv1", "conv2", "conv3"]
BLOCKS = ["res1", "res2", "res3", "res4", "res5"]
PUBLISHED_KEYS = {
    *(f"{layer}.conv2d.{part}" for layer in LAYERS for part in ("weight", "bias")),
    *(f"in{n}.{part}" for n in (1, 2, 3, 4, 5) for part in ("weight", "bias")),
    *(f"{block}.conv{n}.conv2d.{part}" for block in BLOCKS for n in (1, 2) for part in ("weight", "bias")),
    *(f"{block}.in{n}.{part}" for block in BLOCKS for n in (1, 2) for part in ("weight", "bias")),
    *(f"deconv{n}.conv2d.{part}" for n in (1, 2, 3) for part in ("weight", "bias")),
}


def test_the_keys_are_the_published_ones() -> None:
    assert len(PUBLISHED_KEYS) == 62
    assert set(TransformerNet().state_dict()) == PUBLISHED_KEYS


@pytest.mark.parametrize("widths", [(32, 64, 128), (16, 32, 64), (4, 8, 16), (3, 5, 7)], ids=str)
def test_the_shapes_follow_the_widths(widths: tuple[int, int, int]) -> None:
    full, half, quarter = widths
    shapes = {key: tuple(tensor.shape) for key, tensor in TransformerNet(widths).state_dict().items()}
    assert shapes["conv1.conv2d.weight"] == (full, 3, 9, 9)
    assert shapes["conv2.conv2d.weight"] == (half, full, 3, 3)
    assert shapes["conv3.conv2d.weight"] == (quarter, half, 3, 3)
    assert shapes["res3.conv2.conv2d.weight"] == (quarter, quarter, 3, 3)
    assert shapes["deconv1.conv2d.weight"] == (half, quarter, 3, 3)
    assert shapes["deconv2.conv2d.weight"] == (full, half, 3, 3)
    assert shapes["deconv3.conv2d.weight"] == (3, full, 9, 9)
    assert shapes["in4.weight"] == (half,)


def test_the_usual_net_is_the_default() -> None:
    assert TransformerNet().conv1.conv2d.weight.shape[0] == 32


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 5), (9, 14), (61, 67)])
def test_sizes_are_rounded_up_to_a_multiple_of_four(height: int, width: int) -> None:
    with torch.inference_mode():
        out = TransformerNet((2, 3, 4))(torch.zeros(1, 3, height, width))
    assert out.shape == (1, 3, -(-height // 4) * 4, -(-width // 4) * 4)
