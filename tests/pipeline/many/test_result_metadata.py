"""A record as metadata of its result: the same record comes back, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from csci_utils.s3 import S3Uri
from pipeline.result_metadata import LONGEST_BYTES, from_metadata, to_metadata

URIS = {"image": S3Uri("bucket", "images/ä b.jpg"), "model": S3Uri("bucket", "saved_models/mosaic.pth")}
RESULT = {"sha256": "c" * 64, "size_bytes": 12}


def record(**others):
    sources = {
        name: {"uri": str(uri), "etag": "e" * 32, "sha256": "a" * 64, "size_bytes": 7, "checked_by": "sha256"}
        for name, uri in URIS.items()
    }
    made_by = {"engine": "openvino", "engine_version": "2026.4.1", "precision": "float32", "arithmetic": "float32"}
    return {
        "format": 1,
        "made_from": sources,
        "parameters": {"max_side": None, "quality": 95, "precision": "float32", "algorithm": 1},
        "made_by": made_by | {"device": "cpu", "threads": 1},
        "result": RESULT,
    } | others


def back(metadata):
    return from_metadata(metadata, uris=URIS, **RESULT)


@pytest.mark.parametrize("others", [{}, {"forced": "0123456789abcdef"}])
def test_a_record_comes_back_as_it_was(others):
    metadata = to_metadata(record(**others))
    assert back(metadata) == record(**others)
    assert all(value.isascii() and len(value) <= LONGEST_BYTES for value in metadata.values())


def test_of_how_it_was_made_the_beginning_is_kept_where_all_is_too_long():
    made_by = record()["made_by"] | {"bands": {"on": "disk" * 100}}
    assert back(to_metadata(record(made_by=made_by))) == record()


@pytest.mark.parametrize("key", ["record", "made-from-image", "made-from-model", "parameters", "made-by"])
@pytest.mark.parametrize("text", [None, "", "{", "7", "[]", '{"a": 1}'])
def test_what_is_no_record_is_not_taken_for_one(key, text):
    metadata = to_metadata(record())
    del metadata[key]
    if text is not None:
        metadata[key] = text
    found = back(metadata)
    assert found is None or (key == "made-by" and text == '{"a": 1}')  # which nothing depends on


def test_a_result_without_a_digest_has_no_record():
    assert from_metadata(to_metadata(record()), uris=URIS, sha256=None, size_bytes=12) is None
