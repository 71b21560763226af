"""The fast road gives the net's own numbers, and its gradients."""

from __future__ import annotations

import shutil

import pytest
import torch

from neural_style.folding import folded, unfolded
from neural_style.training_net import TrainingNet
from neural_style.transformer_net import TransformerNet

SIZES = [(1, 32, 24), (2, 16, 28), (3, 8, 8)]


@pytest.fixture
def net() -> TransformerNet:
    torch.manual_seed(1)
    net = TransformerNet((4, 8, 16))
    for name, parameter in net.named_parameters():
        if name.startswith("in") or ".in" in name:
            torch.nn.init.normal_(parameter, 1.0)  # norms that do something, unlike new ones
    return net


def picture(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) * 255


def slopes(net: torch.nn.Module, out: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradients of a random sum over the output."""
    net.zero_grad()
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(3)))
    return {name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None}


@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_output_and_gradients_are_the_nets_own(net, batch, height, width):
    rgb = picture(batch, 3, height, width)
    wanted = net(rgb)
    wanted_slopes = slopes(net, wanted)
    found = TrainingNet(net)(rgb)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
    for name, slope in slopes(net, found).items():
        assert (slope - wanted_slopes[name]).norm() < 1e-4 * wanted_slopes[name].norm(), name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of what torch.compile imports and tries out, which differs from run to run
def test_what_a_compiled_net_enlarges_has_the_same_gradients(net, tmp_path, monkeypatch):
    """Without the trials of what the processor can do; what it has, its list says."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing of other runs
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
    training_net, maps = TrainingNet(net), picture(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    found = []
    for up in (training_net._up, torch.compile(training_net._up)):
        leaf = maps.clone().requires_grad_()
        out = up(net.deconv1, net.in4, leaf)
        out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(3)))
        found.append((out, leaf.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-3)


def test_what_is_frozen_could_not_learn(net):
    """Its gradient in the plain net is rounding alone, of which Adam would make whole steps."""
    wanted_slopes = slopes(net, net(picture(1, 3, 32, 24)))
    TrainingNet(net)
    frozen = [name for name, each in net.named_parameters() if not each.requires_grad]
    assert len(frozen) == 15 + 5
    for name in frozen:
        sister = wanted_slopes[name.replace("bias", "weight")]
        assert wanted_slopes[name].norm() < 1e-5 * sister.norm(), name


def test_bfloat16_is_near(net):
    rgb = picture(1, 3, 32, 24)
    wanted = net(rgb)
    wanted_slopes = slopes(net, wanted)
    found = TrainingNet(net, dtype=torch.bfloat16)(rgb)
    assert found.dtype == torch.float32
    assert (found - wanted).norm() < 0.05 * (wanted - wanted.mean()).norm()
    found_slopes = slopes(net, found)
    assert {slope.dtype for slope in found_slopes.values()} == {torch.float32}
    found_all, wanted_all = (
        torch.cat([each[name].flatten() for name in found_slopes]) for each in (found_slopes, wanted_slopes)
    )
    assert torch.cosine_similarity(found_all, wanted_all, dim=0) > 0.95  # autocast of the plain net: 0.98


def test_four_neighbours_are_folded_row_by_row():
    rows = torch.tensor([[0.0, 1, 10, 11], [2, 3, 12, 13]])
    maps = torch.stack([rows, rows + 100])[None]
    assert folded(maps)[0, :, 0, 0].tolist() == [0, 100, 1, 101, 2, 102, 3, 103]
    assert folded(maps)[0, ::2, 0, 1].tolist() == [10, 11, 12, 13]
    assert torch.equal(unfolded(folded(maps)), maps)


def test_the_keys_of_the_net_inside_are_untouched(net):
    assert TrainingNet(net).net.state_dict().keys() == TransformerNet((4, 8, 16)).state_dict().keys()
    assert {name for name, _ in TrainingNet(net).named_buffers()} == {"_merged_rows"}
    assert all(key.startswith("net.") for key in TrainingNet(net).state_dict())


@pytest.mark.parametrize("relu", [False, True])
def test_many_pictures_at_once_are_normalised_as_one_is(net, relu):
    """A GPU takes a batch at once; on the CPU its pictures come one by one."""
    training_net = TrainingNet(net)
    maps, plus = (picture(3, 4, 8, 8).contiguous(memory_format=torch.channels_last) - 100 for _ in range(2))
    plain = net.in1(maps)
    wanted = (plain.relu() if relu else plain) + plus
    torch.testing.assert_close(training_net._normed(net.in1, maps, relu=relu, plus=plus), wanted)
    first = training_net._normed(net.in1, maps[:1], relu=relu, plus=plus[:1])
    torch.testing.assert_close(first, wanted[:1])
