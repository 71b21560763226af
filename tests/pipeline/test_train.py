from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from luigi.rpc import RPCError
from luigi.worker import TaskStatusReporter

from csci_utils.io import sha256_of
from csci_utils.s3 import S3Uri, client, delete, head
from neural_style.train_config import config_for
from neural_style.vgg import random_vgg16
from neural_style.weights import load_weights, widths_of
from pipeline.tasks.train import Train
from tests.pipeline.conftest import BUCKET, ROOT, SMALL, encoded_picture

pytestmark = pytest.mark.slow


def model(bucket, name: str = "wave.pth") -> Path:
    return bucket.local / "saved_models" / name


def record(bucket) -> dict:
    return json.loads((bucket.local / "saved_models" / ".wave.pth.training.json").read_text())


def test_a_painting_and_a_dataset_become_a_model_with_its_record(pictures, run):
    status, out, err = run(*SMALL)
    assert (status, out) == (0, [str(model(pictures))]), err
    assert [line.split(", ")[0].rpartition(" ")[0] for line in err if "loss" in line] == [
        f"style-pipeline: info: step {step}: loss" for step in (2, 4)
    ]
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
    assert (status, err[-1]) == (0, f"style-pipeline: trained {model(pictures)}, published"), err
    keys = [each["Key"] for each in client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert {"styled/saved_models/wave.pth", "styled/saved_models/.wave.pth.training.json"} <= set(keys)
    pictures.put_image("luigi.jpg")
    assert run("-i", "luigi.jpg", "-m", "wave")[0] == 0
    assert record(pictures)["result"]["sha256"]  # the copy's own record is another file
    assert run(*SMALL, "--publish")[2][-1] == "style-pipeline: up to date"


@pytest.mark.parametrize("publish", [False, True])
def test_another_host_takes_the_published_model(pictures, run, tmp_path, monkeypatch, publish):
    assert run(*SMALL, "--publish")[0] == 0
    there = model(pictures).read_bytes()
    monkeypatch.setenv("PIPELINE_LOCAL_ROOT", str(tmp_path / "other"))
    options = (*SMALL, "--publish") if publish else SMALL
    path = tmp_path / "other" / "saved_models" / "wave.pth"
    assert run(*options, "--dry-run") == (0, [], [f"style-pipeline: would fetch {path}: not trained yet"])
    assert run(*options) == (0, [str(path)], [f"style-pipeline: fetched {path}"])
    assert path.read_bytes() == there
    assert run(*options)[2] == ["style-pipeline: up to date"]


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
    assert "seed changed: 42 -> 2" in run(*SMALL, "--seed", "2", "--dry-run")[2][0]
    assert run(*SMALL, "--seed", "2")[0] == 0
    assert model(pictures).read_bytes() != first
    assert run(*SMALL, "--force")[0] == 0
    assert model(pictures).read_bytes() == first  # same seed, same weights


def test_a_model_of_somebody_else_is_not_hidden(pictures, run):
    pictures.put_model("wave.pth")
    status, out, err = run(*SMALL)
    assert (status, out) == (30, [])
    assert "S3 holds a model of that name without a record of its training; choose another --name" in err[-1]
    assert run(*SMALL, "--dry-run")[::2] == (30, err[-1:])
    assert run(*SMALL, "--name", "mine")[1] == [str(model(pictures, "mine.pth"))]


def test_a_kill_between_model_and_record_in_s3_is_mended_by_the_next_run(pictures, run):
    assert run(*SMALL, "--publish")[0] == 0
    delete(S3Uri.parse(f"{ROOT}/saved_models/.wave.pth.training.json"))
    assert run(*SMALL, "--publish")[0] == 0
    assert head(S3Uri.parse(f"{ROOT}/saved_models/.wave.pth.training.json")) is not None


def test_an_identity_is_what_changes_the_weights(store):
    one = Train("wave.png", "few", features="random", steps=4)
    assert one.config == config_for({"features": "random", "steps": 4})
    elsewhere = {
        "device": "cpu",
        "note_every": 7,
        "compiled": True,
        "nondeterministic": True,
        "max_broken": 1,
        "threads": 3,
    }
    kept = {"loaders": 1, "tensorboard": "curves", "sample": "luigi.jpg", "sample_every": 9, "checkpoint_every": 9}
    assert one.task_id == Train("wave.png", "few", features="random", steps=4, **elsewhere, **kept).task_id
    assert one.task_id != Train("wave.png", "few", features="random", steps=5).task_id


def test_samples_and_curves_are_kept_and_change_no_weights(pictures, run):
    pytest.importorskip("tensorboard")
    assert run(*SMALL)[0] == 0
    plain = model(pictures).read_bytes()
    pictures.put_image("holiday/luigi.jpg")
    kept = ("--sample", "holiday/luigi.jpg", "--sample-interval", "3", "--tensorboard", "curves")
    status, _, err = run(*SMALL, "--force", *kept)
    assert (status, model(pictures).read_bytes()) == (0, plain), err
    names = ["luigi.step-0000000003.png", "luigi.step-0000000004.png"]
    assert sorted(path.name for path in (pictures.local / "samples" / "wave").iterdir()) == names
    assert len(list(Path("curves", "wave").iterdir())) == 1


def test_how_it_is_trained_reaches_the_training(pictures, run, monkeypatch):
    from neural_style import train_style

    asked = []

    def stop(*_: object, where: train_style.Where, **__: object) -> None:
        asked.append(where)
        raise train_style.EngineError("enough")

    monkeypatch.setattr(train_style, "train_style", stop)
    options = ("--compile", "--nondeterministic", "--max-broken", "7", "--log-interval", "5", "--threads", "3")
    assert run(*SMALL, *options, "--loaders", "0")[0] == 30
    (where,) = asked
    assert (where.compiled, where.deterministic, where.max_broken, where.note_every) == (True, False, 7, 5)
    assert (where.name, where.checkpoint_every, where.threads, where.loaders) == ("wave", 2, 3, 0)


def test_the_judge_is_read_once_and_is_in_the_record(pictures, run, monkeypatch, tmp_path):
    def checked(path: Path) -> str:
        asked.append(path)
        return sha256_of(path)

    asked: list[Path] = []
    monkeypatch.setattr("neural_style.vgg._checked_sha256", checked)
    torch.save(random_vgg16().state_dict(), tmp_path / "judge")
    pictures.put_bytes("saved_models/vgg16-397923af.pth", (tmp_path / "judge").read_bytes())
    status, _, err = run(*SMALL, "--features", "vgg16")
    assert status == 0, err
    assert asked == [model(pictures, "vgg16-397923af.pth")]
    judge = {"uri": f"{ROOT}/saved_models/vgg16-397923af.pth", "sha256": sha256_of(tmp_path / "judge")}
    assert record(pictures)["made_from"]["vgg16"] == judge
    assert run(*SMALL, "--features", "vgg16", "--dry-run")[2] == [f"style-pipeline: up to date {model(pictures)}"]


def test_a_dry_run_tells_training_from_publishing(pictures, run):
    would = f"style-pipeline: would train {model(pictures)}: not trained yet"
    assert run(*SMALL, "--publish", "--dry-run") == (0, [], [would])
    assert run(*SMALL)[0] == 0
    assert run(*SMALL, "--publish", "--dry-run")[2] == [f"style-pipeline: would publish {ROOT}/saved_models/wave.pth"]
    assert run(*SMALL, "--publish")[2] == [f"style-pipeline: published {ROOT}/saved_models/wave.pth"]
    assert run(*SMALL, "--publish", "--dry-run")[2] == [f"style-pipeline: up to date {model(pictures)}"]


def test_a_long_name_is_a_name(pictures, run):
    name = f"folder/{'x' * 240}"
    assert run(*SMALL, "--name", name)[1] == [str(model(pictures, f"{name}.pth"))]
    assert run("status")[2][-1] == "style-pipeline: 1 of 1 trained models up to date"


def test_a_suffix_is_added_to_what_has_another_dot(pictures, run):
    assert run(*SMALL, "--name", "wave.v2")[1] == [str(model(pictures, "wave.v2.pth"))]


# --- status


def damage_record(bucket) -> None:
    (bucket.local / "saved_models" / ".wave.pth.training.json").write_text('{"format": 1, "made_from": 3}')


def name_another_bucket(bucket) -> None:
    path = bucket.local / "saved_models" / ".wave.pth.training.json"
    path.write_text(path.read_text().replace(f"{ROOT}/styles", "s3://elsewhere/styles"))


def lose(bucket, name: str) -> None:
    delete(S3Uri.parse(f"{ROOT}/{name}"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b.put_bytes("styles/wave.png", encoded_picture("x.png", seed=8, size=(64, 64))), "style changed: "),
        (lambda b: lose(b, "styles/wave.png"), "the style picture is gone"),
        (lambda b: b.put_bytes("datasets/few/3.png", encoded_picture("x.png", seed=9)), "dataset changed: "),
        (lambda b: [lose(b, f"datasets/few/{number}.png") for number in range(3)], "the dataset is gone"),
        (lambda b: model(b).write_bytes(b"other"), "the file is not the one that was trained"),
        (damage_record, "it has no whole record of what it was trained from"),
        (name_another_bucket, f"it was trained from other places than {ROOT}"),
    ],
    ids=["style", "no-style", "dataset", "no-dataset", "file", "record", "bucket"],
)
def test_status_says_whether_a_trained_model_holds(pictures, run, change, reason):
    assert run(*SMALL)[0] == 0
    holds = [f"style-pipeline: up to date {model(pictures)}", "style-pipeline: 1 of 1 trained models up to date"]
    assert run("status") == (0, [str(model(pictures))], holds)
    change(pictures)
    status, out, err = run("status", "saved_models/wave.pth")
    assert (status, out, err[1:]) == (0, [], ["style-pipeline: 0 of 1 trained models up to date"])
    assert err[0].startswith(f"style-pipeline: stale {model(pictures)}: {reason}")


