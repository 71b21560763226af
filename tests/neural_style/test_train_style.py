from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neural_style.cli import main
from neural_style.drawn import draw_scene
from neural_style.errors import CheckpointError, DatasetError, DivergedError, OutputError, PictureError
from neural_style.stylize import Stylizer
from neural_style.train_config import PAINTED, TrainConfig, config_for
from neural_style.train_style import Where, train_style
from neural_style.weights import load_weights, widths_of

SMALL = config_for({"features": "random", "steps": 64, "image_px": 64, "widths": (4, 4, 8)})
HERE = Where(device="cpu", threads=1, note_every=20, progress=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        Image.fromarray(draw_scene(seed, width_px=96, height_px=80)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def painting(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("styles") / "stripes.png"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = (250, 200, 60)
    Image.fromarray(stripes).save(path)
    return path


@pytest.fixture
def trained(tmp_path, pictures, painting):
    def train(config: TrainConfig = SMALL, **given):
        output = tmp_path / "style.pth"
        done = train_style(config, style=painting, dataset=pictures, output=output, **{"where": HERE, **given})
        return output, done

    return train


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


def test_the_same_configuration_gives_the_same_weights_and_another_seed_others(trained):
    files = []
    for seed in (1, 1, 2):
        output, _ = trained(replace(SMALL, steps=3, seed=seed))
        files.append(output.read_bytes())
    assert files[0] == files[1] != files[2]


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


def test_a_checkpoint_of_another_painting_is_refused(trained, tmp_path, pictures):
    where = replace(HERE, checkpoint_folder=tmp_path / "kept")
    config = replace(SMALL, steps=2)
    output, _ = trained(config, where=where)
    before = output.read_bytes()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    with pytest.raises(CheckpointError, match="another"):
        train_style(config, style=tmp_path / "red.png", dataset=pictures, output=output, where=where)
    assert output.read_bytes() == before


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


# --- the command


@pytest.fixture
def command(tmp_path, pictures, painting):
    def call(*options: str, **replaced: object) -> int:
        given = {"dataset": pictures, "style-image": painting, "save-model-dir": tmp_path / "out"} | replaced
        named = [f"--{name}={value}" for name, value in given.items()]
        small = ["--features=random", "--steps=3", "--image-size=64", "--widths=4,4,8", "--threads=1"]
        return main(["train", *named, *small, "--device=cpu", *options])

    return call


def test_the_command_writes_weights_named_after_the_painting(command, tmp_path, capsys):
    assert command("--log-interval=2", f"--report={tmp_path / 'report.json'}") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'stripes.pth'}\n"
    assert "neural_style: info: step 2: loss " in err
    report = json.loads((tmp_path / "report.json").read_text())
    assert [note["step"] for note in report["curve"]] == [2, 3]
    assert set(report) == {"config", "curve", "made_by", "metrics", "steps"}
    assert load_weights(tmp_path / "out" / "stripes.pth")
    assert command("--name=mine") == 0
    assert (tmp_path / "out" / "mine.pth").is_file()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--lr=-1"], 30, "learning_rate: wanted a finite number above 0, found -1.0"),
        (["--epochs=2"], 30, "epochs and steps: wanted one of them, found 2 and 3"),
        (["--checkpoint-interval=0", "--checkpoint-model-dir=x"], 30, "every_steps wants at least 1, found 0"),
        (["--features=vgg16", "--vgg=missing-397923af.pth"], 30, "missing-397923af.pth"),
    ],
)
def test_a_wrong_option_is_one_sentence(command, tmp_path, monkeypatch, capsys, options, status, said):
    monkeypatch.chdir(tmp_path)
    assert command(*options) == status
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("neural_style: error: ")
    assert said in lines[-1]
    assert not any("Traceback" in line for line in lines)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("name", ["../style", ".style", "a/b"])
def test_a_name_that_leaves_the_folder_is_refused(command, name):
    with pytest.raises(SystemExit, match="2"):
        command(f"--name={name}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is there")
def test_cuda_that_is_not_there_is_one_sentence(command, capsys):
    assert command("--device=cuda") == 30
    assert "neural_style: error: the device 'cuda' is not there" in capsys.readouterr().err


def test_the_log_is_left_as_it_was(command):
    before = logging.getLogger("neural_style").level
    assert command() == 0
    assert logging.getLogger("neural_style").level == before
