"""A folder of pictures becomes a dataset in S3, and a dataset comes here, whole and current."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from csci_utils.copies import NotHereError
from csci_utils.folder_copy import StrangeFileError
from csci_utils.luigi.run import build
from csci_utils.manifest import FLAG, FolderDamagedError
from csci_utils.s3 import BucketMissingError, ObjectMissingError, S3Uri, client, delete, list_objects
from neural_style.picture_set import PictureSet
from pipeline import settings
from pipeline.errors import BadNameError
from pipeline.tasks import Dataset, DownloadDataset
from tests.conftest import REPO
from tests.pipeline.conftest import BUCKET, ROOT, encoded_picture


@pytest.fixture
def mine(store, tmp_path) -> Path:
    """Three pictures and a shard of two, at several depths, and what is none of a dataset."""
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(["a.jpg", "b.png", "deep/c.jpg"]):
        (folder / name).write_bytes(encoded_picture(name, seed=number))
    with tarfile.open(folder / "deep" / "0.tar", "w") as shard:
        shard.add(folder / "a.jpg", "x.jpg")
        shard.add(folder / "b.png", "y.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(b"hidden")
    return folder


FILES = ["a.jpg", "b.png", "deep/0.tar", "deep/c.jpg"]


def in_s3(prefix: str = "datasets/coco/") -> dict[str, str]:
    """ETags by key."""
    start = f"{S3Uri.parse(ROOT).key}/{prefix}"
    return {info.uri.key.removeprefix(start): info.etag for info in list_objects(S3Uri(BUCKET, start))}


def put(run, folder: Path, *options: str) -> tuple[int, list[str]]:
    status, out, err = run("put", "--as", "datasets/coco", *options, str(folder))
    assert out == []
    return status, [line.removeprefix("style-pipeline: ") for line in err]


def here(store) -> list[str]:
    root = store.local / "datasets" / "coco"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("[!.]*") if path.is_file())


@pytest.mark.slow
def test_a_folder_becomes_a_dataset_and_comes_here_whole(store, mine, run):
    assert put(run, mine) == (0, [f"put {ROOT}/datasets/coco: 4 files, 4 sent, 0 there already"])
    assert sorted(in_s3()) == [FLAG, *FILES]
    task = Dataset(dataset="coco")
    assert task.complete()
    brought = task.bring()
    assert (here(store), brought.num_files, brought.known_by) == (FILES, 4, "flag")
    assert task.look() == brought
    assert task.still_holds(brought)
    assert len(PictureSet(task.local_path)) == 5
    assert (task.local_path / "deep/c.jpg").read_bytes() == (mine / "deep/c.jpg").read_bytes()


@pytest.mark.slow
def test_what_is_equal_costs_no_transfer(mine, run):
    put(run, mine)
    before = in_s3()
    assert put(run, mine) == (0, [f"up to date {ROOT}/datasets/coco: 4 files"])
    assert in_s3() == before


@pytest.mark.slow
def test_replaced_and_removed_pictures_are_noticed_and_wait_for_a_word(store, mine, run):
    put(run, mine)
    first, before = Dataset(dataset="coco").bring(), in_s3()
    (mine / "a.jpg").write_bytes(encoded_picture("a.jpg", seed=9))
    (mine / "b.png").unlink()
    (mine / "d.png").write_bytes(encoded_picture("d.png", seed=4))
    status, lines = put(run, mine)
    said = "1 files would be replaced and 1 removed, such as 'a.jpg', 'b.png'; use --replace, or another name"
    assert (status, len(lines)) == (30, 1)
    assert lines[0].endswith(said)
    assert in_s3() == before
    status, lines = put(run, mine, "--replace")
    summary = "4 files, 2 sent, 2 there already, 1 of them in place of others, 1 removed"
    assert (status, lines) == (0, [f"put {ROOT}/datasets/coco: {summary}"])
    second = Dataset(dataset="coco").bring()
    assert here(store) == ["a.jpg", "d.png", "deep/0.tar", "deep/c.jpg"]
    assert second.digest != first.digest
    assert not Dataset(dataset="coco").still_holds(first)


@pytest.mark.slow
def test_more_pictures_need_no_word(mine, run):
    put(run, mine)
    (mine / "d.png").write_bytes(encoded_picture("d.png", seed=4))
    assert put(run, mine) == (0, [f"put {ROOT}/datasets/coco: 5 files, 1 sent, 4 there already"])


@pytest.mark.slow
def test_a_prefix_that_was_filled_by_other_means_is_a_dataset_too(store, caplog):
    caplog.set_level("INFO", "csci_utils")
    for number, name in enumerate(["a.jpg", "deep/b.png"]):
        store.put_bytes(f"datasets/coco/{name}", encoded_picture(name, seed=number))
    store.put_bytes("datasets/coco/annotations.json", b"{}")
    task = Dataset(dataset="coco")
    assert task.complete()
    first = task.bring()
    assert (here(store), first.known_by) == (["a.jpg", "deep/b.png"], "listing")
    assert "has no manifest; its 2 files are those that a listing shows" in caplog.text
    store.put_bytes("datasets/coco/a.jpg", encoded_picture("a.jpg", seed=7))
    second = task.look()
    assert second is not None
    assert second.digest != first.digest
    assert task.bring() == second


@pytest.mark.slow
def test_a_dataset_that_is_not_there_is_said_to_be(store):
    task = Dataset(dataset="coco")
    assert (task.complete(), task.look()) == (False, None)
    with pytest.raises(ObjectMissingError, match=rf"{ROOT}/datasets/coco: there is no such folder"):
        task.bring()
    assert not (store.local / "datasets" / "coco").exists()
    elsewhere = Dataset(dataset="coco", s3_root="s3://nowhere/x")
    with pytest.raises(BucketMissingError, match="there is no bucket 'nowhere'"):
        elsewhere.complete()
    result = build([DownloadDataset(dataset="coco")])
    assert (result.exit_status, len(result.missing)) == (20, 1)


@pytest.mark.parametrize("name", ["../x", "/x", "", "a/../b", "a/b", ".x", "a\0b", "x" * 260])
def test_a_name_that_leaves_its_folder_is_refused_before_anything_is_asked(store, run, mine, name):
    with pytest.raises(BadNameError, match="cannot name a dataset"):
        Dataset(dataset=name)
    if name.strip("/") == name and name:
        status, _, err = run("put", "--as", f"datasets/{name}", str(mine))
        assert (status, len(err)) == (2, 1)
        assert "cannot name a dataset" in err[0]


def make_empty(folder: Path) -> Path:
    (folder / "none").mkdir()
    return folder / "none"


def make_an_empty_picture(folder: Path) -> Path:
    (folder / "empty.jpg").touch()
    return folder


def make_an_odd_name(folder: Path) -> Path:
    (folder / "a\nb.jpg").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_empty, "no pictures in it, such as .jpg or .png, and no .tar of them; name the folder that they lie in"),
        (make_an_empty_picture, "it is empty; write it again, or remove it"),
        (make_an_odd_name, "cannot name a picture: it holds a control character"),
    ],
)
def test_what_cannot_be_put_is_said_before_anything_is_sent(mine, run, make, said):
    status, lines = put(run, make(mine))
    assert (status, len(lines), said in lines[0]) == (2, 1, True)
    assert in_s3() == {}


@pytest.mark.slow
def test_a_picture_is_not_added_beside_a_manifest(mine, run):
    assert put(run, mine / "a.jpg")[0] == 0  # without one
    put(run, mine)
    status, lines = put(run, mine / "b.png")
    assert (status, len(lines)) == (2, 1)
    assert "cannot be added to a dataset by itself" in lines[0]


def test_only_a_dataset_is_put_as_a_folder(mine, run):
    for args in (["--as", "images", str(mine)], [str(mine)], ["--as", "datasets/coco", str(mine), str(mine / "a.jpg")]):
        status, _, err = run("put", *args)
        assert (status, len(err)) == (2, 1)
        assert (
            "it is a folder; name the files in it, or put it by itself, as a whole, with --as datasets/NAME" in err[0]
        )


@pytest.mark.slow
def test_the_task_that_fetches_is_complete_while_the_copy_is_current(store, mine, run):
    put(run, mine)
    task = DownloadDataset(dataset="coco")
    assert not task.complete()
    assert build([task]).exit_status == 0
    assert task.complete()
    (mine / "d.png").write_bytes(encoded_picture("d.png", seed=4))
    put(run, mine)
    assert not task.complete()
    task.run()
    assert task.complete()


@pytest.mark.slow
def test_a_changed_object_is_not_taken_for_the_picture(store, mine, run):
    put(run, mine)
    store.put_bytes("datasets/coco/a.jpg", encoded_picture("a.jpg", seed=9))
    with pytest.raises(FolderDamagedError, match=r"a\.jpg: wanted sha256 .* as the flag says, found"):
        Dataset(dataset="coco").bring()
    result = build([DownloadDataset(dataset="coco")])
    assert result.exit_status == 30
    assert put(run, mine)[0] == 0  # which mends it
    Dataset(dataset="coco").bring()
    digest = hashlib.sha256((store.local / "datasets/coco/a.jpg").read_bytes()).hexdigest()
    assert digest == hashlib.sha256((mine / "a.jpg").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_removed_object_is_said_to_be_gone_and_can_be_put_again(mine, run):
    put(run, mine)
    delete(S3Uri.parse(f"{ROOT}/datasets/coco/deep/c.jpg"))
    with pytest.raises(FolderDamagedError, match=r"c\.jpg: gone, though 'deep/c\.jpg' belongs to its folder; put the"):
        Dataset(dataset="coco").bring()
    assert put(run, mine)[1] == [f"put {ROOT}/datasets/coco: 4 files, 1 sent, 3 there already"]
    assert Dataset(dataset="coco").bring().num_files == 4


@pytest.mark.slow
def test_a_manifest_that_leads_out_of_its_folder_is_not_followed(store, tmp_path):
    entry = {"name": "../../../out.jpg", "size_bytes": 1, "sha256": "0" * 64}
    store.put_bytes(f"datasets/coco/{FLAG}", json.dumps({"files": [entry]}).encode())
    with pytest.raises(FolderDamagedError, match="wanted a manifest, found something else"):
        Dataset(dataset="coco").bring()
    assert not list(tmp_path.rglob("out.jpg"))


@pytest.mark.slow
def test_a_local_picture_that_s3_does_not_have_is_not_trained_on_unawares(store, mine, run):
    put(run, mine)
    task = Dataset(dataset="coco")
    task.bring()
    (task.local_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(StrangeFileError, match=r"holiday\.jpg: there, though the folder in S3 does not have it"):
        task.bring()
    assert (task.local_path / "holiday.jpg").read_bytes() == b"mine"


@pytest.mark.slow
def test_offline_the_whole_copy_is_trusted_and_no_other(store, mine, run, monkeypatch):
    put(run, mine)
    brought = Dataset(dataset="coco").bring()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with settings.use(settings.read_settings(offline=True)):
        task = Dataset(dataset="coco")
        assert (task.complete(), task.look(), task.bring()) == (True, brought, brought)
        (task.local_path / "a.jpg").unlink()
        with pytest.raises(NotHereError, match="found none that is whole"):
            task.bring()
        assert not Dataset(dataset="another").complete()


KILLED = """
import os, signal, sys
from csci_utils import s3
from pipeline.cli import main
made_by = sys.modules["csci_utils.s3.client"]
make, left = made_by._new_client, [int(sys.argv[2])]
def look(request, **_):
    if request.method == "PUT" and request.url.endswith(sys.argv[1]):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