def test_status_says_that_training_gives_other_weights_by_now(pictures, run, monkeypatch):
    assert run(*SMALL)[0] == 0
    algorithm = record(pictures)["parameters"]["algorithm"]
    for module in ("neural_style.train_config", "pipeline.tasks.train_request"):
        monkeypatch.setattr(f"{module}.ALGORITHM", 99)
    assert run("status")[2][0].endswith(f"wave.pth: algorithm changed: {algorithm} -> 99")


def test_status_tells_results_and_models_apart(pictures, run):
    pictures.put_image("luigi.jpg")
    assert run(*SMALL, "--publish")[0] == 0
    assert run("-i", "luigi.jpg", "-m", "wave")[0] == 0
    status, out, err = run("status")
    assert (status, out) == (0, [str(pictures.local / "stylized" / "wave" / "luigi.jpg"), str(model(pictures))])
    assert [line.removeprefix("style-pipeline: ") for line in err[1::2]] == [
        "1 of 1 results up to date",
        "1 of 1 trained models up to date",
    ]


def test_status_does_not_guess_where_the_store_cannot_say(pictures, run):
    assert run(*SMALL)[0] == 0
    for number in range(3):
        lose(pictures, f"datasets/few/{number}.png")
    lose(pictures, "styles/wave.png")
    client().delete_bucket(Bucket=BUCKET)
    status, out, err = run("status")
    assert (status, out) == (35, [])
    assert err[0].startswith(f"style-pipeline: cannot tell {model(pictures)}: ")


