from __future__ import annotations

import logging
from pathlib import Path

import luigi
import numpy as np
import pytest
from PIL import Image

from csci_utils.io import read_record, record_path, sha256_of
from csci_utils.luigi.run import ExitStatus, build
from csci_utils.s3 import BucketMissingError
from pipeline import settings
from pipeline.errors import BadNameError, NotConfiguredError
from pipeline.loaded import loaded_stylizer
from pipeline.tasks import ContentImage, DownloadImage, DownloadModel, SavedModel, Stylize
from tests.pipeline.conftest import BUCKET, ROOT, encoded_picture, model_bytes

MODES = ["in-process", pytest.param("program", marks=pytest.mark.slow)]


def made(task: luigi.Task) -> ExitStatus:
    return build([task]).exit_status


def test_inputs_lie_below_the_s3_root(store):
    assert ContentImage(image="a/cat.jpg").output().path == f"{ROOT}/images/a/cat.jpg"
    assert SavedModel(model="mosaic").output().path == f"{ROOT}/saved_models/mosaic.pth"
    assert SavedModel(model="mosaic.onnx").output().path == f"{ROOT}/saved_models/mosaic.onnx"


def test_roots_are_class_properties_over_the_settings(store):
    assert ContentImage.IMAGE_ROOT == f"{ROOT}/images"
    assert SavedModel.MODEL_ROOT == f"{ROOT}/saved_models"
    assert (DownloadModel.S3_ROOT, DownloadModel.LOCAL_ROOT) == (ROOT, str(store.local))
    assert DownloadModel.SHARED_RELATIVE_PATH == "saved_models"
    assert DownloadImage.SHARED_RELATIVE_PATH == "images"
    with settings.use(settings.read_settings(s3_root="s3://elsewhere/p")):
        assert ContentImage.IMAGE_ROOT == "s3://elsewhere/p/images"


def test_roots_are_read_only_on_a_task(store):
    with pytest.raises(AttributeError, match="override it in a subclass"):
        DownloadModel(model="mosaic").S3_ROOT = "s3://other/p"


def test_roots_are_overridden_in_a_subclass(store):
    class Elsewhere(DownloadImage):
        S3_ROOT = "s3://elsewhere/q"
        LOCAL_ROOT = "/tmp/elsewhere"

    task = Elsewhere(image="cat.jpg")
    assert task.requires().output().path == "s3://elsewhere/q/images/cat.jpg"
    assert task.output().path == "/tmp/elsewhere/images/cat.jpg"

    class OtherImages(ContentImage):
        IMAGE_ROOT = "s3://gallery/all"

    assert OtherImages(image="cat.jpg").output().path == "s3://gallery/all/cat.jpg"


def test_the_s3_root_is_part_of_the_identity_and_the_local_root_is_not(store, tmp_path):
    here = Stylize(image="cat.jpg", model="mosaic")
    assert here.task_id != Stylize(image="cat.jpg", model="mosaic", s3_root="s3://elsewhere/p").task_id
    assert here.task_id == Stylize(image="cat.jpg", model="mosaic", s3_root=f"{ROOT}/").task_id
    with settings.use(settings.read_settings(s3_root=ROOT, local_root=str(tmp_path / "other"))):
        assert Stylize(image="cat.jpg", model="mosaic").task_id == here.task_id


def test_where_it_runs_is_no_part_of_the_identity(store):
    here = Stylize(image="cat.jpg", model="mosaic")
    there = Stylize(image="cat.jpg", model="mosaic", device="cuda:1", mode="program", max_pixels=5)
    assert there.task_id == here.task_id
    assert Stylize(image="cat.jpg", model="mosaic", max_side=500).task_id != here.task_id
    assert Stylize(image="cat.jpg", model="mosaic", quality=75).task_id != here.task_id


def test_a_gpu_is_a_resource_of_its_host(store):
    names = list(Stylize(image="cat.jpg", model="mosaic", device="cuda:1").resources)
    assert [name.partition("-")[0] for name in names] == ["gpu"]
    assert Stylize(image="cat.jpg", model="mosaic", device="cpu").resources == {}


