from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from unittest import mock

import pytest
import torch
from PIL import Image

from csci_utils.io import sha256_of
from neural_style.drawn import draw_scene
from neural_style.errors import CheckpointError, DatasetError, DivergedError, OutputError, PictureError
from neural_style.side_by_side import SideBySide
from neural_style.stylize import Stylizer
from neural_style.train_config import PAINTED, TrainConfig, config_for
from neural_style.train_style import Where, refuse_early, train_style
from neural_style.vgg import random_vgg16
from neural_style.weights import load_weights, widths_of

SMALL = config_for({"features": "random", "steps": 64, "image_px": 64, "widths": (4, 4, 8)})
HERE = Where(device="cpu", threads=1, note_every=20, progress=False)


@pytest.fixture
def trained(tmp_path, pictures, painting):
    def train(config: TrainConfig = SMALL, **given):
        output = tmp_path / "style.pth"
        done = train_style(config, style=painting, dataset=pictures, output=output, **{"where": HERE, **given})
        return output, done

    return train


@pytest.mark.slow
def test_a_painting_becomes_weights_that_style_pictures(trained):
    told: list[int] = []
    output, done = trained(tell=lambda step, _losses: told.append(step))
    assert widths_of(load_weights(output)) == (4, 4, 8)
    assert Stylizer(output, device="cpu").style(draw_scene(9, width_px=40, height_px=32)).shape == (32, 40, 3)
    assert (done.steps, told) == (64, [20, 40, 60, 64])
    assert [note["step"] for note in done.curve] == told
    assert done.metrics == {name: value for name, value in done.curve[-1].items() if name != "step"}
    assert set(done.metrics) == {"loss", "content_loss", "style_loss", "total_variation_loss"}
    assert done.made_by["device"] == "cpu"
    assert done.curve[2]["loss"] < done.curve[0]["loss"]  # of the steps that only recolour
    assert done.curve[3]["style_loss"] > 0  # and of those after them


@pytest.mark.slow
def test_the_same_configuration_gives_the_same_weights_and_another_seed_others(trained):
    files = []
    for seed in (1, 1, 2):
        output, _ = trained(replace(SMALL, steps=3, seed=seed))
        files.append(output.read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint(trained, tmp_path):
    config = replace(SMALL, steps=62)
    whole, _ = trained(config)
    wanted = whole.read_bytes()
    where = replace(HERE, checkpoint_folder=tmp_path / "kept", checkpoint_every=10)

    class StopError(Exception):
        pass

    def stop(step: int, total_steps: int) -> None:
        assert total_steps == 62
        if step == 37:
            raise StopError

    whole.unlink()
    with pytest.raises(StopError):
        trained(config, where=where, on_step=stop)
    assert not whole.exists()
    steps: list[int] = []
    output, done = trained(config, where=where, on_step=lambda step, _total: steps.append(step))
    assert steps[0] == 31
    assert output.read_bytes() == wanted
    assert [note["step"] for note in done.curve] == [20, 40, 60, 62]


@pytest.mark.slow
def test_a_checkpoint_of_another_painting_is_refused(trained, tmp_path, pictures):
    where = replace(HERE, checkpoint_folder=tmp_path / "kept")
    config = replace(SMALL, steps=2)
    output, _ = trained(config, where=where)
    before = output.read_bytes()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    with pytest.raises(CheckpointError, match="another"):
        train_style(config, style=tmp_path / "red.png", dataset=pictures, output=output, where=where)
    assert output.read_bytes() == before


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """Two files of random VGG16 weights."""
    folder = tmp_path_factory.mktemp("judges")
    for seed in range(2):
        torch.save(random_vgg16(seed).state_dict(), folder / f"{seed}.pth")
    return [folder / "0.pth", folder / "1.pth"]


JUDGED = TrainConfig(steps=1, batch_size=1, image_px=16, style_px=16, widths=(4, 4, 8))


@pytest.mark.slow
def test_a_checkpoint_that_another_judge_led_to_is_refused(trained, tmp_path, judges):
    where = replace(HERE, checkpoint_folder=tmp_path / "kept")
    trained(JUDGED, where=where, vgg=judges[0])
    with pytest.raises(CheckpointError, match="a checkpoint of another configuration"):
        trained(JUDGED, where=where, vgg=judges[1])
    copied = shutil.copy(judges[0], tmp_path / "copied.pth")
    trained(JUDGED, where=where, vgg=copied)


@pytest.mark.slow
def test_what_a_run_was_made_from_is_said_with_it(trained, judges, painting):
    record = trained(JUDGED, vgg=judges[0])[1].record()
    assert record["made_from"]["vgg16"] == {"sha256": sha256_of(judges[0])}
    assert record["made_from"]["style"] == {"sha256": sha256_of(painting)}
    assert len(record["made_from"]["dataset"]["digest"]) == 64
    assert "vgg16" not in trained(replace(SMALL, steps=1))[1].made_from


@pytest.mark.slow
def test_the_judge_that_was_looked_at_early_is_not_read_again(trained, judges, painting, tmp_path):
    read = shutil.copy(judges[0], tmp_path / "judge.pth")
    judge = refuse_early(JUDGED, style=painting, vgg=read, where=HERE)
    read.unlink()
    assert trained(JUDGED, vgg=judge)[1].made_from["vgg16"] == {"sha256": sha256_of(judges[0])}
    assert refuse_early(SMALL, style=painting, where=HERE) is None


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["random", "vgg16"])
@pytest.mark.parametrize("rate", [30.0, 100.0])
def test_a_rate_at_which_all_stays_finite_but_nothing_is_learned_is_refused(trained, tmp_path, judges, judge, rate):
    where = replace(HERE, checkpoint_folder=tmp_path / "kept", checkpoint_every=1000)
    config, vgg = (SMALL, None) if judge == "random" else (replace(JUDGED, steps=40, image_px=64), judges[0])
    with pytest.raises(DivergedError, match="more than 10 times as high as at first: training has diverged, and noth"):
        trained(replace(config, learning_rate=rate), where=where, vgg=vgg)
    assert not (tmp_path / "style.pth").exists()
    assert list((tmp_path / "kept").glob("*")) == []


