from __future__ import annotations

import json
from pathlib import Path

import pytest

from csci_utils.s3 import S3Uri, client, delete, head
from neural_style.train_config import config_for
from neural_style.weights import load_weights, widths_of
from pipeline.tasks.train import Train
from tests.pipeline.conftest import BUCKET, ROOT, encoded_picture

pytestmark = pytest.mark.slow

TRAIN = ("train", "-s", "wave.png", "-d", "few", "--features", "random", "--steps", "4", "--image-size", "64")
SMALL = (*TRAIN, "--widths", "4,4,8", "--batch-size", "2", "--log-interval", "2", "--checkpoint-interval", "2")


@pytest.fixture
def pictures(store):
    """A painting and a dataset of three pictures."""
    store.put_bytes("styles/wave.png", encoded_picture("wave.png", seed=7, size=(64, 64)))
    for number in range(3):
        store.put_bytes(f"datasets/few/{number}.png", encoded_picture("x.png", seed=number, size=(80, 72)))
    return store


def model(bucket, name: str = "wave.pth") -> Path:
    return bucket.local / "saved_models" / name


def record(bucket) -> dict:
    return json.loads((bucket.local / "saved_models" / ".wave.pth.training.json").read_text())


def test_a_painting_and_a_dataset_become_a_model_with_its_record(pictures, run):
    status, out, err = run(*SMALL)
    assert (status, out) == (0, [str(model(pictures))]), err
    assert widths_of(load_weights(model(pictures))) == (4, 4, 8)
    found = record(pictures)
    assert found["made_from"]["style"]["uri"] == f"{ROOT}/styles/wave.png"
    assert found["made_from"]["dataset"]["num_files"] == 3
    assert [note["step"] for note in found["training"]["curve"]] == [2, 4]
    assert found["training"]["steps"] == 4
    assert found["parameters"]["widths"] == [4, 4, 8]
    assert found["made_by"]["device"] == "cpu"
    assert not list((pictures.local / ".training").rglob("*.ckpt"))
    assert head(S3Uri.parse(f"{ROOT}/saved_models/wave.pth")) is None
    before = model(pictures).stat().st_mtime_ns
    assert run(*SMALL)[0] == 0
    assert model(pictures).stat().st_mtime_ns == before


def test_a_published_model_styles_pictures(pictures, run):
    status, _, err = run(*SMALL, "--publish")
    assert status == 0, err
    keys = [each["Key"] for each in client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert {"styled/saved_models/wave.pth", "styled/saved_models/.wave.pth.training.json"} <= set(keys)
    pictures.put_image("luigi.jpg")
    assert run("-i", "luigi.jpg", "-m", "wave")[0] == 0
    assert record(pictures)["result"]["sha256"]  # the copy's own record is another file
    assert run(*SMALL, "--publish")[2][-1] == "style-pipeline: up to date"


def test_another_host_takes_the_published_model(pictures, run, tmp_path, monkeypatch):
    assert run(*SMALL, "--publish")[0] == 0
    there = model(pictures).read_bytes()
    monkeypatch.setenv("PIPELINE_LOCAL_ROOT", str(tmp_path / "other"))
    status, out, err = run(*SMALL)
    assert (status, out) == (0, [str(tmp_path / "other" / "saved_models" / "wave.pth")]), err
    assert Path(out[0]).read_bytes() == there


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b.put_bytes("styles/wave.png", encoded_picture("x.png", seed=8, size=(64, 64))), "style changed: "),
        (lambda b: b.put_bytes("datasets/few/3.png", encoded_picture("x.png", seed=9)), "dataset changed: "),
        (lambda b: model(b).write_bytes(b"other"), "the file is not the one that was trained"),
        (lambda b: model(b).unlink(), "not trained yet"),
        (lambda b: (model(b).parent / ".wave.pth.training.json").unlink(), "it has no record of what it was trained"),
    ],
    ids=["style", "dataset", "model", "gone", "no-record"],
)
def test_what_no_longer_holds_is_said_and_trained_again(pictures, run, change, reason):
    assert run(*SMALL)[0] == 0
    assert run(*SMALL, "--dry-run")[2] == [f"style-pipeline: up to date {model(pictures)}"]
    change(pictures)
    assert run(*SMALL, "--dry-run")[2][0].startswith(f"style-pipeline: would train {model(pictures)}: {reason}")
    assert run(*SMALL)[0] == 0
    assert run(*SMALL, "--dry-run")[2] == [f"style-pipeline: up to date {model(pictures)}"]


def test_another_configuration_is_another_model_and_force_trains_again(pictures, run):
    assert run(*SMALL)[0] == 0
    first = model(pictures).read_bytes()
    assert "the configuration changed" in run(*SMALL, "--seed", "2", "--dry-run")[2][0]
    assert run(*SMALL, "--seed", "2")[0] == 0
    assert model(pictures).read_bytes() != first
    assert run(*SMALL, "--force")[0] == 0
    assert model(pictures).read_bytes() == first  # same seed, same weights


def test_a_model_of_somebody_else_is_not_hidden(pictures, run):
    pictures.put_model("wave.pth")
    status, out, err = run(*SMALL)
    assert (status, out) == (30, [])
    assert "S3 holds a model of that name without a record of its training; choose another --name" in err[-1]
    assert run(*SMALL, "--name", "mine")[1] == [str(model(pictures, "mine.pth"))]


def test_a_kill_between_model_and_record_in_s3_is_mended_by_the_next_run(pictures, run):
    assert run(*SMALL, "--publish")[0] == 0
    delete(S3Uri.parse(f"{ROOT}/saved_models/.wave.pth.training.json"))
    assert run(*SMALL, "--publish")[0] == 0
    assert head(S3Uri.parse(f"{ROOT}/saved_models/.wave.pth.training.json")) is not None


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["-s", "none.png"], 20, "styles/none.png is not in S3"),
        (["-d", "none"], 20, "datasets/none is not in S3"),
        (["-d", "a/b"], 2, "'a/b' cannot name a dataset"),
        (["--lr", "-1"], 2, "learning_rate: wanted a finite number above 0"),
        (["--widths", "a,b"], 2, "--widths wants three whole numbers"),
        (["--batch-size", "9"], 30, "wanted pictures for a batch of 9, found 3"),
        (["--lr", "1e30", "--steps", "70"], 30, "learning rate"),
        (["--device", "cuda"], 30, "the device 'cuda' is not there"),
        (["--publish", "--offline"], 2, "--publish sends the model to S3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_trained_is_one_sentence_and_leaves_nothing(pictures, run, options, status, said):
    found, out, err = run(*SMALL, *options)
    assert (found, out) == (status, []), err
    assert said in err[-1]
    assert not any("Traceback" in line for line in err)
    assert not model(pictures).exists()


def test_an_identity_is_what_changes_the_weights(store):
    one = Train("wave.png", "few", features="random", steps=4)
    assert one.config == config_for({"features": "random", "steps": 4})
    assert one.task_id == Train("wave.png", "few", features="random", steps=4, device="cpu", note_every=7).task_id
    assert one.task_id != Train("wave.png", "few", features="random", steps=5).task_id