def watched(limits):
    made = make(limits)
    made.meta.events.register("before-send.s3", look)
    return made
made_by._new_client = watched
main(sys.argv[3:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "count"), [(".jpg", 1), (".jpg", 2), (FLAG, 1)])
def test_a_put_that_was_killed_shows_nothing_half_and_is_gone_on_with(mine, run, monkeypatch, suffix, count):
    put(run, mine)
    for number, picture in enumerate(["a.jpg", "deep/c.jpg"]):
        (mine / picture).write_bytes(encoded_picture(picture, seed=20 + number))
    first = Dataset(dataset="coco").look()
    monkeypatch.setenv("PIPELINE_S3_PARALLEL_OBJECTS", "1")
    arguments = [suffix, str(count), "put", "--replace", "--as", "datasets/coco", str(mine)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=REPO, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Dataset(dataset="coco").look() == first
    assert Dataset(dataset="coco").bring() == first
    num_sent = {(".jpg", 1): 2, (".jpg", 2): 1, (FLAG, 1): 0}[suffix, count]
    status, lines = put(run, mine, "--replace")
    assert (status, f"4 files, {num_sent} sent," in lines[0]) == (0, True)
    found = client().get_object(Bucket=BUCKET, Key=f"{S3Uri.parse(ROOT).key}/datasets/coco/{FLAG}")["Body"].read()
    wanted = {each: hashlib.sha256((mine / each).read_bytes()).hexdigest() for each in FILES}
    assert {entry["name"]: entry["sha256"] for entry in json.loads(found)["files"]} == wanted
    assert len(in_s3()) == 5  # no note, no half of anything
