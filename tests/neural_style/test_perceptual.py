"""Losses and gradient, written out, against the published loop's, recorded by autograd."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cosine_similarity

from neural_style import onednn, perceptual
from neural_style.losses import total_variation
from neural_style.perceptual import Losses, LossWeights, PerceptualLoss
from neural_style.vgg import Vgg16, random_vgg16
from tests.neural_style.published_loop import PublishedLoop, gram, normalized

CONTENT, STYLE = 1e5, 1e10


@pytest.fixture(scope="module")
def vgg() -> Vgg16:
    return random_vgg16(seed=1)


@pytest.fixture(scope="module")
def pictures() -> Callable[..., torch.Tensor]:
    """Noise of 0-255, another for every seed."""
    return lambda seed, *shape: torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 255


@pytest.fixture(scope="module")
def style(pictures) -> torch.Tensor:
    return pictures(1, 3, 40, 52)


@pytest.fixture(scope="module")
def pair(pictures) -> tuple[torch.Tensor, torch.Tensor]:
    """Two styled pictures and what they were made from."""
    return pictures(2, 2, 3, 32, 24), pictures(3, 2, 3, 32, 24)


@pytest.fixture(scope="module")
def published(vgg, style, pair) -> tuple[Losses, torch.Tensor]:
    """The published loop's losses in float64, and autograd's gradient of them."""
    wide = {key: tensor.double() for key, tensor in vgg.state_dict().items()}
    loop = PublishedLoop(wide, style.double(), widths=(2, 2, 2), batch_size=2)
    out, content = (each.double() for each in pair)
    out.requires_grad_()
    found, wanted = loop.judge(normalized(out.clone())), loop.judge(normalized(content))
    losses = Losses(
        CONTENT * loop.mse(found[1], wanted[1]),
        STYLE * sum(loop.mse(gram(each), matrix) for each, matrix in zip(found, loop.grams, strict=True)),
        torch.zeros(()),
    )
    losses.total.backward()
    return losses, out.grad


def judge(vgg: Vgg16, style: torch.Tensor, *, variation: float = 0.0, dtype: torch.dtype = torch.float32):
    weights = LossWeights(content=CONTENT, style=STYLE, total_variation=variation)
    return PerceptualLoss(vgg, style[None], weights=weights, dtype=dtype)


def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.slow
@pytest.mark.parametrize("library", ["oneDNN", "plain-torch"])
def test_losses_and_gradient_are_the_published_loops(vgg, style, pair, published, monkeypatch, library):
    if library == "plain-torch":
        monkeypatch.setattr(onednn, "_is_there", lambda: False)
    losses, gradient = judge(vgg, style).gradient(*pair)
    assert losses.content.item() == pytest.approx(published[0].content.item(), rel=1e-5)
    assert losses.style.item() == pytest.approx(published[0].style.item(), rel=1e-5)
    assert gradient.dtype == torch.float32
    assert apart(gradient, published[1]) < 1e-5


@pytest.mark.slow
def test_losses_without_a_gradient_are_the_same(vgg, style, pair):
    judged = judge(vgg, style, variation=3.0)
    for found, wanted in zip(judged.losses(*pair), judged.gradient(*pair)[0], strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.slow
def test_the_parts_of_a_batch_add_up(vgg, style, pair):
    judged = judge(vgg, style, variation=3.0)
    losses, gradient = judged.gradient(*pair)
    first, second = (judged.gradient(*(each[n : n + 1] for each in pair), num_pictures=2) for n in (0, 1))
    for found, wanted in zip(first[0].plus(second[0]), losses, strict=True):
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_total_variation_is_added_with_its_gradient(vgg, style, pair):
    out = pair[0].clone().requires_grad_()
    (3.0 * total_variation(out)).backward()
    plain, varied = (judge(vgg, style, variation=weight).gradient(*pair) for weight in (0.0, 3.0))
    assert plain[0].total_variation.item() == 0
    torch.testing.assert_close(varied[0].total_variation, 3.0 * total_variation(pair[0]))
    torch.testing.assert_close(varied[1], plain[1] + out.grad)
    torch.testing.assert_close(varied[0].total, plain[0].total + varied[0].total_variation)


@pytest.mark.slow
def test_bfloat16_judges_nearly_alike(vgg, style, pair, published):
    losses, gradient = judge(vgg, style, dtype=torch.bfloat16).gradient(*pair)
    assert losses.style.dtype == gradient.dtype == torch.float32
    assert losses.content.item() == pytest.approx(published[0].content.item(), rel=0.01)
    assert losses.style.item() == pytest.approx(published[0].style.item(), rel=0.03)
    assert cosine_similarity(gradient.double().flatten(), published[1].flatten(), dim=0) > 0.98


@pytest.mark.slow
def test_the_style_is_looked_at_once_and_the_content_no_deeper_than_needed(vgg, style, pair, monkeypatch):
    shapes = []

    class Watched(onednn.FrozenConv):
        def __call__(self, features):
            shapes.append(tuple(features.shape))
            return super().__call__(features)

    monkeypatch.setattr(perceptual, "FrozenConv", Watched)
    judged = judge(vgg, style)
    assert len(shapes) == 10
    assert {shape[0] for shape in shapes} == {1}
    shapes.clear()
    judged.gradient(*pair)
    assert len(shapes) == 4 + 10 + 10  # the content to relu2_2, the result to relu4_3, and all the way back


@pytest.mark.slow
def test_of_the_style_no_more_is_kept_than_the_next_layer_needs(vgg, style, monkeypatch):
    """The features of a large painting take gigabytes."""
    there: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = []

    class Watched(onednn.FrozenConv):
        def __call__(self, features):
            out = super().__call__(features)
            there.add(out)
            most.append(len(there))
            return out

    monkeypatch.setattr(perceptual, "FrozenConv", Watched)
    judge(vgg, style)
    assert max(most) == 2


@pytest.mark.slow
def test_nothing_it_was_given_is_changed(vgg, style, pair):
    before = [each.clone() for each in (*vgg.state_dict().values(), style, *pair)]
    judge(vgg, style, variation=1.0).gradient(*pair)
    assert all(map(torch.equal, before, (*vgg.state_dict().values(), style, *pair)))