@pytest.mark.slow
def test_the_loss_of_random_features_may_change_after_the_first_steps(trained):
    """By as much as its weights say."""
    _, done = trained(replace(SMALL, style_weight=300.0, total_variation_weight=9.0))
    assert done.curve[-1]["loss"] > 30 * done.curve[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("has_bf16", [True, False])
def test_bf16_that_the_device_has_not_is_said_once(trained, monkeypatch, caplog, has_bf16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    _, done = trained(replace(SMALL, steps=1, precision="bf16"))
    assert done.made_by["precision"] == ("bf16" if has_bf16 else "float32")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ([] if has_bf16 else ["cpu has no bfloat16 of its own: float32 is used instead"])
    assert trained(replace(SMALL, steps=1))[1].made_by["precision"] == "float32"


@pytest.mark.slow
def test_a_run_leaves_no_thread_behind(trained):
    kept = []  # what would end its threads by being collected
    with mock.patch(
        "neural_style.picture_model.SideBySide", side_effect=lambda most: kept.append(SideBySide(most)) or kept[0]
    ):
        trained(replace(SMALL, steps=1), where=replace(HERE, threads=2))
    assert len(kept) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("picture")]


@pytest.mark.slow
def test_a_rate_that_diverges_writes_no_weights(trained, tmp_path):
    with pytest.raises(DivergedError):
        trained(replace(SMALL, learning_rate=1e30))
    assert not (tmp_path / "style.pth").exists()


def test_what_cannot_be_learned_from_is_one_sentence(tmp_path, pictures, painting):
    (tmp_path / "none").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    output = tmp_path / "style.pth"
    with pytest.raises(DatasetError, match="none"):
        train_style(SMALL, style=painting, dataset=tmp_path / "none", output=output, where=HERE)
    with pytest.raises(DatasetError, match="batch of 5, found 4"):
        train_style(replace(SMALL, batch_size=5), style=painting, dataset=pictures, output=output, where=HERE)
    with pytest.raises(PictureError, match=r"text\.png"):
        train_style(SMALL, style=tmp_path / "text.png", dataset=pictures, output=output, where=HERE)
    assert not output.exists()


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_keeps_the_old_weights(trained, monkeypatch):
    output, _ = trained(replace(SMALL, steps=1))
    before = output.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        trained(replace(SMALL, steps=1, seed=7))
    assert output.read_bytes() == before


# --- the defaults of random features


def test_random_features_have_defaults_of_their_own():
    assert config_for({}) == TrainConfig()
    found = config_for({"features": "random", "seed": 3})
    assert {name: getattr(found, name) for name in PAINTED} == dict(PAINTED)
    assert (found.seed, found.epochs) == (3, None)
    assert config_for({"features": "random", "epochs": 2}).steps is None
    assert config_for({"features": "random", "steps": 9}).steps == 9
