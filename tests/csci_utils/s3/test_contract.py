"""What `csci_utils.s3` promises of any store: the same on moto and on Swift, which checks signatures and digests."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from csci_utils import s3
from csci_utils.s3 import (
    BucketMissingError,
    KeysRefusedError,
    ObjectExistsError,
    ObjectInfo,
    ObjectMissingError,
    S3Limits,
    S3Uri,
)
from csci_utils.s3.backend import backend
from tests.servers.faults import CallFirst
from tests.servers.proxy import FaultProxy
from tests.servers.stores import Store

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
SMALL_PARTS = S3Limits(multipart_bytes=5 * MIB, part_bytes=5 * MIB, range_bytes=2 * MIB)

ODD_KEYS = {
    "spaces": " two  spaces ",
    "unicode": "bücher/猫 🐈.jpg",
    "decomposed": "u\u0308ber",
    "query": "a?b#c%d+e&f=g;h",
    "escaped-already": "a%20b%2Fc",
    "punctuation": "!*'()~@$,:[]{}|^`\\\"<>",
    "line-break": "two\nlines\ttab",
    "double-slash": "a//b",
    "ends-with-slash": "folder/",
    "dots": "a/.hidden/...",
    "longest": "k" * 900,
    "longest-unicode": "猫" * 300,
}


def body_of(num_bytes: int) -> bytes:
    """The same bytes each time, with no two stretches alike."""
    return hashlib.shake_256(b"contract").digest(num_bytes)


@pytest.fixture
def uri(any_store) -> S3Uri:
    """An address in an empty bucket."""
    return S3Uri(any_store.new_bucket(), "images/cat.jpg")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(body_of(1000))
    return path


@pytest.mark.parametrize("num_bytes", [0, 1, 100_000, 11 * MIB], ids=["empty", "one-byte", "small", "three-parts"])
def test_what_is_put_comes_back(any_store, uri, tmp_path, num_bytes):
    s3.use_limits(SMALL_PARTS)
    body, moved = body_of(num_bytes), []
    (tmp_path / "file").write_bytes(body)
    sent = s3.put(tmp_path / "file", uri, on_bytes=moved.append)
    assert (sent.uri, sent.size_bytes, sent.sha256) == (uri, num_bytes, hashlib.sha256(body).hexdigest())
    assert sent.etag.endswith("-3") == (num_bytes == 11 * MIB)
    assert sent == s3.head(uri)
    assert any_store.read(uri.bucket, uri.key) == body
    for seen in (None, sent):
        got = s3.get(uri, tmp_path / "copy", on_bytes=moved.append, seen=seen)
        assert (tmp_path / "copy").read_bytes() == body
        assert (got.info, got.sha256, got.checked_by) == (sent, sent.sha256, "sha256")
    assert sum(moved) == 3 * num_bytes


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS.keys())
def test_a_key_is_taken_as_it_is(any_store, uri, file, tmp_path, key):
    if key == ODD_KEYS["line-break"] and any_store.name == "moto":
        with pytest.raises(ClientError, match="404"):  # moto itself knows no such address
            any_store.plain.put_object(Bucket=uri.bucket, Key=key, Body=b"")
        return
    odd = S3Uri(uri.bucket, key)
    sent = s3.put(file, odd)
    assert any_store.keys(uri.bucket) == [key]
    assert s3.head(odd) == sent
    assert s3.get(odd, tmp_path / "copy").info == sent
    assert list(s3.list_objects(S3Uri(uri.bucket, key))) == [ObjectInfo(odd, sent.etag, 1000, None)]
    s3.delete(odd)
    assert s3.head(odd) is None
    assert any_store.keys(uri.bucket) == []


@pytest.mark.parametrize(("old", "new"), [(1000, 2000), (6 * MIB, 1000), (1000, 6 * MIB)])
def test_a_put_replaces_what_was_there(any_store, uri, tmp_path, old, new):
    s3.use_limits(SMALL_PARTS)
    for num_bytes in (old, new):
        (tmp_path / "file").write_bytes(body_of(num_bytes))
        sent = s3.put(tmp_path / "file", uri)
    assert s3.head(uri) == sent
    assert any_store.read(uri.bucket, uri.key) == body_of(new)
    assert any_store.keys(uri.bucket) == [uri.key]


@pytest.mark.parametrize("num_bytes", [1000, 6 * MIB], ids=["whole", "in-parts"])
def test_a_put_may_refuse_to_replace(any_store, uri, file, tmp_path, num_bytes):
    s3.use_limits(SMALL_PARTS)
    first = s3.put(file, uri, only_if_absent=True)
    (tmp_path / "other").write_bytes(body_of(num_bytes + 1))
    with pytest.raises(ObjectExistsError, match=r"images/cat\.jpg: wanted to write it"):
        s3.put(tmp_path / "other", uri, only_if_absent=True)
    assert s3.head(uri) == first
    assert any_store.uploads(uri.bucket) == []


def test_an_object_that_changed_after_the_look_is_fetched_as_it_is_now(uri, tmp_path):
    s3.use_limits(SMALL_PARTS)
    for num_bytes in (6 * MIB, 7 * MIB):
        (tmp_path / f"{num_bytes}").write_bytes(body_of(num_bytes))
    seen = s3.put(tmp_path / f"{6 * MIB}", uri)
    sent = s3.put(tmp_path / f"{7 * MIB}", uri)
    assert s3.get(uri, tmp_path / "copy", seen=seen).info == sent
    assert (tmp_path / "copy").read_bytes() == body_of(7 * MIB)


def test_an_object_that_changes_between_two_ranges_is_not_mixed(any_store, uri, tmp_path, monkeypatch, pauses):
    s3.use_limits(SMALL_PARTS)
    put_in_parts(any_store, uri, body_of(6 * MIB), part_bytes=6 * MIB)
    new = body_of(7 * MIB)[::-1]
    with FaultProxy(any_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        replace = CallFirst(lambda: put_in_parts(any_store, uri, new, part_bytes=7 * MIB))
        proxy.add(replace, method="GET", skip=1)
        got = s3.get(uri, tmp_path / "copy", seen=s3.head(uri))
        assert got.info == s3.head(uri)
    assert (tmp_path / "copy").read_bytes() == new


@pytest.mark.parametrize("num_bytes", [1000, 6 * MIB], ids=["whole", "in-parts"])
def test_metadata_comes_back_as_it_was_put(uri, tmp_path, num_bytes):
    s3.use_limits(SMALL_PARTS)
    (tmp_path / "file").write_bytes(body_of(num_bytes))
    printable = "".join(map(chr, range(0x21, 0x7F)))
    metadata = {
        "image-etag": "0" * 32,
        "parameters": ('{"max_side":null,"words":"two  spaces"}' + 3 * printable)[:256],
        **{f"of-256-bytes-{number}": f"{number}" * 256 for number in range(4)},
        "empty": "",
    }
    sent = s3.put(tmp_path / "file", uri, extra={"Metadata": metadata})
    seen = s3.look(uri)
    assert seen.info == sent
    ours = {"sha256": sent.sha256, **({"upload": seen.token} if num_bytes > MIB else {})}
    assert seen.metadata == {**metadata, **ours}
    opened = backend().open(uri)
    opened.body.close()
    assert opened.stored.metadata == seen.metadata
    assert s3.look(uri.joined("deeper")) is None


def test_a_listing_is_of_the_keys_that_begin_so(uri, file):
    for key in ("b/1", "a/2", "a/1", "ab"):
        s3.put(file, S3Uri(uri.bucket, key))
    assert [info.uri.key for info in s3.list_objects(S3Uri(uri.bucket, "a/"))] == ["a/1", "a/2"]
    assert [info.uri.key for info in s3.list_objects(S3Uri(uri.bucket, ""))] == ["a/1", "a/2", "ab", "b/1"]
    assert list(s3.list_objects(S3Uri(uri.bucket, "c"))) == []


SORTED_KEYS = [
    "a/",
    "a/ b",
    "a/!",
    "a/.hidden",
    "a/1 2",
    "a/1+2",
    "a/B",
    "a/a",
    "a/u\u0308",
    "a/~",
    "a/\u00fc",
    "a/\u732b",
    "a/\uff5e",  # which UTF-16 sorts behind the next one
    "a/\U0001f408",
]


def test_a_listing_may_begin_behind_any_key(uri, file):
    prefix = S3Uri(uri.bucket, "a/")
    for key in ("a", *SORTED_KEYS, "b"):
        s3.put(file, S3Uri(uri.bucket, key))
    for after in ("0", "a", *SORTED_KEYS, "a/  ", "a/1", "a/1 2/3", "a/zz", "a/\u6000 \u732b", "a0"):
        listed = [info.uri.key for info in s3.list_objects(prefix, after=S3Uri(uri.bucket, after))]
        assert listed == [key for key in SORTED_KEYS if key.encode() > after.encode()], after
    with pytest.raises(BucketMissingError, match="there is no bucket 'no-such-bucket'"):
        list(s3.list_objects(S3Uri("no-such-bucket", "a/"), after=S3Uri("no-such-bucket", "a/b")))


def test_a_mere_prefix_is_no_object(uri, file, tmp_path):
    s3.put(file, uri.joined("deeper"))
    assert s3.head(uri) is None
    with pytest.raises(ObjectMissingError, match=r"images/cat\.jpg: wanted to read it: there is no such object"):
        s3.get(uri, tmp_path / "copy")
    s3.delete(uri)
    assert s3.head(uri.joined("deeper")) is not None


def test_a_missing_bucket_is_told_from_a_missing_object(any_store, uri, file, tmp_path):
    nowhere = S3Uri("no-such-bucket", uri.key)
    assert s3.head(nowhere) is None
    assert not s3.bucket_exists(nowhere.bucket)
    assert s3.bucket_exists(uri.bucket)
    assert isinstance(s3.missing(nowhere), BucketMissingError)
    assert isinstance(s3.missing(uri), ObjectMissingError)
    with pytest.raises(BucketMissingError, match="there is no bucket 'no-such-bucket'"):
        s3.get(nowhere, tmp_path / "copy")
    with pytest.raises(BucketMissingError, match="there is no bucket 'no-such-bucket'"):
        s3.put(file, nowhere)
    with pytest.raises(BucketMissingError, match="there is no bucket 'no-such-bucket'"):
        list(s3.list_objects(S3Uri("no-such-bucket", "")))
    s3.delete(uri)


def test_a_big_file_for_a_missing_bucket_is_not_sent_in_vain(any_store, tmp_path):
    s3.use_limits(SMALL_PARTS)
    (tmp_path / "file").write_bytes(body_of(6 * MIB))
    moved: list[int] = []
    with pytest.raises(BucketMissingError, match="there is no bucket 'no-such-bucket'"):
        s3.put(tmp_path / "file", S3Uri("no-such-bucket", "key"), on_bytes=moved.append)
    assert sum(moved) == 0


def test_an_object_that_came_in_parts_tells_by_which_upload(any_store, uri, tmp_path):
    s3.use_limits(SMALL_PARTS)
    (tmp_path / "file").write_bytes(body_of(6 * MIB))
    tokens = []
    for _ in range(2):
        s3.put(tmp_path / "file", uri)
        tokens.append(any_store.plain.head_object(Bucket=uri.bucket, Key=uri.key)["Metadata"]["upload"])
        assert backend().head(uri).token == tokens[-1]
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), ValueError("stop")], ids=["ctrl-c", "error"])
def test_an_upload_that_is_given_up_leaves_no_parts(any_store, uri, tmp_path, error):
    s3.use_limits(SMALL_PARTS)
    (tmp_path / "file").write_bytes(body_of(16 * MIB))
    moved: list[int] = []

    def stop(num_bytes: int) -> None:
        moved.append(num_bytes)
        raise error

    with pytest.raises(type(error), match="stop"):
        s3.put(tmp_path / "file", uri, on_bytes=stop)
    assert moved
    assert any_store.uploads(uri.bucket) == []
    assert any_store.keys(uri.bucket) == []


def test_an_object_of_others_is_checked_by_its_etag(any_store, uri, tmp_path):
    any_store.plain.put_object(Bucket=uri.bucket, Key=uri.key, Body=body_of(1000))
    got = s3.get(uri, tmp_path / "copy")
    assert got.info == s3.head(uri)
    assert (got.checked_by, got.info.sha256) == ("etag", None)
    assert (tmp_path / "copy").read_bytes() == body_of(1000)


@pytest.mark.parametrize("range_mib", [2, 100], ids=["in-ranges", "whole"])
def test_an_object_of_others_in_parts_is_checked_by_the_etag_of_its_parts(any_store, uri, tmp_path, range_mib):
    s3.use_limits(S3Limits(range_bytes=range_mib * MIB))
    put_in_parts(any_store, uri, body_of(11 * MIB), part_bytes=5 * MIB)
    got = s3.get(uri, tmp_path / "copy")
    assert got.info.etag.endswith("-3")
    assert got.checked_by == "etag of parts"
    assert (tmp_path / "copy").read_bytes() == body_of(11 * MIB)


def put_in_parts(store: Store, uri: S3Uri, body: bytes, *, part_bytes: int) -> None:
    names = {"Bucket": uri.bucket, "Key": uri.key}
    names["UploadId"] = store.plain.create_multipart_upload(**names)["UploadId"]
    parts = []
    for number, at in enumerate(range(0, len(body), part_bytes), start=1):
        part = body[at : at + part_bytes]
        parts.append(
            {"PartNumber": number, "ETag": store.plain.upload_part(**names, PartNumber=number, Body=part)["ETag"]}
        )
    store.plain.complete_multipart_upload(**names, MultipartUpload={"Parts": parts})


def test_of_a_group_one_failure_does_not_stop_the_others(any_store, uri, tmp_path):
    places = [(S3Uri(uri.bucket, f"{n}"), tmp_path / f"{n}") for n in range(5)]
    for _, path in places:
        path.write_bytes(body_of(1000) + path.name.encode())
    sent = list(s3.put_many([*places, (S3Uri("no-such-bucket", "x"), places[0][1])]))
    assert sorted(any_store.keys(uri.bucket)) == list("01234")
    assert [outcome.error is None for outcome in sent] == [True] * 5 + [False]
    copies = [(S3Uri(uri.bucket, key), tmp_path / f"copy-{key}") for key in "40x21"]
    got = list(s3.get_many(copies))
    assert [type(outcome.error) for outcome in got] == [
        type(None),
        type(None),
        ObjectMissingError,
        type(None),
        type(None),
    ]
    assert [path.read_bytes()[1000:].decode() for _, path in copies if path.exists()] == list("4021")


# --- where the two differ, which is why there are two


def put_with_wrong_digest(store: Store) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    store.plain.put_object(Bucket=store.new_bucket(), Key="key", Body=b"body", ContentMD5=wrong)


def test_swift_refuses_a_body_that_does_not_match_its_digest(swift_store):
    with pytest.raises(ClientError, match="BadDigest"):
        put_with_wrong_digest(swift_store)


def test_moto_takes_a_body_that_does_not_match_its_digest(moto_store):
    put_with_wrong_digest(moto_store)


def test_swift_refuses_a_wrong_secret_key(swift_store, monkeypatch, file, tmp_path):
    uri = S3Uri(swift_store.new_bucket(), "key")
    for name, value in swift_store.environment().items():
        monkeypatch.setenv(name, value)
    s3.put(file, uri)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3.forget_client()
    with pytest.raises(KeysRefusedError, match="the secret key does not belong to the access key"):
        s3.get(uri, tmp_path / "copy")
    with pytest.raises(KeysRefusedError, match="the secret key does not belong to the access key"):
        s3.put(file, uri)
    with pytest.raises(KeysRefusedError, match="wanted to look it up: the store refused"):
        s3.head(uri)
