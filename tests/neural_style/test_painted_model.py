"""The model of random features: its parts, its first steps, its draws; and that parts of a batch are the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from neural_style import painted_model
from neural_style.drawn import draw_scene
from neural_style.errors import PictureError, SettingError
from neural_style.losses import gram_matrix, total_variation
from neural_style.painted_model import PaintedStyleModel
from neural_style.random_features import Draws, local_correlation, out_of_range, sliced_wasserstein
from neural_style.train import DataModule, Trainer
from neural_style.train_config import config_for
from tests.neural_style.training import Alone, losses_of

WHOLE_LOSS, PX = 60, 64
PARTS = ("content", "style", "total_variation")
Make = Callable[..., PaintedStyleModel]


@pytest.fixture(scope="module")
def painting() -> np.ndarray:
    """A scene will do, and is drawn sooner."""
    return draw_scene(7, width_px=120, height_px=80)


@pytest.fixture
def make_model(painting: np.ndarray) -> Make:
    def make(*, step: int = WHOLE_LOSS, fast_init: bool = False, **fields: Any) -> PaintedStyleModel:
        config = config_for(
            {"features": "random", "widths": (4, 4, 8), "image_px": PX, "style_px": 72, "batch_size": 3, **fields}
        )
        model = PaintedStyleModel(config, style_rgb_HW3=painting)
        model.trainer = Alone(step)  # type: ignore[assignment]
        model.setup(fast_init=fast_init)
        return model

    return make


def batch(*seeds: int, px: int = PX) -> torch.Tensor:
    scenes = [draw_scene(seed, width_px=px, height_px=px) for seed in seeds]
    return torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2).float()


def measured(model: PaintedStyleModel, prefix: str = "") -> dict[str, float]:
    return {name: model.metrics[f"{prefix}{name}_loss"].item() for name in PARTS}


def weights_of(model: PaintedStyleModel) -> torch.Tensor:
    return torch.cat([each.flatten() for each in model.transformer.state_dict().values()])


def slopes_of(model: PaintedStyleModel) -> torch.Tensor:
    return torch.cat([each.grad.flatten() for each in model._trained])


def whole_losses(
    model: PaintedStyleModel, pictures_255: torch.Tensor, out_255: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """The whole loss, written down for the whole batch at once, with the draws of the model's step."""
    config, content = model.config, pictures_255 / 255
    out = (model.transformer(pictures_255) if out_255 is None else out_255) / 255
    target = model._palette.recoloured(content)
    nearest = model._patches.nearest(target)
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + model.trainer.state.step)
    style = torch.zeros(())
    for tap, every_style in zip(model._judge(out), model._patches.taps, strict=True):
        there = every_style[nearest]
        num_there, num_here = there[0, 0].numel(), tap[0, 0].numel()
        draws = Draws.drawn(tap.shape[1], num_there=num_there, num_here=num_here, num_positions=4096, random=random)
        grams, wanted = gram_matrix(tap), gram_matrix(there)
        apart = ((grams - wanted) ** 2).sum(dim=(1, 2)) / (wanted**2).sum(dim=(1, 2))
        style = style + (apart.mean() + sliced_wasserstein(tap, there, draws)) / 2
    coarse = sum(
        functional.mse_loss(functional.avg_pool2d(out, scale), functional.avg_pool2d(target, scale)) for scale in (4, 8)
    )
    return {
        "content": config.content_weight * (1 - local_correlation(out, content) + 8 * coarse),
        "style": config.style_weight * style / 4,
        "total_variation": config.total_variation_weight * total_variation(out) + out_of_range(out),
    }


# --- the whole loss


@pytest.mark.slow
def test_the_parts_of_a_batch_are_the_whole_batch(make_model, monkeypatch):
    monkeypatch.setattr(PaintedStyleModel, "_longest_gradient", None)
    model = make_model()
    wanted = whole_losses(model, batch(1, 2, 3))
    wanted_slopes = torch.autograd.grad(sum(wanted.values()), model._trained)
    model.train_step(batch(1, 2, 3))
    assert measured(model) == pytest.approx({name: each.item() for name, each in wanted.items()}, rel=1e-4)
    flat = torch.cat([each.flatten() for each in wanted_slopes])
    # The plain net's pictures differ by roundings, which change who is whose neighbour where values are sorted.
    assert (slopes_of(model) - flat).norm() < 0.02 * flat.norm()


