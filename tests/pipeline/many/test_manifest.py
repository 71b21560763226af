"""Manifests: lines come back as they were, and what is no line is looked at anew."""

from __future__ import annotations

import json

import pytest

from csci_utils.s3 import S3Uri
from pipeline.many.manifest import Manifest, failed_line, made_line, parse_manifest, read_manifest, write_manifest
from tests.pipeline.conftest import BUCKET

MADE = made_line(
    "a\u2028 ä.jpg",
    {"format": 1, "result": {"sha256": "c" * 64, "size_bytes": 3}},
    name="mosaic/a.jpg",
    etag="e",
    seconds=0.12345,
)
FAILED = failed_line("b.jpg", kind="picture", sentence="it is none", made_from={}, parameters={}, max_pixels=5)
MANIFEST = Manifest(lines={"b.jpg": FAILED, "a\u2028 ä.jpg": MADE})


def test_a_manifest_comes_back_from_s3(store):
    uri = S3Uri(BUCKET, "stylized/mosaic/.shards/x.jsonl")
    assert read_manifest(uri) is None
    write_manifest(uri, MANIFEST)
    assert read_manifest(uri) == MANIFEST


def test_lines_are_sorted_json():
    lines = MANIFEST.to_text().split("\n")
    assert [json.loads(line)["image"] for line in lines[:-1]] == ["a\u2028 ä.jpg", "b.jpg"]
    assert lines[-1] == ""
    assert (list(MANIFEST.made), list(MANIFEST.failed)) == (["a\u2028 ä.jpg"], ["b.jpg"])


def test_what_is_no_line_is_left_out():
    others = ["{", "7", "null", '{"image": 3}', '{"image": "x"}', '{"image": "y", "result": {"name": 3}}', "[" * 99999]
    text = "\n".join([*others, MANIFEST.to_text()])
    assert parse_manifest(text) == MANIFEST


@pytest.mark.parametrize(
    "line",
    [
        {**MADE, "error": FAILED["error"]},
        {**FAILED, "result": None},
        {**MADE, "result": {**MADE["result"], "sha256": "../../../x"}},
    ],
    ids=["both", "no result", "no digest"],
)
def test_a_line_is_of_a_result_or_of_a_failure(line):
    assert parse_manifest(json.dumps(line)) == Manifest()