def test_the_program_gets_no_credentials(store, monkeypatch):
    monkeypatch.setenv("PIPELINE_OTHER", "kept")
    environment = Stylize(image="cat.jpg", model="mosaic").program_environment()
    assert environment["PIPELINE_OTHER"] == "kept"
    assert not [name for name in environment if name.startswith("AWS_")]


def test_stylize_requires_the_two_objects_in_s3(store):
    required = Stylize(image="cat.jpg", model="mosaic").requires()
    assert {name: type(task) for name, task in required.items()} == {"image": ContentImage, "model": SavedModel}


@pytest.mark.parametrize("task", [ContentImage, DownloadImage], ids=lambda task: task.__name__)
def test_a_bad_name_is_refused_before_anything_is_read(store, task):
    with pytest.raises(BadNameError, match="leaves its folder"):
        task(image="../cat.jpg")


def test_without_a_root_the_two_ways_on_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotConfiguredError, match="PIPELINE_S3_ROOT.*--embedded"):
        ContentImage(image="cat.jpg")


@pytest.mark.slow
def test_an_input_is_complete_by_its_exact_key(bucket):
    assert ContentImage(image="luigi.jpg").complete()
    assert not ContentImage(image="luig").complete()
    assert not ContentImage(image="luigi.jpg.bak").complete()


def test_a_missing_bucket_is_no_missing_object(bucket):
    with pytest.raises(BucketMissingError, match="no bucket 'nowhere'"):
        ContentImage(image="luigi.jpg", s3_root="s3://nowhere/p").complete()


@pytest.mark.slow
def test_download_brings_the_same_bytes_to_the_same_relative_path(bucket):
    assert made(DownloadImage(image="luigi.jpg")) == ExitStatus.OK
    assert made(DownloadModel(model="mosaic")) == ExitStatus.OK
    assert (bucket.local / "images" / "luigi.jpg").read_bytes() == encoded_picture("luigi.jpg")
    assert (bucket.local / "saved_models" / "mosaic.pth").read_bytes() == model_bytes()
    assert bucket.files() == [
        "images/.luigi.jpg.json",
        "images/luigi.jpg",
        "saved_models/.mosaic.pth.json",
        "saved_models/mosaic.pth",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_stylize_leaves_a_checked_picture_and_its_record(bucket, mode):
    task = Stylize(image="luigi.jpg", model="mosaic", mode=mode)
    assert made(task) == ExitStatus.OK
    result = Path(task.output().path)
    assert result == bucket.local / "stylized" / "mosaic" / "luigi.jpg"
    with Image.open(result) as image:
        assert (image.format, image.size) == ("JPEG", (32, 24))
    record = read_record(result)
    assert record is not None
    assert record["result"] == {"sha256": sha256_of(result), "size_bytes": result.stat().st_size}
    for name, path in task.local_copies().items():
        assert record["made_from"][name]["sha256"] == sha256_of(path)
    assert record["made_from"]["model"]["uri"] == f"{ROOT}/saved_models/mosaic.pth"
    assert record["parameters"] == {"max_side": None, "quality": 95, "precision": "float32", "algorithm": 1}
    assert record["made_by"]["engine"] == "torch"
    assert record["made_by"]["device"] == "cpu"
    assert [path.name for path in result.parent.iterdir() if path != record_path(result)] == ["luigi.jpg"]


@pytest.mark.slow
def test_both_modes_make_the_same_bytes(bucket):
    task = Stylize(image="luigi.jpg", model="mosaic")
    made(task)
    first = Path(task.output().path).read_bytes()
    Path(task.output().path).unlink()
    assert made(Stylize(image="luigi.jpg", model="mosaic", mode="program")) == ExitStatus.OK
    assert Path(task.output().path).read_bytes() == first


@pytest.mark.slow
def test_a_second_run_does_nothing(bucket):
    task = Stylize(image="luigi.jpg", model="mosaic")
    made(task)
    before = {name: (bucket.local / name).stat().st_mtime_ns for name in bucket.files()}
    again = build([task])
    assert again.already_done == [task.task_id]
    assert {name: (bucket.local / name).stat().st_mtime_ns for name in bucket.files()} == before


def spoil(bucket, what: str) -> None:
    result = bucket.local / "stylized" / "mosaic" / "luigi.jpg"
    match what:
        case "another picture of the same name":
            bucket.put_image("luigi.jpg", seed=2)
        case "other weights of the same name":
            bucket.put_model("mosaic.pth", seed=2)
        case "result deleted":
            result.unlink()
        case "result damaged":
            result.write_bytes(result.read_bytes()[:-1] + b"\0")
        case "record deleted":
            record_path(result).unlink()
        case "local copy damaged and result deleted":
            (bucket.local / "images" / "luigi.jpg").write_bytes(encoded_picture("luigi.jpg", seed=3))
            result.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "same_result"),
    [
        ("another picture of the same name", False),
        ("other weights of the same name", False),
        ("result deleted", True),
        ("result damaged", True),
        ("record deleted", True),
        ("local copy damaged and result deleted", True),
    ],
)
def test_what_no_longer_holds_is_made_anew(bucket, what, same_result):
    task = Stylize(image="luigi.jpg", model="mosaic")
    made(task)
    first = sha256_of(task.output().path)
    spoil(bucket, what)
    assert not task.complete()
    assert made(task) == ExitStatus.OK
    assert task.complete()
    assert (sha256_of(task.output().path) == first) == same_result


