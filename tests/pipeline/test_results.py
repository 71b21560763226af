from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from csci_utils.io import read_record, write_record
from csci_utils.s3 import ObjectInfo, S3Uri
from pipeline.results import (
    Parameters,
    Source,
    make_record,
    precision_in,
    reason_to_make,
    result_name,
    sha256_in,
)

IMAGE = S3Uri.parse("s3://bucket/p/images/cat.jpg")
MODEL = S3Uri.parse("s3://bucket/p/saved_models/mosaic.pth")
PARAMETERS = Parameters(max_side=None, quality=95, precision="float32", algorithm=1)
TORCH = {"engine": "torch", "precision": "float32"}


def source(info: ObjectInfo, sha256: str) -> Source:
    return Source(uri=str(info.uri), etag=info.etag, sha256=sha256, size_bytes=info.size_bytes, checked_by="sha256")


@pytest.fixture
def inputs():
    return {"image": ObjectInfo(IMAGE, "etag-i", 3, "1" * 64), "model": ObjectInfo(MODEL, "etag-m", 5, "2" * 64)}


@pytest.fixture
def result(tmp_path, inputs):
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"styled")
    sources = {name: source(info, info.sha256) for name, info in inputs.items()}
    write_record(path, make_record(path, inputs=sources, parameters=PARAMETERS, made_by=TORCH))
    return path


def test_a_result_holds_while_nothing_changed(result, inputs):
    assert reason_to_make(result, inputs=inputs, parameters=PARAMETERS) is None


def test_what_is_not_there_is_to_be_made(tmp_path, inputs):
    assert reason_to_make(tmp_path / "no.jpg", inputs=inputs, parameters=PARAMETERS) == "not made yet"


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"format": 0}'], ids=repr)
def test_a_result_without_a_usable_record_is_made_again(result, inputs, record):
    beside = result.with_name(".cat.jpg.json")
    beside.unlink()
    if record is not None:
        beside.write_text(record)
    assert reason_to_make(result, inputs=inputs, parameters=PARAMETERS) == "it has no record of what it was made from"


@pytest.mark.parametrize("name", ["image", "model"])
def test_a_changed_input_is_named_with_both_digests(result, inputs, name):
    changed = inputs | {name: replace(inputs[name], etag="other", sha256="f" * 64)}
    then = inputs[name].sha256[:12]
    expected = f"{name} changed: sha256 {then} -> {'f' * 12}"
    assert reason_to_make(result, inputs=changed, parameters=PARAMETERS) == expected


def test_another_model_file_is_named_by_its_address(result, inputs):
    other = S3Uri.parse("s3://bucket/p/saved_models/mosaic.onnx")
    changed = inputs | {"model": ObjectInfo(other, "e", 5, "f" * 64)}
    assert reason_to_make(result, inputs=changed, parameters=PARAMETERS) == f"model changed: {MODEL} -> {other}"


def test_the_same_bytes_put_anew_change_nothing(result, inputs):
    anew = inputs | {"image": replace(inputs["image"], etag="multipart-2")}
    assert reason_to_make(result, inputs=anew, parameters=PARAMETERS) is None


def test_an_object_without_digest_is_compared_by_etag(result, inputs):
    same = inputs | {"image": replace(inputs["image"], sha256=None)}
    other = inputs | {"image": replace(inputs["image"], sha256=None, etag="b")}
    elsewhere = inputs | {
        "image": replace(inputs["image"], sha256=None, uri=S3Uri.parse("s3://other/p/images/cat.jpg"))
    }
    assert reason_to_make(result, inputs=same, parameters=PARAMETERS) is None
    assert "image changed: s3://bucket/p/images/cat.jpg etag etag-i -> " in str(
        reason_to_make(result, inputs=other, parameters=PARAMETERS)
    )
    assert "s3://other/" in str(reason_to_make(result, inputs=elsewhere, parameters=PARAMETERS))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"max_side": 500}, "max_side changed: None -> 500"),
        ({"quality": 75}, "quality changed: 95 -> 75"),
        ({"algorithm": 2}, "algorithm changed: 1 -> 2"),
    ],
    ids=str,
)
def test_a_changed_parameter_is_named(result, inputs, change, reason):
    assert reason_to_make(result, inputs=inputs, parameters=replace(PARAMETERS, **change)) == reason


@pytest.mark.parametrize(
    ("made", "wanted", "reason"),
    [
        ("float32", "float32", None),
        ("float32", "fast", None),
        ("fast", "fast", None),
        ("fast", "float32", "precision changed: fast -> float32"),
        ("bf16", "float32", "precision changed: bf16 -> float32"),
        ("bf16", "fast", "precision changed: bf16 -> fast"),
        (None, "fast", "precision changed: None -> fast"),
    ],
)
def test_a_better_precision_does_and_a_lesser_one_is_named(result, inputs, made, wanted, reason):
    record = read_record(result)
    write_record(result, record | {"parameters": record["parameters"] | {"precision": made}})
    assert reason_to_make(result, inputs=inputs, parameters=replace(PARAMETERS, precision=wanted)) == reason


@pytest.mark.parametrize(("wanted", "made"), [("fast", "float32"), ("fast", "fast"), ("float32", "float32")])
def test_a_record_holds_the_precision_that_was_made(result, wanted, made):
    parameters = replace(PARAMETERS, precision=wanted)
    record = make_record(result, inputs={}, parameters=parameters, made_by={"precision": made})
    assert record["parameters"] == asdict(replace(PARAMETERS, precision=made))
    assert precision_in(record) == made


@pytest.mark.parametrize("record", [{}, {"parameters": None}, {"parameters": []}, {"result": 3}], ids=str)
def test_a_record_of_another_shape_has_neither_precision_nor_digest(record):
    assert (precision_in(record), sha256_in(record)) == (None, None)


@pytest.mark.parametrize("content", [b"styleD", b"", b"styled and more"], ids=repr)
def test_a_file_that_is_not_the_one_that_was_made_is_made_again(result, inputs, content):
    result.write_bytes(content)
    assert reason_to_make(result, inputs=inputs, parameters=PARAMETERS) == "the file is not the one that was made"


HALF = {"uri": "s3://bucket/x", "etag": "e", "sha256": None, "size_bytes": 3, "checked_by": "size"}
NOWHERE = HALF | {"sha256": "a", "uri": "nowhere"}


@pytest.mark.parametrize(
    "broken", [{}, {"image": 3}, {"image": {"uri": "x"}}, {"image": HALF}, {"image": NOWHERE}, []], ids=repr
)
def test_a_record_of_another_shape_is_no_record(result, inputs, broken):
    sources = {name: source(info, info.sha256) for name, info in inputs.items()}
    record = make_record(result, inputs=sources, parameters=PARAMETERS, made_by=TORCH)
    write_record(result, record | {"made_from": broken})
    assert "does not say which image" in str(reason_to_make(result, inputs=inputs, parameters=PARAMETERS))


@pytest.mark.parametrize(
    ("image", "model", "max_side", "suffix", "name"),
    [
        ("cat.jpg", "mosaic", None, ".jpg", "mosaic/cat.jpg"),
        ("cat.jpg", "mosaic.pth", 500, ".jpg", "mosaic/cat@500.jpg"),
        ("holiday/cat.gif", "v2/mosaic.onnx", None, ".png", "v2/mosaic/holiday/cat.png"),
        ("a.b.JPG", "mosaic", None, ".JPG", "mosaic/a.b.JPG"),
    ],
)
def test_a_result_is_named_for_its_picture_and_model(image, model, max_side, suffix, name):
    assert result_name(image, model, max_side=max_side, suffix=suffix) == name
