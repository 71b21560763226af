from __future__ import annotations

import base64
import hashlib
import io
import logging
import zlib
from pathlib import Path

import pytest

from csci_utils import s3
from csci_utils.s3 import (
    AccessRefusedError,
    BucketMissingError,
    DigestMismatchError,
    KeysRefusedError,
    ObjectMissingError,
    S3Error,
    S3Limits,
    S3Uri,
    StoreTimeoutError,
    StoreUnreachableError,
    boto3_backend,
)
from tests.csci_utils.fake_store import cut, give, hang_up, refuse, stall, stay_silent

URI = S3Uri("bucket", "images/cat.jpg")
BODY = bytes(range(256)) * 400  # 100 KB
SMALL_CHUNKS = S3Limits(chunk_bytes=10_000)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"]


def corrupted(body: bytes) -> bytes:
    return body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]


# --- against moto


@pytest.mark.slow
def test_what_is_put_comes_back_with_its_digest(bucket, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(BODY)
    moved: list[int] = []
    sent = s3.put(tmp_path / "cat.jpg", URI, on_bytes=moved.append)
    assert sent == s3.head(URI)
    assert sent.sha256 == hashlib.sha256(BODY).hexdigest()
    got = s3.get(URI, tmp_path / "copy", on_bytes=moved.append)
    assert (tmp_path / "copy").read_bytes() == BODY
    assert (got.info, got.sha256, got.checked_by) == (sent, sent.sha256, "sha256")
    assert sum(moved) == 2 * len(BODY)
    assert s3.client().head_object(Bucket="bucket", Key=URI.key)["ContentType"] == "image/jpeg"


@pytest.mark.slow
def test_a_big_file_goes_in_parts_and_comes_back(bucket, tmp_path):
    body = b"0123456789abcdef" * (9 * 1024 * 64)  # 9 MiB
    (tmp_path / "big.pth").write_bytes(body)
    moved: list[int] = []
    sent = s3.put(tmp_path / "big.pth", URI, on_bytes=moved.append, extra={"Metadata": {"by": "me"}})
    assert sent.etag.endswith("-2")
    assert sum(moved) == len(body)
    assert s3.get(URI, tmp_path / "copy").checked_by == "sha256"
    assert (tmp_path / "copy").read_bytes() == body
    assert s3.client().head_object(Bucket="bucket", Key=URI.key)["Metadata"]["by"] == "me"


def test_a_file_that_changes_while_it_is_sent_is_refused(bucket, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(BODY)
    with pytest.raises(S3Error, match=r"cat\.jpg changed while it was sent; send it again"):
        s3.put(tmp_path / "cat.jpg", URI, on_bytes=lambda _: (tmp_path / "cat.jpg").write_bytes(b"other"))


def test_an_object_of_others_is_checked_by_its_etag(bucket, tmp_path):
    s3.client().put_object(Bucket="bucket", Key=URI.key, Body=BODY)
    assert s3.get(URI, tmp_path / "copy").checked_by in ("etag", "crc32")
    assert s3.get(URI, tmp_path / "copy").sha256 == hashlib.sha256(BODY).hexdigest()


def test_an_empty_object_is_an_object(bucket, tmp_path):
    s3.client().put_object(Bucket="bucket", Key=URI.key, Body=b"")
    info = s3.head(URI)
    assert info is not None
    assert info.size_bytes == 0
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_a_mere_prefix_is_no_object(bucket):
    s3.client().put_object(Bucket="bucket", Key="images/cat.jpg/deeper", Body=b"x")
    assert s3.head(URI) is None
    assert s3.head(S3Uri("bucket", "images/cat.jpg/deeper")) is not None


def test_an_object_that_is_missing_says_so(bucket, tmp_path):
    with pytest.raises(ObjectMissingError, match=r"^s3://bucket/images/cat\.jpg: wanted to read it: there is no such"):
        s3.get(URI, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert isinstance(s3.missing(URI), ObjectMissingError)


@pytest.mark.slow
def test_a_bucket_that_is_missing_says_so(s3_endpoint, tmp_path):
    with pytest.raises(BucketMissingError, match="there is no bucket 'bucket'"):
        s3.get(URI, tmp_path / "copy")
    (tmp_path / "cat.jpg").write_bytes(BODY)
    with pytest.raises(BucketMissingError, match="there is no bucket 'bucket'"):
        s3.put(tmp_path / "cat.jpg", URI)
    assert s3.head(URI) is None
    assert not s3.bucket_exists("bucket")
    assert isinstance(s3.missing(URI), BucketMissingError)


def test_a_bucket_that_is_there_exists(bucket):
    assert s3.bucket_exists("bucket")


# --- against a store that misbehaves


@pytest.mark.parametrize("found", [True, False], ids=["hit", "miss"])
def test_looking_up_is_one_head_of_the_exact_key(store, found):
    store.hold(BODY, sha256=True)
    if not found:
        store.faults.append(refuse(404, "NoSuchKey"))
    info = s3.head(S3Uri("bucket", "a b?c#d"))
    assert (info is not None) == found
    assert store.requests == ["HEAD /bucket/a%20b%3Fc%23d"]


def test_a_look_gives_the_metadata_by_lower_case_names(store):
    store.hold(BODY, **{"X-Amz-Meta-Made-By": "Us", "x-amz-meta-sha256": "0" * 64, "x-amz-meta-upload": "token"})
    seen = s3.look(URI)
    assert seen.metadata == {"made-by": "Us", "sha256": "0" * 64, "upload": "token"}
    assert (seen.info.sha256, seen.token) == ("0" * 64, "token")
    assert store.requests == ["HEAD /bucket/images/cat.jpg"]
    store.body = None
    assert s3.look(URI) is None
    assert len(store.requests) == 2


def test_a_lookup_that_is_refused_is_not_a_missing_object(store):
    store.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefusedError, match=r"wanted to look it up: the store refused \(403\)"):
        s3.head(URI)
    store.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefusedError, match=r"s3://bucket/: wanted to look it up: the store refused"):
        s3.bucket_exists("bucket")


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        cut(BODY, after=30_000),
        cut(BODY, after=0),
        give(corrupted(BODY)),
        give(BODY[:-1]),
        give(BODY, length=len(BODY) + 1),
        stall(BODY, after=30_000),
    ],
    ids=["cut", "cut-at-once", "corrupted", "too-short", "lying-length", "stalled"],
)
@pytest.mark.parametrize("sha256", [True, False], ids=["our-digest", "etag"])
def test_a_damaged_body_is_fetched_again(store, pauses, caplog, tmp_path, fault, sha256):
    s3.use_limits(S3Limits(chunk_bytes=10_000, read_timeout_s=0.6))
    store.hold(BODY, sha256=sha256)
    store.faults.extend([fault, fault])
    moved: list[int] = []
    got = s3.get(URI, tmp_path / "copy", on_bytes=moved.append)
    assert (tmp_path / "copy").read_bytes() == BODY
    assert got.sha256 == hashlib.sha256(BODY).hexdigest()
    assert got.checked_by == ("sha256" if sha256 else "etag")
    assert store.requests == ["GET /bucket/images/cat.jpg"] * 3
    assert len(pauses) == 2
    assert [line.partition(";")[2].rpartition("; ")[2] for line in lines(caplog)] == ["try 2 of 5", "try 3 of 5"]
    assert sum(moved) == len(BODY)