@pytest.mark.slow
def test_an_onnx_model_makes_the_picture_that_its_weights_make(bucket, tmp_path):
    from neural_style.onnx_export import export_onnx

    (tmp_path / "mosaic.pth").write_bytes(model_bytes())
    export_onnx(tmp_path / "mosaic.pth", tmp_path / "exported.onnx")
    bucket.put_bytes("saved_models/exported.onnx", (tmp_path / "exported.onnx").read_bytes())
    bucket.put_image("cat.png", size=(61, 37))
    pictures = []
    for model in ("mosaic", "exported.onnx"):
        task = Stylize(image="cat.png", model=model, engine="auto")
        assert made(task) == ExitStatus.OK
        with Image.open(task.output().path) as image:
            pictures.append(np.asarray(image).astype(int))
    assert task.output().path.endswith("/stylized/exported/cat.png")
    record = read_record(task.output().path)
    assert record is not None
    assert record["made_by"]["engine"] == "onnxruntime"
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@pytest.mark.slow
def test_quality_bears_on_lossy_results_only(store):
    store.put_model("mosaic.pth")
    for name in ("cat.jpg", "cat.png"):
        store.put_image(name)
        made(Stylize(image=name, model="mosaic", quality=95))
    assert not Stylize(image="cat.jpg", model="mosaic", quality=50).complete()
    assert Stylize(image="cat.png", model="mosaic", quality=50).complete()


@pytest.mark.slow
def test_max_side_shrinks_first_and_is_part_of_the_name(bucket):
    task = Stylize(image="luigi.jpg", model="mosaic", max_side=16)
    assert made(task) == ExitStatus.OK
    assert task.output().path.endswith("/stylized/mosaic/luigi@16.jpg")
    with Image.open(task.output().path) as image:
        assert image.size == (16, 12)


@pytest.mark.slow
def test_the_result_is_what_the_net_alone_makes(store):
    from neural_style.images import load_image
    from neural_style.stylize import Stylizer

    store.put_image("cat.png")
    store.put_model("mosaic.pth")
    task = Stylize(image="cat.png", model="mosaic")
    made(task)
    stylizer = Stylizer(task.local_copies()["model"], device="cpu")
    expected = stylizer.style(np.asarray(load_image(task.local_copies()["image"])))
    with Image.open(task.output().path) as image:
        np.testing.assert_array_equal(np.asarray(image), expected)