@pytest.mark.slow
def test_the_gradient_at_the_pictures_is_that_of_the_whole_batch(make_model):
    """To rounding, where the pictures that are judged are the same."""
    model, content = make_model(), batch(1, 2, 3)
    model._before_batch(content, learns=True)
    out = batch(4, 5, 6).requires_grad_()
    (wanted,) = torch.autograd.grad(sum(whole_losses(model, content, out).values()), out)
    parts = zip(torch.split(out, 1), torch.split(content, 1), strict=True)
    found = torch.cat([model._gradient(each.detach(), of, num_pictures=3)[1] for each, of in parts])
    assert (found - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_each_part_has_its_weight(make_model, name):
    losses = []
    for factor in (1, 3):
        plain = config_for({"features": "random"})
        model = make_model(**{f"{name}_weight": factor * getattr(plain, f"{name}_weight")})
        model.train_step(batch(1, 2))
        losses.append(measured(model))
    for each in PARTS:
        out_of_range_too = 0 if each != name or name != "total_variation" else losses[0][name]
        factor = 3 if each == name else 1
        assert losses[1][each] == pytest.approx(factor * losses[0][each], rel=1e-5, abs=out_of_range_too)
    assert losses[1][name] > losses[0][name]


@pytest.mark.slow
def test_the_loss_is_the_sum_of_its_parts(make_model):
    model = make_model()
    model.train_step(batch(1, 2))
    assert model.metrics["loss"].item() == pytest.approx(sum(measured(model).values()))
    assert not any(each.requires_grad or each.ndim for each in model.metrics.values())


@pytest.mark.slow
def test_what_is_out_of_range_costs(make_model):
    found = []
    for bias in (0.0, 400.0):
        model = make_model(total_variation_weight=0.0)
        with torch.no_grad():
            model.transformer.deconv3.conv2d.bias += bias
        wanted = out_of_range(model.transformer(batch(1)) / 255).item()
        model.train_step(batch(1))
        assert measured(model)["total_variation"] == pytest.approx(wanted, rel=1e-4)
        found.append(wanted)
    assert found[1] > found[0] + 1


@pytest.mark.slow
def test_the_smallest_pictures_that_are_taken_have_the_whole_loss(make_model):
    model = make_model(image_px=56)
    model.train_step(batch(1, px=56))
    assert all(np.isfinite(each) for each in measured(model).values())
    for px in (52, 57):
        with pytest.raises(SettingError, match=f"multiple of 4, 56 or more, .* found {px} x {px} pixels; crop them"):
            model.train_step(batch(1, px=px))


# --- the first steps


@pytest.mark.slow
@pytest.mark.parametrize(("step", "is_first"), [(0, True), (59, True), (60, False)])
def test_the_first_steps_only_recolour(make_model, step, is_first):
    model = make_model(step=step)
    target = model._palette.recoloured(batch(1, 2) / 255)
    wanted = 10 * functional.mse_loss(model.transformer(batch(1, 2)) / 255, target).item()
    model.train_step(batch(1, 2))
    found = measured(model)
    assert (found == {"content": pytest.approx(wanted, rel=1e-4), "style": 0, "total_variation": 0}) is is_first
    assert (found["style"] > 0) is not is_first


@pytest.mark.slow
def test_the_first_steps_learn_the_paintings_colours(make_model):
    seen = losses_of(make_model(step=0), batch(1, 2), steps=12)
    assert seen[-1] < 0.8 * seen[0]


@pytest.mark.slow
def test_a_long_gradient_is_cut(make_model, monkeypatch):
    def length(longest: float | None) -> float:
        monkeypatch.setattr(PaintedStyleModel, "_longest_gradient", longest)
        model = make_model(style_weight=1000.0)
        model.train_step(batch(1))
        return slopes_of(model).norm().item()

    assert PaintedStyleModel._longest_gradient == 5
    assert length(None) > 50
    assert length(5.0) == pytest.approx(5, rel=1e-3)


def test_the_last_layer_begins_with_contrast_and_the_paintings_mean(make_model):
    torch.manual_seed(42)
    plain = painted_model.TransformerNet((4, 4, 8))
    model = make_model()
    last = model.transformer.deconv3.conv2d
    assert torch.equal(last.weight, 60 * plain.deconv3.conv2d.weight)
    torch.testing.assert_close(last.bias, 255 * model._palette.mean_3)
    assert torch.equal(model.transformer.conv1.conv2d.weight, plain.conv1.conv2d.weight)


# --- regions, seeds, threads


@pytest.mark.slow
def test_each_picture_is_judged_by_the_part_of_the_painting_that_is_most_like_it(make_model, monkeypatch):
    model = make_model()
    nearest = model._patches.nearest(model._palette.recoloured(batch(1) / 255)).item()
    wanted = whole_losses(model, batch(1))["style"].item()
    found = []
    for number in (nearest, (nearest + 1) % len(model._patches.grams[0])):
        other = make_model()
        monkeypatch.setattr(other._patches, "nearest", lambda looked, number=number: torch.full((len(looked),), number))
        other.train_step(batch(1))
        found.append(measured(other)["style"])
    model.train_step(batch(1))
    assert measured(model)["style"] == pytest.approx(wanted, rel=1e-4) == pytest.approx(found[0], rel=1e-4)
    assert abs(found[1] - wanted) > 1e-3 * wanted


@pytest.mark.slow
def test_draws_are_of_the_seed_and_the_step(make_model):
    def drawn(**given: Any) -> torch.Tensor:
        model = make_model(**given)
        model.train_step(batch(1))
        return model._draws[0].here

    assert torch.equal(drawn(), drawn())
    assert not torch.equal(drawn(), drawn(step=61))
    assert not torch.equal(drawn(), drawn(seed=7))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_others(make_model):
    def trained(seed: int) -> torch.Tensor:
        model = make_model(seed=seed)
        for number in range(2):
            model.train_step(batch(number, number + 5))
        return weights_of(model)

    first = trained(42)
    assert torch.equal(first, trained(42))
    assert not torch.equal(first, trained(43))


@pytest.mark.slow
def test_setup_leaves_the_random_numbers_of_others_alone(make_model):
    before = torch.random.get_rng_state()
    make_model().train_step(batch(1))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_two_threads_give_the_weights_of_one(make_model):
    def trained(threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)
        model = make_model()
        assert model._side_by_side._num_workers == threads
        for number in range(3):
            model.train_step(batch(number, number + 5, number + 9))
        return weights_of(model)

    first = trained(1)
    assert all(torch.equal(first, trained(2)) for _ in range(3))


# --- the rest of a model


@pytest.mark.slow
def test_nothing_is_waited_for(make_model, monkeypatch):
    model = make_model()

    def waiting(*_args: object) -> None:
        raise AssertionError("the step waits for the device")

    with monkeypatch.context() as patched:
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
            patched.setattr(torch.Tensor, name, waiting)
        patched.setattr(torch, "tensor", waiting)  # which would be brought to the device from pageable memory
        model.train_step(batch(1, 2))
    assert model.metrics["loss"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["valid", "test"])
def test_judging_takes_the_mean_over_all_pictures_of_the_whole_loss(make_model, kind):
    model = make_model(fast_init=kind == "test", step=0)
    begin = model.on_testing_start if kind == "test" else lambda: model.on_validation_start(0)
    step = model.test_step if kind == "test" else model.valid_step
    before = weights_of(model)
    begin()
    step(batch(1, 2, 3))
    of_three = measured(model, f"{kind}_")
    wanted = whole_losses(model, batch(1, 2, 3))
    assert of_three == pytest.approx({name: each.item() for name, each in wanted.items()}, rel=1e-4)
    step(batch(4))
    of_four = measured(model, f"{kind}_")
    begin()
    step(batch(4))
    of_one = measured(model, f"{kind}_")
    assert of_four == pytest.approx({name: (3 * of_three[name] + of_one[name]) / 4 for name in PARTS}, rel=1e-5)
    assert torch.equal(before, weights_of(model))
    assert "loss" not in model.metrics


@pytest.mark.slow
def test_validations_at_any_step_are_of_the_same_draws(make_model):
    found = []
    for step in (0, 100):
        model = make_model(step=step)
        model.on_validation_start(0)
        model.valid_step(batch(1))
        found.append(measured(model, "valid_"))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_resumed_model_goes_on_as_if_nothing_had_been(make_model, tmp_path):
    model, resumed = make_model(), make_model(learning_rate=1e-3)
    model.train_step(batch(1))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each in (model, resumed):
        each.train_step(batch(2))
    assert torch.equal(weights_of(model), weights_of(resumed))
    assert model.state_dict().keys() == {"net", "optimizer"}


def test_a_painting_too_small_is_refused():
    with pytest.raises(PictureError, match="wanted 16 pixels a side or more, found 3 x 3"):
        PaintedStyleModel(config_for({"features": "random"}), style_rgb_HW3=np.zeros((3, 3, 3), np.uint8))


@pytest.mark.slow
def test_the_trainer_runs_it(make_model):
    class Two(DataModule):
        def train_loader(self):
            return [batch(1, 2), batch(3)]

        def valid_loader(self):
            return [batch(4)]

        test_loader = valid_loader

    model = make_model()
    trainer = Trainer(max_epochs=1, device="cpu", validate_every=1)
    trainer.fit(model, Two())
    assert trainer.state.step == 2
    assert model.metrics["valid_loss"] > 0 < model.metrics["loss"]
    trainer.test(model, Two())
    assert model.metrics["test_loss"] > 0
