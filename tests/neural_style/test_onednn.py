"""The same numbers as plain torch's, with oneDNN's operations and without them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from neural_style import onednn
from neural_style.onednn import FrozenConv, inner_products, products


@pytest.fixture(params=[True, False], ids=["oneDNN", "plain-torch"], autouse=True)
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(onednn, "_is_there", lambda: False)
    elif not onednn._is_there():
        pytest.skip("this torch has no oneDNN, or calls it otherwise")


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def last(maps: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return maps.to(dtype, memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str)
@pytest.mark.parametrize("relu", [True, False])
def test_a_frozen_convolution_is_the_plain_one_for_every_shape(dtype, within, relu):
    weight, bias = numbers(8, 5, 3, 3), numbers(8, seed=2)
    conv = FrozenConv(weight.to(dtype), bias.to(dtype), relu=relu)
    for shape in ((1, 5, 16, 12), (2, 5, 16, 12), (1, 5, 7, 9), (1, 5, 16, 12)):
        wanted = functional.conv2d(numbers(*shape, seed=3), weight, bias, padding=1)
        wanted = wanted.relu() if relu else wanted
        found = conv(last(numbers(*shape, seed=3), dtype))
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert (found - wanted).norm() < within * wanted.norm()


def test_products_are_taken_pair_by_pair():
    left, right = numbers(3, 10, 4), numbers(3, 4, 6, seed=2)
    torch.testing.assert_close(products(left.float(), right.float()), (left @ right).float())
    torch.testing.assert_close(products(left[:1].float(), right[:1].float()), (left @ right)[:1].float())


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)], ids=str)
def test_products_are_added_in_place_through_a_view(dtype, within):
    sums = numbers(2, 6, 3, 5, seed=3).to(dtype).contiguous(memory_format=torch.channels_last)
    left, right = numbers(2, 15, 4), numbers(2, 4, 6, seed=2)
    wanted = sums.double() + (left @ right).view(2, 3, 5, 6).permute(0, 3, 1, 2)
    onednn.add_products(sums.permute(0, 2, 3, 1).flatten(1, 2), left.to(dtype), right.to(dtype))
    assert (sums - wanted).norm() < within * wanted.norm()


@pytest.mark.parametrize("num_columns", [8, 160])
@pytest.mark.parametrize("num_rows", [256, 250], ids=["sliced", "odd"])
@pytest.mark.parametrize("batch", [1, 2])
def test_inner_products_of_float32_are_exact(num_columns, num_rows, batch):
    values = numbers(batch, num_rows, num_columns)
    wanted = values.transpose(1, 2) @ values
    assert (inner_products(values.float()) - wanted).norm() < 1e-6 * wanted.norm()


@pytest.mark.parametrize("num_rows", [4096, 250], ids=["sliced", "odd"])
def test_inner_products_of_bfloat16_are_better_than_bfloat16(num_rows):
    values = numbers(1, num_rows, 32).relu().bfloat16()
    exact = values.double().transpose(1, 2) @ values.double()
    found = inner_products(values)
    assert found.dtype == torch.float32
    plain = values.transpose(1, 2) @ values
    assert (found - exact).norm() < 0.35 * (plain - exact).norm()
