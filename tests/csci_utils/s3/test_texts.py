from __future__ import annotations

import tempfile

import pytest

from csci_utils import s3
from csci_utils.s3 import AccessRefusedError, ObjectMissingError, S3Uri
from tests.csci_utils.fake_store import refuse

URI = S3Uri("bucket", "made/record.json")


@pytest.fixture(autouse=True)
def _temporary_files_lie_here(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_text_comes_back_and_nothing_is_left_here(store, tmp_path):
    s3.put_text('{"of": "Zürich 🙂"}', URI)
    [body] = store.received
    assert body == '{"of": "Zürich 🙂"}'.encode()
    store.hold(body)
    assert s3.get_text(URI) == '{"of": "Zürich 🙂"}'
    assert s3.get_record(URI) == {"of": "Zürich 🙂"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16"), b"[" * 100_000],
    ids=["empty", "list", "cut", "no-utf-8", "utf-16", "deep"],
)
def test_what_is_no_record_is_none(store, body):
    store.hold(body)
    assert s3.get_record(URI) is None


def test_what_is_no_utf_8_is_marked_in_a_text(store):
    store.hold(b"a\xffb")
    assert s3.get_text(URI) == "a\N{REPLACEMENT CHARACTER}b"


def test_what_is_missing_is_an_error_as_a_text_and_no_record(store):
    store.faults.extend([refuse(404, "NoSuchKey")] * 2)
    with pytest.raises(ObjectMissingError):
        s3.get_text(URI)
    assert s3.get_record(URI) is None


def test_what_is_refused_is_an_error(store):
    store.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefusedError):
        s3.get_record(URI)
