"""What a store that is not Amazon's may need: its buckets named otherwise, its checksums asked for or left out."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest

from csci_utils import s3
from csci_utils.s3 import S3Uri
from tests.servers.gate import Gate, Key

pytestmark = pytest.mark.slow

URI = S3Uri("bucket", "images/cat.jpg")


@pytest.fixture
def gate(s3_endpoint, monkeypatch):
    """What is before an empty bucket and keeps every request; it is called ``*.store.test``, too."""
    s3.client().create_bucket(Bucket="bucket")
    resolve = socket.getaddrinfo

    def loopback(host, *args, **kwargs):
        return resolve("127.0.0.1" if str(host).endswith("store.test") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", loopback)
    with Gate(s3_endpoint, keys={"test-key": Key("test-secret")}) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://store.test:{gate.port}")
        s3.forget_client()
        yield gate
    s3.use_addressing_style(None)


PATH, HOST = ("store.test", "/bucket/images/cat.jpg"), ("bucket.store.test", "/images/cat.jpg")


@pytest.mark.parametrize(("style", "asked"), [("path", PATH), ("virtual", HOST), ("auto", PATH), (None, PATH)])
def test_a_bucket_is_named_where_the_setting_says(gate, style, asked):
    s3.use_addressing_style(style)
    s3.head(URI)
    assert (gate.passages[0].headers["host"].partition(":")[0], gate.passages[0].path) == asked


@pytest.mark.parametrize(("style", "asked"), [(None, HOST), ("path", PATH)])
def test_the_setting_comes_before_the_profile(gate, monkeypatch, tmp_path, style, asked):
    (tmp_path / "config").write_text(
        "[default]\ns3 =\n  addressing_style = virtual\n  payload_signing_enabled = true\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    s3.use_addressing_style(style)
    s3.head(URI)
    assert (gate.passages[0].headers["host"].partition(":")[0], gate.passages[0].path) == asked
    assert s3.client().meta.config.s3["payload_signing_enabled"]  # what else it says stays


def test_another_style_is_refused_by_name():
    with pytest.raises(ValueError, match="addressing_style: wanted one of auto, path, virtual, found 'dns'"):
        s3.use_addressing_style("dns")


def test_no_range_asks_for_the_checksum_of_the_whole(gate, tmp_path):
    s3.use_limits(s3.S3Limits(range_bytes=1000))
    body = os.urandom(5000)
    s3.client().put_object(Bucket=URI.bucket, Key=URI.key, Body=body, ChecksumAlgorithm="CRC32")
    s3.get(URI, tmp_path / "back", seen=s3.head(URI))
    assert (tmp_path / "back").read_bytes() == body
    gets = [one.headers for one in gate.passages if one.method == "GET"]
    assert {"range" in headers for headers in gets} == {True}
    assert {headers.get("x-amz-checksum-mode") for headers in gets} == {None}


SIZES = {"whole": 1000, "in-parts": 9 * 1024 * 1024}


@pytest.mark.parametrize("size_bytes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("validation", ["when_supported", "when_required"])
@pytest.mark.parametrize("calculation", ["when_supported", "when_required"])
def test_checksums_are_sent_and_asked_for_as_boto3_is_told(
    gate, monkeypatch, tmp_path, calculation, validation, size_bytes
):
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", calculation)
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", validation)
    s3.forget_client()
    body = os.urandom(size_bytes)
    (tmp_path / "here").write_bytes(body)
    s3.put(tmp_path / "here", URI)
    got = s3.get(URI, tmp_path / "back")
    assert (got.sha256, got.checked_by) == (hashlib.sha256(body).hexdigest(), "sha256")
    assert (tmp_path / "back").read_bytes() == body
    sent = {"x-amz-checksum-crc32" in one.headers for one in gate.passages if one.method == "PUT"}
    asked = {one.headers.get("x-amz-checksum-mode") for one in gate.passages if one.method == "GET"}
    assert sent == {calculation == "when_supported"}
    assert asked == {"ENABLED" if validation == "when_supported" else None}


@pytest.mark.parametrize(("validation", "checked_by"), [("when_supported", "crc32"), ("when_required", "size")])
def test_a_big_object_without_a_digest_is_checked_by_a_checksum_only_where_those_are_wanted(
    gate, monkeypatch, tmp_path, validation, checked_by
):
    s3.use_limits(s3.S3Limits(range_bytes=1024 * 1024))
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", validation)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    s3.forget_client()
    body = os.urandom(6 * 1024 * 1024)
    names = {"Bucket": URI.bucket, "Key": URI.key}
    s3.client().put_object(**names, Body=body, ServerSideEncryption="aws:kms")  # so that the ETag says nothing
    got = s3.get(URI, tmp_path / "back", seen=s3.head(URI))
    assert (tmp_path / "back").read_bytes() == body
    assert got.checked_by == checked_by
    asked = ["x-amz-checksum-mode" in one.headers for one in gate.passages]
    assert any(asked) == (validation == "when_supported")


def test_without_a_word_of_the_users_uploads_carry_no_checksum_but_the_md5(gate, tmp_path):
    (tmp_path / "here").write_bytes(b"body")
    s3.put(tmp_path / "here", URI)
    (passage,) = gate.passages
    assert "content-md5" in passage.headers
    assert not [name for name in passage.headers if name.startswith("x-amz-checksum")]


def test_the_profile_may_ask_for_checksums_too(gate, monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\nrequest_checksum_calculation = when_supported\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "here").write_bytes(b"body")
    s3.put(tmp_path / "here", URI)
    assert "x-amz-checksum-crc32" in gate.passages[0].headers


@pytest.mark.slow
@pytest.mark.parametrize("validation", ["when_supported", "when_required"])
@pytest.mark.parametrize("calculation", ["when_supported", "when_required"])
def test_a_store_that_compares_takes_and_gives_with_every_setting(
    swift_store, monkeypatch, tmp_path, calculation, validation
):
    for name, value in swift_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", calculation)
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", validation)
    bucket = swift_store.new_bucket()
    for name, size_bytes in SIZES.items():
        body = os.urandom(size_bytes)
        (tmp_path / "here").write_bytes(body)
        s3.put(tmp_path / "here", S3Uri(bucket, name))
        assert s3.get(S3Uri(bucket, name), tmp_path / "back").checked_by == "sha256"
        assert (tmp_path / "back").read_bytes() == body