# --- Luigi's page


def raise_rpc_error(*_: object) -> None:
    raise RPCError("Errors (3 attempts) when connecting to remote scheduler 'http://127.0.0.1:9'")


@pytest.mark.parametrize("kind", ["raises", "hangs"])
def test_no_training_ends_or_waits_for_a_scheduler_that_is_gone(pictures, run, monkeypatch, kind):
    answers = threading.Event()
    hang_s = 30.0
    send = raise_rpc_error if kind == "raises" else lambda *_: answers.wait(hang_s)
    for name in ("update_status_message", "update_progress_percentage"):
        monkeypatch.setattr(TaskStatusReporter, name, send)
    begin = time.monotonic()
    status, out, err = run(*SMALL, "--publish")
    took_s = time.monotonic() - begin
    answers.set()
    assert (status, out) == (0, [str(model(pictures))]), err
    assert took_s < hang_s
    assert sum("Luigi's page does not show how far the work is: Errors (3" in line for line in err) == (
        kind == "raises"
    )


def test_the_page_shows_the_last_step(pictures, run, monkeypatch):
    shown = []
    monkeypatch.setattr(TaskStatusReporter, "update_status_message", lambda _, message: shown.append(message))
    assert run(*SMALL)[0] == 0
    assert shown[0] == "fetching the painting and the dataset"
    assert shown[-1] == "done"
