"""What a file and an object have to do with each other before and after one is sent."""

from __future__ import annotations

import hashlib
import logging

import pytest

from csci_utils import copies, s3
from csci_utils.copies import NotHereError, ObjectDiffersError, fetch, is_current, push, trusted
from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.luigi.mirror import Upload
from csci_utils.s3 import S3Uri

URI = S3Uri("bucket", "images/cat.jpg")
BODY = b"cat" * 1000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(BODY)
    return path


def held(uri: S3Uri = URI) -> bytes:
    return bytes(s3.client().get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read())


@pytest.mark.slow
def test_what_s3_lacks_is_sent_with_its_digest(bucket, file, caplog):
    caplog.set_level(logging.INFO, logger="csci_utils.mirror")
    assert push(file, URI)
    assert held() == BODY
    info = s3.head(URI)
    assert info is not None
    assert info.sha256 == hashlib.sha256(BODY).hexdigest()
    assert [record.getMessage() for record in caplog.records] == [f"{file}: sent to {URI}: absent in S3"]


def test_what_is_equal_costs_one_head(store, file):
    store.hold(BODY, sha256=True)
    assert not push(file, URI)
    assert store.requests == ["HEAD /bucket/images/cat.jpg"]


def test_an_object_of_others_is_compared_by_its_md5(store, file):
    store.hold(BODY)
    assert not push(file, URI)
    assert store.requests == ["HEAD /bucket/images/cat.jpg"]


@pytest.mark.slow
def test_other_bytes_are_refused_and_both_digests_named(bucket, file):
    push(file, URI)
    file.write_bytes(b"dog" * 1000)
    first, second = (hashlib.sha256(body).hexdigest() for body in (BODY, b"dog" * 1000))
    with pytest.raises(
        ObjectDiffersError, match=f"S3 holds sha256 {first}, the file has {second}; use --replace"
    ) as it:
        push(file, URI)
    assert describe_failure(it.value).status == ExitStatus.TASK_FAILED
    assert held() == BODY
    assert push(file, URI, replace=True)
    assert held() == b"dog" * 1000


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({"ETag": '"0123-2"'}, BODY, r"S3 holds etag 0123-2, the file has MD5 [0-9a-f]{32}"),
        ({}, BODY + b"!", r"S3 holds 3001 bytes, the file has 3000"),
    ],
    ids=["parts", "size"],
)
def test_an_object_that_cannot_be_told_from_the_file_counts_as_different(store, file, headers, body, said):
    store.hold(body, **headers)
    with pytest.raises(ObjectDiffersError, match=said):
        push(file, URI)


@pytest.mark.slow
def test_another_who_was_faster_is_not_overwritten(bucket, file, monkeypatch):
    def look_then_lose(uri: S3Uri) -> s3.ObjectInfo | None:
        info = real(uri)
        if info is None:
            s3.client().put_object(Bucket="bucket", Key=URI.key, Body=others)
        return info

    real, others = copies.head, b"other"
    monkeypatch.setattr(copies, "head", look_then_lose)
    with pytest.raises(ObjectDiffersError, match="S3 holds 5 bytes, the file has 3000"):
        push(file, URI)
    assert held() == b"other"
    s3.client().delete_object(Bucket="bucket", Key=URI.key)
    others = BODY
    assert not push(file, URI)


def test_a_file_that_is_not_there_says_so(bucket, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        push(tmp_path / "none.jpg", URI)


def test_offline_trusts_the_copy_and_asks_nothing(store, tmp_path):
    store.hold(BODY, sha256=True)
    copy = tmp_path / "data" / "cat.jpg"
    record = fetch(URI, copy)
    store.requests.clear()
    store.hold(b"new", sha256=True)
    assert fetch(URI, copy, offline=True) == record == trusted(URI, copy)
    assert is_current(URI, copy, offline=True)
    assert store.requests == []
    copy.write_bytes(b"damaged")
    assert not is_current(URI, copy, offline=True)
    with pytest.raises(NotHereError, match=r"found none that is whole, and S3 is not to be asked \(offline\)"):
        fetch(URI, copy, offline=True)
    with pytest.raises(NotHereError, match=r"s3://bucket/other: wanted its copy"):
        trusted(S3Uri("bucket", "other"), copy)
    assert describe_failure(NotHereError("x")).status == ExitStatus.INPUT_MISSING


@pytest.mark.slow
def test_an_upload_is_complete_while_s3_holds_the_files_bytes(bucket, file):
    class UploadCat(Upload):
        source = file
        destination = URI

    task = UploadCat()
    assert not task.complete()
    task.run()
    assert task.complete()
    assert task.output().exists()
    file.write_bytes(b"dog")
    assert not task.complete()
    with pytest.raises(ObjectDiffersError, match="S3 holds sha256"):
        task.run()
    UploadCat(replace=True).run()
    assert task.complete()
    file.unlink()
    assert task.complete()  # S3 is the truth


def test_a_task_that_does_not_say_what_it_sends_names_itself():
    class Vague(Upload):
        pass

    with pytest.raises(NotImplementedError, match="Vague does not say its source"):
        _ = Vague().source
    with pytest.raises(NotImplementedError, match="Vague does not say its destination"):
        _ = Vague().destination