def test_bytes_that_are_wrong_every_time_are_an_error_that_names_both_digests(store, pauses, tmp_path):
    store.hold(BODY, sha256=True)
    store.faults.extend([give(corrupted(BODY))] * 9)
    wanted, found = hashlib.sha256(BODY).hexdigest(), hashlib.sha256(corrupted(BODY)).hexdigest()
    moved: list[int] = []
    with pytest.raises(DigestMismatchError, match=f"the store says sha256 {wanted}, the bytes that came have {found}"):
        s3.get(URI, tmp_path / "copy", on_bytes=moved.append)
    assert len(store.requests) == 5
    assert sum(moved) == 0


def test_a_body_that_is_cut_every_time_is_an_error(store, pauses, tmp_path):
    store.hold(BODY)
    store.faults.extend([cut(BODY, after=30_000)] * 9)
    with pytest.raises(StoreUnreachableError, match="the connection broke in the middle of the bytes"):
        s3.get(URI, tmp_path / "copy")
    assert len(store.requests) == 5
    assert len(pauses) == 4


@pytest.mark.slow
def test_a_body_that_stalls_every_time_is_given_up_sooner(store, pauses, tmp_path):
    s3.use_limits(S3Limits(read_timeout_s=0.6, silent_attempts=2))
    store.hold(BODY)
    store.faults.extend([stall(BODY, after=30_000)] * 9)
    with pytest.raises(StoreTimeoutError, match="did not answer in time"):
        s3.get(URI, tmp_path / "copy")
    assert len(store.requests) == 2


