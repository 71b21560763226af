"""Both style models on a GPU: the published loop's numbers, nothing waited for, and runs that go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neural_style.drawn import draw_scene
from neural_style.painted_model import PaintedStyleModel
from neural_style.plugins import CheckpointPlugin
from neural_style.style_model import StyleModel
from neural_style.train import Trainer
from neural_style.train_config import TrainConfig, config_for
from neural_style.vgg import Vgg16, random_vgg16
from tests.neural_style.published_loop import PublishedLoop
from tests.neural_style.training import Alone, ListData

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not there"),
]

WIDTHS, PX, WHOLE_LOSS = (8, 16, 32), 64, 60
KINDS = ["vgg16", "random"]


@pytest.fixture(autouse=True)
def _real_float32() -> Iterator[None]:
    """TF32 has ten bits of mantissa; CUDA's convolutions take it for float32 unless they are told."""
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    yield
    for setting, precision in zip(settings, before, strict=True):
        setting.fp32_precision = precision


@pytest.fixture
def watched() -> Iterator[None]:
    """Whatever would wait for the GPU raises."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, torch.Tensor]:
    return random_vgg16(seed=1).state_dict()


@pytest.fixture(scope="module")
def painting() -> np.ndarray:
    return draw_scene(7, width_px=72, height_px=64)


@pytest.fixture
def make_model(vgg_state: dict[str, torch.Tensor], painting: np.ndarray):
    def make(kind: str, *, device: str = "cuda", **fields: Any) -> StyleModel | PaintedStyleModel:
        given = {"widths": WIDTHS, "image_px": PX, "batch_size": 3, **fields}
        model: StyleModel | PaintedStyleModel
        if kind == "vgg16":
            vgg = Vgg16()  # of its own, since setup takes it to the device
            vgg.load_state_dict(vgg_state)
            model = StyleModel(TrainConfig(**given), style_rgb_HW3=painting, vgg=vgg)
        else:
            config = config_for({"features": "random", "style_px": 64, **given})
            model = PaintedStyleModel(config, style_rgb_HW3=painting)
        model.trainer = Alone(WHOLE_LOSS, device=device)  # type: ignore[assignment]
        return model

    return make


def batch(*seeds: int) -> torch.Tensor:
    scenes = np.stack([draw_scene(seed, width_px=PX, height_px=PX) for seed in seeds])
    return torch.from_numpy(scenes).permute(0, 3, 1, 2).float()


def stepped(model: StyleModel | PaintedStyleModel) -> tuple[dict[str, float], torch.Tensor]:
    """Learn once from three pictures; the losses, and the gradient on the CPU."""
    model.setup()
    model.train_step(batch(1, 2, 3))
    slopes = [parameter.grad.flatten().cpu() for parameter in model._trained]
    return {name: each.item() for name, each in model.metrics.items()}, torch.cat(slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_several_pictures_is_that_of_the_cpu(make_model, kind):
    (found, slopes), (wanted, wanted_slopes) = (stepped(make_model(kind, device=each)) for each in ("cuda", "cpu"))
    assert found == pytest.approx(wanted, rel=1e-3)
    assert torch.cosine_similarity(slopes, wanted_slopes, dim=0) > 0.999


def test_the_first_step_is_the_published_loops_on_the_same_card(make_model, vgg_state, painting):
    style = torch.from_numpy(painting.astype(np.float32)).permute(2, 0, 1)
    published = PublishedLoop(vgg_state, style, widths=WIDTHS, device="cuda")
    wanted = published.step(batch(1, 2, 3).cuda())
    found, _ = stepped(make_model("vgg16"))
    assert found["content_loss"] == pytest.approx(wanted.content.item(), rel=1e-4)
    assert found["style_loss"] == pytest.approx(wanted.style.item(), rel=1e-4)
    assert found["loss"] == pytest.approx(wanted.total.item(), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_in_bfloat16_is_near(make_model, kind):
    (found, slopes), (wanted, wanted_slopes) = (stepped(make_model(kind, precision=p)) for p in ("bf16", "float32"))
    assert found["loss"] == pytest.approx(wanted["loss"], rel=0.05)
    assert torch.cosine_similarity(slopes, wanted_slopes, dim=0) > 0.9


@pytest.mark.parametrize("step", [0, WHOLE_LOSS])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_never_waits_for_the_gpu(make_model, watched, kind, precision, step):
    model = make_model(kind, precision=precision)
    model.trainer.state.step = step
    model.setup()
    pinned = batch(1, 2, 3).pin_memory()
    model.train_step(pinned)  # the first loads what the later ones use
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    model.train_step(pinned)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(model.metrics["loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_from_its_checkpoint(make_model, tmp_path: Path, kind):
    def run(steps: int, folder: Path) -> float:
        model = make_model(kind)
        trainer = Trainer(max_steps=steps, device="cuda")
        plugin = CheckpointPlugin(folder, every_steps=2)
        plugin.configure_trainer(trainer)
        trainer.fit(model, ListData([batch(number, number + 9) for number in range(6)]))
        assert trainer.state.step == steps
        return float(model.metrics["loss"])

    whole = run(6, tmp_path / "whole")
    run(4, tmp_path / "broken-off")
    assert run(6, tmp_path / "broken-off") == pytest.approx(whole, rel=1e-2)  # padding backwards has no fixed order


@pytest.mark.parametrize("kind", KINDS)
def test_validation_measures_there_what_it_does_on_the_cpu(make_model, kind):
    found = []
    for device in ("cuda", "cpu"):
        model = make_model(kind, device=device)
        model.setup(fast_init=True)
        model.on_validation_start(0)
        for pictures in (batch(1, 2), batch(3)):
            model.valid_step(pictures)
        found.append(model.metrics["valid_loss"].item())
    assert found[0] == pytest.approx(found[1], rel=1e-3)
