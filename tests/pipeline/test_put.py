from __future__ import annotations

import hashlib

import pytest

from csci_utils.s3 import S3Uri, head
from tests.pipeline.conftest import ROOT, encoded_picture, model_bytes


@pytest.fixture
def files(store, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "sea.png").write_bytes(encoded_picture("sea.png"))
    (folder / "mosaic.pth").write_bytes(model_bytes())
    return folder


def sha256_in_s3(name: str) -> str | None:
    info = head(S3Uri.parse(f"{ROOT}/{name}"))
    return info.sha256 if info else None


@pytest.mark.slow
def test_pictures_and_models_go_where_they_belong_and_can_be_used(files, run):
    status, out, err = run("put", str(files / "sea.png"), str(files / "mosaic.pth"))
    assert (status, out) == (0, [])
    assert sorted(err) == [
        f"style-pipeline: put {ROOT}/images/sea.png",
        f"style-pipeline: put {ROOT}/saved_models/mosaic.pth",
    ]
    assert sha256_in_s3("images/sea.png") == hashlib.sha256((files / "sea.png").read_bytes()).hexdigest()
    assert run("-i", "sea.png", "-m", "mosaic")[0] == 0


def test_what_is_there_already_is_left_alone(files, run):
    run("put", str(files / "sea.png"))
    assert run("put", str(files / "sea.png"))[2] == [f"style-pipeline: up to date {ROOT}/images/sea.png"]


@pytest.mark.slow
def test_other_bytes_are_refused_unless_they_are_to_be_replaced(files, run):
    run("put", str(files / "sea.png"))
    before = sha256_in_s3("images/sea.png")
    (files / "sea.png").write_bytes(encoded_picture("sea.png", seed=9))
    after = hashlib.sha256((files / "sea.png").read_bytes()).hexdigest()
    status, _, err = run("put", str(files / "sea.png"), str(files / "mosaic.pth"))
    assert status == 30
    assert sum(f"S3 holds sha256 {before}, the file has {after}" in line for line in err) == 1
    assert sha256_in_s3("saved_models/mosaic.pth") is not None  # its neighbour went
    assert sha256_in_s3("images/sea.png") == before
    assert run("put", "--replace", str(files / "sea.png"))[0] == 0
    assert sha256_in_s3("images/sea.png") == after


@pytest.mark.parametrize("folder", ["images", "styles", "saved_models", "datasets/coco", "images/holiday"])
def test_a_folder_can_be_named(files, run, folder):
    assert run("put", "--as", folder, str(files / "sea.png"))[0] == 0
    assert sha256_in_s3(f"{folder}/sea.png") is not None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["put", "none.png"], "'none.png' cannot be put into S3: it is no file; check its name"),
        (["put", "mine"], "'mine' cannot be put into S3: it is a folder; name the files in it"),
        (["put", "mine/notes.txt"], "'mine/notes.txt' is neither a picture nor a model by its suffix; say where it"),
        (["put", "--as", "elsewhere", "mine/sea.png"], "--as wants images, saved_models, styles or datasets/NAME"),
        (["put", "--as", "datasets", "mine/sea.png"], "--as wants images, saved_models, styles or datasets/NAME"),
        (["put", "--as", "images/../x", "mine/sea.png"], "'../x' cannot name a folder: it leaves its folder"),
        (["put", "--as", "../images", "mine/sea.png"], "--as wants images, saved_models, styles or datasets/NAME"),
        (["put", "mine/.hidden.png"], "'.hidden.png' cannot name a file: a name that begins with a dot"),
        (["put", "mine/sea.png", "mine/more/sea.png"], "'mine/sea.png' and 'mine/more/sea.png' would both become"),
        (["put", "mine/nothing.png"], "'mine/nothing.png' cannot be put into S3: it is empty"),
        (["put", "--offline", "mine/sea.png"], "put sends files to S3, and --offline asks it nothing"),
        (["put"], "Missing argument 'FILE...'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_put_is_said_before_anything_is_sent(files, run, args, said):
    (files / "notes.txt").write_text("x")
    (files / ".hidden.png").write_bytes(b"x")
    (files / "nothing.png").write_bytes(b"")
    (files / "more").mkdir()
    (files / "more" / "sea.png").write_bytes(b"x")
    status, out, err = run(*args)
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"style-pipeline: error: {said}")
    assert sha256_in_s3("images/sea.png") is None


def test_a_bucket_that_is_not_there_is_the_stores_error(files, run, monkeypatch):
    status, _, err = run("put", "--s3-root", "s3://nowhere/x", str(files / "sea.png"))
    assert (status, len(err)) == (35, 1)
    assert "there is no bucket 'nowhere'" in err[0]