def test_a_retried_body_leaves_nothing_of_a_longer_one(store, pauses, tmp_path):
    store.hold(b"short", sha256=True)
    store.faults.append(give(BODY))
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"short"


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "checked_by"),
    [
        ({"ETag": '"0123-2"'}, "size"),
        ({"ETag": '"0123-2"', "x-amz-checksum-crc32": crc32(BODY)}, "crc32"),
        ({"ETag": '"0123-2"', "x-amz-checksum-crc32": crc32(BODY)[:-2] + "-2"}, "size"),
        ({"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"}, "size"),
        ({"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, "size"),
        ({"x-amz-server-side-encryption": "AES256"}, "etag"),
        ({"x-amz-meta-sha256": "not a digest", "ETag": '"0123-2"'}, "size"),
        ({"x-amz-meta-sha256": hashlib.sha256(BODY).hexdigest().upper()}, "sha256"),
    ],
    ids=["multipart", "stored-crc32", "composite-crc32", "kms", "own-key", "aes256", "odd-metadata", "upper-case"],
)
def test_a_body_is_checked_by_what_the_store_offers(store, tmp_path, headers, checked_by):
    store.hold(BODY, **headers)
    assert s3.get(URI, tmp_path / "copy").checked_by == checked_by


def test_a_body_without_a_digest_is_as_long_as_it_was_seen(store, pauses, tmp_path):
    store.hold(BODY, ETag='"0123-2"')
    seen, moved = s3.head(URI), []
    store.faults.append(give(BODY[:-1]))  # by a length that says so
    assert s3.get(URI, tmp_path / "copy", seen=seen, on_bytes=moved.append).checked_by == "size"
    assert (tmp_path / "copy").read_bytes() == BODY
    assert sum(moved) == len(BODY)
    store.faults.extend([give(BODY[:-1])] * 9)
    with pytest.raises(StoreUnreachableError, match=r"seen with 102400 bytes \(etag 0123-2\), and 102399 came"):
        s3.get(URI, tmp_path / "copy", seen=seen)


def test_a_body_of_another_object_may_have_another_length(store, tmp_path):
    store.hold(BODY, ETag='"0123-2"')
    seen = s3.head(URI)
    store.hold(BODY[:-1], ETag='"4567-2"')
    assert s3.get(URI, tmp_path / "copy", seen=seen).info.size_bytes == len(BODY) - 1


def test_a_stored_checksum_that_differs_is_noticed(store, pauses, tmp_path):
    store.hold(BODY, ETag='"0123-2"', x_amz_checksum_crc32=crc32(BODY))
    store.faults.extend([give(corrupted(BODY))] * 9)
    with pytest.raises(DigestMismatchError, match="Expected checksum .* did not match calculated checksum"):
        s3.get(URI, tmp_path / "copy")
    assert len(store.requests) == 5


def test_a_stored_checksum_is_asked_for_whatever_the_configuration_says(store, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    store.hold(BODY, ETag='"0123-2"', x_amz_checksum_crc32=crc32(BODY))
    assert s3.get(URI, tmp_path / "copy").checked_by == "crc32"


def test_the_length_is_compared_though_the_http_library_does_not(pauses, monkeypatch, tmp_path):
    class Careless:
        def get_object(self, **_: object) -> dict[str, object]:
            return {"ContentLength": 10, "ETag": '"0123-2"', "Body": io.BytesIO(b"only 6")}

    monkeypatch.setattr(boto3_backend, "client", Careless)
    with pytest.raises(StoreUnreachableError, match="10 bytes were announced and 6 came"):
        s3.get(URI, tmp_path / "copy")


def test_the_etag_is_that_of_the_bytes_that_came(store, pauses, tmp_path):
    store.hold(BODY, sha256=True)
    assert s3.get(URI, tmp_path / "copy").info.etag == hashlib.md5(BODY).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [refuse(503, "SlowDown"), hang_up], ids=["503", "hang-up"])
def test_failures_that_pass_are_tried_again_and_logged(store, pauses, caplog, tmp_path, fault):
    store.hold(BODY, sha256=True)
    store.faults.extend([fault] * 5)
    s3.get(URI, tmp_path / "copy")
    assert len(store.requests) == 6
    assert len(pauses) == 5
    assert [line.partition(",")[0] for line in lines(caplog)] == [f"{URI}: try {n} of 8" for n in range(2, 7)]
    assert all(
        line.endswith(("the store answered 503 SlowDown", "the connection was closed")) for line in lines(caplog)
    )


@pytest.mark.slow
def test_a_file_is_sent_again_from_its_beginning(store, pauses, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(BODY)
    store.faults.extend([refuse(503, "SlowDown"), hang_up, stay_silent])
    s3.use_limits(S3Limits(read_timeout_s=0.6))
    assert s3.put(tmp_path / "cat.jpg", URI).size_bytes == len(BODY)
    assert store.requests == ["PUT /bucket/images/cat.jpg"] * 4
    assert store.received == [BODY] * 4


@pytest.mark.slow
def test_failures_that_do_not_pass_end_in_an_error(store, pauses, tmp_path):
    store.faults.extend([refuse(503, "ServiceUnavailable")] * 20)
    with pytest.raises(S3Error, match=r"the store failed \(503 ServiceUnavailable\) however often"):
        s3.get(URI, tmp_path / "copy")
    assert len(store.requests) == 8


def test_a_refusal_is_not_tried_again(store, pauses, caplog, tmp_path):
    store.faults.append(refuse(403, "SignatureDoesNotMatch", "hunter2"))
    with pytest.raises(KeysRefusedError, match="the secret key does not belong to the access key") as caught:
        s3.get(URI, tmp_path / "copy")
    assert "hunter2" not in str(caught.value)
    assert len(store.requests) == 1
    assert lines(caplog) == []


@pytest.mark.slow
def test_a_store_that_stays_silent_is_given_up(store, pauses, tmp_path):
    s3.use_limits(S3Limits(read_timeout_s=0.6))
    store.faults.extend([stay_silent] * 9)
    with pytest.raises(StoreTimeoutError, match=rf"{store.url} did not answer in time \(ReadTimeoutError\)"):
        s3.get(URI, tmp_path / "copy")
    assert len(store.requests) == S3Limits().silent_attempts


def test_a_full_disk_is_not_the_stores_fault(store, pauses, monkeypatch):
    store.hold(BODY)
    with pytest.raises(OSError, match="No space left on device") as caught:
        s3.get(URI, Path("/dev/full"))
    assert not isinstance(caught.value, S3Error)
    assert len(store.requests) == 1


def test_logs_are_warnings(store, pauses, caplog, tmp_path):
    store.hold(BODY)
    store.faults.append(cut(BODY, after=1))
    s3.get(URI, tmp_path / "copy")
    assert {record.levelno for record in caplog.records if record.name == "csci_utils.s3"} == {logging.WARNING}


# --- objects of others in parts

PARTS = [BODY[:40_000], BODY[40_000:80_000], BODY[80_000:]]


def etag_of(parts: list[bytes]) -> str:
    return f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def tell_sizes(store, *, first: int, last: int, count: int | None = None) -> None:
    headers = {} if count is None else {"x-amz-mp-parts-count": str(count)}
    store.at("?partNumber=1", lambda handler: handler.begin(200, first, {"ETag": '"x"', **headers}))
    store.at("?partNumber=3", lambda handler: handler.begin(200, last, {"ETag": '"x"', **headers}))


@pytest.mark.parametrize("count", [3, None], ids=["told", "not-told"])
def test_an_object_in_parts_of_one_size_is_checked_by_their_digests(store, tmp_path, count):
    store.hold(BODY, ETag=etag_of(PARTS))
    tell_sizes(store, first=40_000, last=len(PARTS[2]), count=count)
    assert s3.get(URI, tmp_path / "copy").checked_by == "etag of parts"
    assert len(store.requests) == 3


def test_an_object_in_one_part_needs_no_more_requests(store, tmp_path):
    store.hold(BODY, ETag=etag_of([BODY]))
    assert s3.get(URI, tmp_path / "copy").checked_by == "etag of parts"
    assert store.requests == ["GET /bucket/images/cat.jpg"]


@pytest.mark.slow
def test_a_wrong_bit_in_one_part_is_noticed(store, pauses, tmp_path):
    store.hold(BODY, ETag=etag_of(PARTS))
    for _ in range(5):
        tell_sizes(store, first=40_000, last=len(PARTS[2]))
    store.at("GET /bucket/images/cat.jpg", *[give(corrupted(BODY))] * 5)
    with pytest.raises(DigestMismatchError, match="the store says MD5 of its parts' MD5s"):
        s3.get(URI, tmp_path / "copy")


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [(40_000, 40_000, None), (len(BODY), len(BODY), None), (40_000, len(PARTS[2]), 4), (10_000, 82_400, None)],
    ids=["other-sum", "no-parts-told", "other-count", "last-is-larger"],
)
def test_parts_of_unknown_size_leave_only_the_length(store, tmp_path, first, last, count):
    store.hold(BODY, ETag=etag_of(PARTS))
    tell_sizes(store, first=first, last=last, count=count)
    assert s3.get(URI, tmp_path / "copy").checked_by == "size"
    assert len(store.requests) == 3


def test_a_store_that_refuses_to_tell_of_parts_leaves_only_the_length(store, tmp_path):
    store.hold(BODY, ETag=etag_of(PARTS))
    store.at("?partNumber=1", refuse(400, "InvalidArgument"))
    assert s3.get(URI, tmp_path / "copy").checked_by == "size"