BROKEN = {
    "picture-not-a-picture": ("images/luigi.jpg", b"plain text", "not a picture"),
    "picture-truncated": ("images/luigi.jpg", encoded_picture("luigi.jpg")[:300], "truncated or damaged"),
    "picture-empty": ("images/luigi.jpg", b"", "empty"),
    "weights-html": ("saved_models/mosaic.pth", b"<!DOCTYPE html><p>404</p>", "web page"),
    "weights-truncated": ("saved_models/mosaic.pth", model_bytes()[:2000], "mosaic.pth"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content", "sentence"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("mode", MODES)
def test_a_broken_input_fails_in_one_sentence_and_leaves_no_result(bucket, name, content, sentence, mode, caplog):
    bucket.put_bytes(name, content)
    task = Stylize(image="luigi.jpg", model="mosaic", mode=mode)
    with caplog.at_level(logging.INFO):
        outcome = build([task])
    assert outcome.exit_status == ExitStatus.TASK_FAILED
    failure = outcome.failures[task.task_id]
    assert sentence in failure.sentence
    assert "\n" not in failure.sentence
    assert "AWS_SECRET" not in caplog.text
    assert not [file for file in bucket.files() if file.startswith("stylized/")]


@pytest.mark.slow
def test_a_failure_keeps_the_older_result(bucket):
    task = Stylize(image="luigi.jpg", model="mosaic")
    made(task)
    before = Path(task.output().path).read_bytes()
    bucket.put_bytes("images/luigi.jpg", b"no picture")
    assert made(task) == ExitStatus.TASK_FAILED
    assert Path(task.output().path).read_bytes() == before
    assert not task.complete()


@pytest.mark.slow
def test_a_copy_replaced_while_it_is_read_is_noticed(bucket, monkeypatch):
    from neural_style.stylize import Stylizer

    style_file = Stylizer.style_file

    def replaced_meanwhile(self, content, output, **options):
        made_of = style_file(self, content, output, **options)
        other = Path(content).with_suffix(".new")
        other.write_bytes(encoded_picture("luigi.jpg", seed=9))
        other.replace(content)
        return made_of

    monkeypatch.setattr(Stylizer, "style_file", replaced_meanwhile)
    task = Stylize(image="luigi.jpg", model="mosaic")
    outcome = build([task])
    assert outcome.exit_status == ExitStatus.TASK_FAILED
    assert "replaced while it was being read" in outcome.failures[task.task_id].sentence
    assert not Path(task.output().path).exists()


@pytest.mark.slow
def test_a_net_is_loaded_once_for_many_pictures(bucket, monkeypatch):
    from neural_style.stylize import Stylizer

    loads = []
    load = Stylizer.__init__
    monkeypatch.setattr(Stylizer, "__init__", lambda self, *args, **kw: loads.append(args) or load(self, *args, **kw))
    loaded_stylizer.cache_clear()
    bucket.put_image("sea.png", seed=2)
    outcome = build([Stylize(image=name, model="mosaic") for name in ("luigi.jpg", "sea.png")])
    assert (outcome.exit_status, len(outcome.done), len(loads)) == (ExitStatus.OK, 2, 1)


@pytest.mark.slow
def test_a_net_of_other_bytes_than_were_fetched_is_neither_used_nor_kept(bucket, monkeypatch):
    """Another run puts other weights in the place between the fetch and the load of this one."""
    from pipeline.tasks import stylize

    loaded_stylizer.cache_clear()
    fetch = stylize.fetch

    def swapped_after(uri, path, **options):
        copy = fetch(uri, path, **options)
        if path.suffix == ".pth":
            other = path.with_suffix(".new")
            other.write_bytes(model_bytes(2))
            other.replace(path)
        return copy

    task = Stylize(image="luigi.jpg", model="mosaic")
    with monkeypatch.context() as patched:
        patched.setattr(stylize, "fetch", swapped_after)
        outcome = build([task])
    assert "replaced while it was being read" in outcome.failures[task.task_id].sentence
    assert made(task) == ExitStatus.OK
    first = sha256_of(task.output().path)
    Path(task.output().path).unlink()
    loaded_stylizer.cache_clear()
    made(task)
    assert sha256_of(task.output().path) == first


def test_a_missing_input_is_status_20(bucket):
    outcome = build([Stylize(image="no.jpg", model="mosaic")])
    assert outcome.exit_status == ExitStatus.INPUT_MISSING
    assert len(outcome.missing) == 1


@pytest.mark.slow
def test_no_bucket_is_status_35(bucket):
    outcome = build([Stylize(image="luigi.jpg", model="mosaic", s3_root=f"s3://{BUCKET}-gone/p")])
    assert outcome.exit_status == ExitStatus.STORE
