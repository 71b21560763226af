"""The style model's steps, against the published loop as `published_loop` states it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neural_style import perceptual, style_model
from neural_style.devices import arithmetic
from neural_style.errors import PictureError, SettingError
from neural_style.style_model import StyleModel
from neural_style.train import DataModule, Trainer
from neural_style.train_config import TrainConfig
from neural_style.vgg import Vgg16, random_vgg16
from tests.neural_style.published_loop import PublishedLoop
from tests.neural_style.training import Alone, losses_of

WIDTHS = (8, 16, 32)


@pytest.fixture(scope="module")
def vgg() -> Vgg16:
    return random_vgg16(seed=1)


@pytest.fixture(name="style_HW3")
def style_picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.fixture
def make_model(vgg: Vgg16, style_HW3: np.ndarray):
    def make(*, fast_init: bool = False, **fields: Any) -> StyleModel:
        config = TrainConfig(**{"widths": WIDTHS, "image_px": 32, **fields})
        model = StyleModel(config, style_rgb_HW3=style_HW3, vgg=vgg)
        model.trainer = Alone()  # type: ignore[assignment]
        model.setup(fast_init=fast_init)
        return model

    return make


@pytest.fixture
def published(vgg: Vgg16, style_HW3: np.ndarray) -> PublishedLoop:
    style = torch.from_numpy(style_HW3.astype(np.float32)).permute(2, 0, 1)
    return PublishedLoop(vgg.state_dict(), style, widths=WIDTHS)


def batch(seed: int, num_pictures: int = 4, px: int = 32) -> torch.Tensor:
    return torch.rand((num_pictures, 3, px, px), generator=torch.Generator().manual_seed(seed)) * 255


def weights_slope(net: nn.Module) -> torch.Tensor:
    """The gradient at all weights that can learn; see `test_training_net` for those that cannot."""
    named = dict(net.named_parameters())
    names = [
        n
        for n in named
        if n.endswith("weight") or n.startswith("in") or n.endswith(("in1.bias", "deconv3.conv2d.bias"))
    ]
    return torch.cat([named[name].grad.flatten() for name in sorted(names)])


def assert_same_losses(model: StyleModel, wanted, *, rel: float) -> None:
    assert model.metrics["content_loss"].item() == pytest.approx(wanted.content.item(), rel=rel)
    assert model.metrics["style_loss"].item() == pytest.approx(wanted.style.item(), rel=rel)
    assert model.metrics["loss"].item() == pytest.approx(wanted.total.item(), rel=rel)


@pytest.mark.slow
@pytest.mark.parametrize("num_pictures", [4, 1, 3], ids=["whole", "one", "smaller-last"])
def test_the_first_step_is_the_published_loops(make_model, published, num_pictures):
    model = make_model()
    model.train_step(batch(2, num_pictures))
    wanted = published.step(batch(2, num_pictures))
    assert_same_losses(model, wanted, rel=1e-4)
    found_slope, wanted_slope = weights_slope(model.transformer), weights_slope(published.net)
    assert torch.cosine_similarity(found_slope, wanted_slope, dim=0) > 1 - 1e-4
    assert found_slope.norm().item() == pytest.approx(wanted_slope.norm().item(), rel=1e-2)


@pytest.mark.slow
def test_the_first_step_of_the_published_net_is_the_published_loops(vgg, style_HW3):
    model = StyleModel(TrainConfig(), style_rgb_HW3=style_HW3, vgg=vgg)
    model.trainer = Alone()  # type: ignore[assignment]
    model.setup()
    published = PublishedLoop(vgg.state_dict(), torch.from_numpy(style_HW3.astype(np.float32)).permute(2, 0, 1))
    model.train_step(batch(2, 4, 128))
    assert_same_losses(model, published.step(batch(2, 4, 128)), rel=1e-4)
    found_slope, wanted_slope = weights_slope(model.transformer), weights_slope(published.net)
    assert torch.cosine_similarity(found_slope, wanted_slope, dim=0) > 1 - 1e-4


@pytest.mark.slow
def test_later_steps_stay_near_the_published_loops(make_model, published):
    model = make_model()
    for seed, num_pictures in ((2, 4), (3, 4), (4, 2)):
        model.train_step(batch(seed, num_pictures))
        wanted = published.step(batch(seed, num_pictures))
    assert_same_losses(model, wanted, rel=5e-3)


@pytest.mark.slow
def test_the_first_weights_are_the_published_scripts(make_model, published):
    state = published.net.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in make_model().transformer.state_dict().items())


@pytest.mark.slow
def test_setup_leaves_the_random_numbers_of_others_alone(make_model):
    before = torch.random.get_rng_state()
    make_model()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_metrics_are_tensors_that_nobody_waited_for(make_model, monkeypatch):
    model = make_model(total_variation_weight=2.0)

    def waiting(*_args: object) -> None:
        raise AssertionError("the step waits for the device")

    with monkeypatch.context() as patched:
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
            patched.setattr(torch.Tensor, name, waiting)
        model.train_step(batch(2))
    parts = [model.metrics[f"{name}_loss"] for name in ("content", "style", "total_variation")]
    assert {each.shape for each in (*parts, model.metrics["loss"])} == {()}
    assert not any(each.requires_grad for each in parts)
    torch.testing.assert_close(model.metrics["loss"], sum(parts))
    assert parts[2] > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_others(make_model):
    def trained(seed: int) -> torch.Tensor:
        model = make_model(seed=seed)
        for number in range(2):
            model.train_step(batch(number, 2))
        return torch.cat([each.flatten() for each in model.transformer.state_dict().values()])

    first = trained(42)
    assert torch.equal(first, trained(42))
    assert not torch.equal(first, trained(43))


@pytest.mark.slow
def test_the_weights_do_not_depend_on_which_thread_took_which_picture(make_model):
    torch.set_num_threads(2)

    def trained() -> torch.Tensor:
        model = make_model()
        for number in range(3):
            model.train_step(batch(number, 3))
        return torch.cat([each.flatten() for each in model.transformer.state_dict().values()])

    first = trained()
    assert all(torch.equal(first, trained()) for _ in range(2))


@pytest.mark.slow
def test_training_makes_it_better(make_model):
    losses = losses_of(make_model(), batch(2, 1), steps=8)
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.slow
def test_a_resumed_model_goes_on_as_if_nothing_had_been(make_model, tmp_path):
    model, resumed = make_model(), make_model(seed=7)
    model.train_step(batch(2, 1))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each in (model, resumed):
        each.train_step(batch(3, 1))
    for key, tensor in model.transformer.state_dict().items():
        assert torch.equal(tensor, resumed.transformer.state_dict()[key]), key


def test_the_state_holds_no_vgg_and_the_published_keys(make_model):
    state = make_model().state_dict()
    assert state.keys() == {"net", "optimizer"}
    assert len(state["net"]) == 62


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["valid", "test"])
def test_judging_takes_the_mean_over_all_pictures(make_model, kind):
    model = make_model(fast_init=kind == "test")
    model.on_validation_start(0) if kind == "valid" else model.on_testing_start()
    step = model.valid_step if kind == "valid" else model.test_step
    before = [each.clone() for each in model.transformer.parameters()]
    step(batch(2, 3))
    of_three = model.metrics[f"{kind}_loss"]
    step(batch(3, 1))
    of_four = model.metrics[f"{kind}_loss"]
    model.on_validation_start(1) if kind == "valid" else model.on_testing_start()
    step(batch(3, 1))
    torch.testing.assert_close(of_four, (3 * of_three + model.metrics[f"{kind}_loss"]) / 4)
    assert all(map(torch.equal, before, model.transformer.parameters()))
    assert "loss" not in model.metrics


def test_the_style_picture_is_brought_to_its_size(vgg, style_HW3, monkeypatch):
    shapes = []
    monkeypatch.setattr(
        perceptual.PerceptualLoss, "__init__", lambda _self, _vgg, style, **_: shapes.append(tuple(style.shape))
    )
    for style_px in (None, 24):
        model = StyleModel(TrainConfig(widths=WIDTHS, style_px=style_px), style_rgb_HW3=style_HW3, vgg=vgg)
        model.trainer = Alone()  # type: ignore[assignment]
        model.setup()
    assert shapes == [(1, 3, 40, 52), (1, 3, 24, 24)]


def test_a_style_picture_too_small_to_judge_is_refused(vgg, style_HW3):
    with pytest.raises(PictureError, match="^the style picture: wanted 16 pixels a side or more, found 52 x 15"):
        StyleModel(TrainConfig(), style_rgb_HW3=style_HW3[:15], vgg=vgg)


@pytest.mark.slow
def test_pictures_of_an_odd_size_are_refused(make_model):
    sentence = "wanted a multiple of 4, 16 or more, for height and width, found {0} x {0} pixels; crop them"
    for px in (33, 12):
        with pytest.raises(SettingError, match=sentence.format(px)):
            make_model().train_step(batch(2, 1, px))


def test_bfloat16_is_asked_for_and_had_only_where_the_device_computes_with_it(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert arithmetic("bf16", cpu) == torch.bfloat16
    assert arithmetic("float32", cpu) == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False})
    assert arithmetic("bf16", cpu) == torch.float32
    assert arithmetic("bf16", torch.device("mps")) == torch.float32


@pytest.mark.slow
def test_a_step_in_bfloat16_is_near_one_in_float32(make_model, monkeypatch):
    full = make_model()
    monkeypatch.setattr(style_model, "arithmetic", lambda *_: torch.bfloat16)
    half = make_model(precision="bf16")
    for model in (half, full):
        model.train_step(batch(2, 2))
    assert half.metrics["loss"].item() == pytest.approx(full.metrics["loss"].item(), rel=0.02)
    slopes = [weights_slope(model.transformer) for model in (half, full)]
    assert torch.cosine_similarity(*slopes, dim=0) > 0.9
    assert {each.dtype for each in half.transformer.state_dict().values()} == {torch.float32}


@pytest.mark.slow
def test_the_trainer_runs_it(vgg, style_HW3):
    class Two(DataModule):
        def train_loader(self):
            return [batch(2, 2), batch(3, 1)]

        def valid_loader(self):
            return [batch(4, 1)]

    model = StyleModel(TrainConfig(widths=(2, 4, 4)), style_rgb_HW3=style_HW3, vgg=vgg)
    trainer = Trainer(max_epochs=1, device="cpu", validate_every=1)
    trainer.fit(model, Two())
    assert trainer.state.step == 2
    assert model.metrics["valid_loss"] > 0 < model.metrics["loss"]
