"""A trained model goes with its painting and its dataset, and takes along what was kept for it."""

from __future__ import annotations

import os
import time

import pytest

from csci_utils.s3 import S3Uri, head
from pipeline.checkpoints import KEPT_DAYS, checkpoints_of, sweep_checkpoints
from tests.faults import fill_disk
from tests.pipeline.conftest import ROOT, SMALL, encoded_picture

slow = pytest.mark.slow


@pytest.fixture
def trained(pictures, run):
    """A model, a picture styled with it, and a dataset and a painting that have nothing to do with them."""
    pictures.put_image("luigi.jpg")
    pictures.put_bytes("styles/other.png", encoded_picture("x.png", seed=3))
    pictures.put_bytes("datasets/fewer/0.png", encoded_picture("x.png", seed=4))
    assert run(*SMALL, "--publish")[0] == 0
    assert run("-i", "luigi.jpg", "-m", "wave")[0] == 0
    return pictures


def visible(bucket) -> list[str]:
    return [name for name in bucket.files() if not any(part.startswith(".") for part in name.split("/"))]


@slow
def test_a_trained_model_goes_with_the_record_of_its_training(trained, run):
    assert run("remove", "saved_models/wave.pth")[0] == 0
    assert [name for name in trained.files() if name.startswith(("saved_models", "stylized"))] == []
    assert head(S3Uri.parse(f"{ROOT}/saved_models/wave.pth")) is not None


@slow
@pytest.mark.parametrize("name", ["styles/wave.png", "datasets/few", "datasets/few/", "datasets/few/1.png"])
def test_what_it_was_trained_from_takes_a_model_and_its_results_along(trained, run, name):
    path = trained.local / name
    with_it = [str(trained.local / each) for each in ("stylized/wave/luigi.jpg", "saved_models/wave.pth")]
    before = trained.files()
    would = [f"style-pipeline: would remove {each}" for each in (*with_it, path)]
    assert run("remove", name, "--dry-run") == (0, [], would)
    assert trained.files() == before
    assert run("remove", name) == (0, [], [line.replace("would remove", "removed") for line in would])
    assert [each for each in trained.files() if each.startswith(("saved_models", "stylized", name.strip("/")))] == []
    assert not path.exists()
    assert "images/luigi.jpg" in trained.files()
    assert run(*SMALL)[2][-1] == f"style-pipeline: fetched {with_it[1]}"  # published, and never removed there


@slow
@pytest.mark.parametrize("name", ["styles/other.png", "datasets/fewer"])
def test_what_has_nothing_to_do_with_a_model_leaves_it(trained, run, name):
    path = trained.local / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if "datasets" in name else path.write_bytes(b"x")
    assert run("remove", name) == (0, [], [f"style-pipeline: removed {path}"])
    assert {"saved_models/wave.pth", "stylized/wave/luigi.jpg", "datasets/few/1.png"} <= set(trained.files())


@pytest.mark.slow
def test_only_what_was_fetched_goes_with_a_dataset(pictures, run):
    from pipeline import settings
    from pipeline.tasks import Dataset

    Dataset(dataset="few").bring()
    settings._current = None
    mine = pictures.local / "datasets" / "few" / "deep" / "mine.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert run("remove", "datasets/few")[0] == 0
    assert visible(pictures) == ["datasets/few/deep/mine.png"]


def test_a_folder_of_many_datasets_is_not_removed(pictures, run):
    (pictures.local / "datasets" / "few").mkdir(parents=True)
    status, _, err = run("remove", "datasets")
    assert (status, len(err)) == (2, 1)
    assert "'datasets' is no file here" in err[0]


@slow
def test_checkpoints_of_a_training_that_was_given_up_go_with_its_model(pictures, run, monkeypatch):
    with monkeypatch.context() as patch:
        fill_disk(patch, "*.pth")
        assert run(*SMALL, "--seed", "2")[0] == 30
    assert run(*SMALL)[0] == 0
    assert run(*SMALL, "--name", "wave-2")[0] == 0
    (given_up,) = {path.parent for path in pictures.local.rglob("*.ckpt")}
    assert given_up.parent == checkpoints_of(pictures.local, "wave.pth")
    assert run("remove", "saved_models/wave-2.pth")[0] == 0
    assert given_up.exists()
    assert run("remove", "saved_models/wave.pth")[0] == 0
    assert not (pictures.local / ".training").exists()


def test_checkpoints_that_nobody_has_gone_on_with_for_weeks_are_swept(tmp_path):
    old, new = checkpoints_of(tmp_path, "a.pth") / "1", checkpoints_of(tmp_path, "b.pth") / "1"
    for folder in (old, new):
        folder.mkdir(parents=True)
        for step in (1, 2):
            (folder / f"{step}.ckpt").write_bytes(b"x")
    now_s = time.time()
    ages = {old: 40, old / "1.ckpt": 41, old / "2.ckpt": KEPT_DAYS + 1, new: 40, new / "1.ckpt": 40}
    for path, days in ages.items():
        os.utime(path, (now_s - days * 86_400,) * 2)
    assert sweep_checkpoints(tmp_path) == [old]
    assert sorted(tmp_path.rglob("*.ckpt")) == [new / "1.ckpt", new / "2.ckpt"]
    assert sweep_checkpoints(tmp_path / "nothing") == []


@slow
def test_a_run_sweeps_them(pictures, run):
    folder = checkpoints_of(pictures.local, "a.pth") / "1"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    assert run(*SMALL)[0] == 0
    assert not folder.exists()
