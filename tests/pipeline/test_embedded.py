from __future__ import annotations

import os

import pytest

from csci_utils.s3 import S3Error, S3Uri, client, head
from pipeline.embedded import ROOT, embedded_s3
from pipeline.errors import NotConfiguredError

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    for name in ("images/cat.jpg", "images/holiday/sea.jpg", "images/.hidden.json", "saved_models/m.pth"):
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "bucket"


def test_it_holds_the_folder_with_digests_and_nothing_hidden(folder):
    with embedded_s3(folder):
        listing = client().list_objects_v2(Bucket="embedded")["Contents"]
        found = [entry["Key"].removeprefix("pipeline/") for entry in listing]
        info = head(S3Uri.parse(f"{ROOT}/images/cat.jpg"))
    assert found == ["images/cat.jpg", "images/holiday/sea.jpg", "saved_models/m.pth"]
    assert info is not None
    assert info.sha256 is not None


def test_no_call_can_reach_a_real_account(folder, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "real-account")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real-token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9/real")
    with embedded_s3(folder) as address:
        within = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        assert client().meta.endpoint_url == address
    assert address.startswith("http://127.0.0.1:")
    assert {within["AWS_ENDPOINT_URL"], within["AWS_ENDPOINT_URL_S3"]} == {address}
    assert not [name for name in within if "PROFILE" in name or "TOKEN" in name]
    assert not [value for value in within.values() if "real" in value]
    assert within["AWS_ACCESS_KEY_ID"].startswith("embedded-")


def test_the_environment_is_as_before_when_it_ends(folder, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "real-account")
    before = dict(os.environ)
    with pytest.raises(KeyError, match="stop"), embedded_s3(folder):
        raise KeyError("stop")
    assert dict(os.environ) == before


@pytest.mark.slow
def test_two_in_one_process_know_nothing_of_each_other(folder, tmp_path):
    with embedded_s3(folder):
        pass
    (tmp_path / "other" / "images").mkdir(parents=True)
    with embedded_s3(tmp_path / "other"):
        assert client().list_objects_v2(Bucket="embedded")["KeyCount"] == 0


@pytest.mark.slow
def test_a_name_that_no_key_can_have_is_refused(folder):
    with open(os.fsencode(folder) + b"/images/\xff.jpg", "wb"):
        pass
    with pytest.raises(NotConfiguredError, match="is UTF-8"), embedded_s3(folder):
        pass


@pytest.mark.slow
def test_a_bucket_name_that_s3_does_not_take_is_an_error_of_the_store(folder):
    with pytest.raises(S3Error, match="s3://ab"), embedded_s3(folder, s3_root="s3://ab/p"):
        pass


def test_it_listens_on_the_loopback_and_stops(folder):
    import socket

    with embedded_s3(folder) as address:
        port = int(address.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_missing_folder_is_said_with_what_to_do(tmp_path):
    with (
        pytest.raises(NotConfiguredError, match="not a folder; make it .* --embedded-folder"),
        embedded_s3(tmp_path / "x"),
    ):
        pass
