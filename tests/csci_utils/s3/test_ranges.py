from __future__ import annotations

import base64
import hashlib
import logging
import signal
import threading
import zlib

import pytest

from csci_utils import s3
from csci_utils.s3 import (
    DigestMismatchError,
    ObjectChangedError,
    ObjectInfo,
    ObjectMissingError,
    S3Limits,
    S3Uri,
    StoreTimeoutError,
    StoreUnreachableError,
)
from tests.csci_utils.fake_store import (
    cut_after,
    give,
    refuse,
    stall_after,
    stay_silent,
    tampered,
    wait_until,
)

pytestmark = pytest.mark.slow

URI = S3Uri("bucket", "big.pth")
STEP = 40_000
BODY = hashlib.shake_256(b"ranges").digest(10 * STEP + 1234)
LIMITS = {"range_bytes": STEP, "parallel_ranges": 3, "chunk_bytes": 10_000}
THIRD = f"{2 * STEP}-{3 * STEP - 1}"


@pytest.fixture
def big(store):
    """The store, with an object of eleven ranges."""
    s3.use_limits(S3Limits(**LIMITS))
    store.hold(BODY, sha256=True)
    return store


def seen() -> ObjectInfo:
    return ObjectInfo(URI, hashlib.md5(BODY).hexdigest(), len(BODY), hashlib.sha256(BODY).hexdigest())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"]


def no_threads() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("s3-")]


RANGES = [f"GET /bucket/big.pth {at}-{min(at + STEP, len(BODY)) - 1}" for at in range(0, len(BODY), STEP)]


@pytest.mark.parametrize("known", [True, False], ids=["seen-before", "not-seen-before"])
def test_a_big_object_comes_in_ranges_of_one_version(big, tmp_path, known):
    moved: list[int] = []
    got = s3.get(URI, tmp_path / "copy", on_bytes=moved.append, seen=seen() if known else None)
    assert (tmp_path / "copy").read_bytes() == BODY
    assert (got.info, got.sha256, got.checked_by) == (seen(), seen().sha256, "sha256")
    assert sorted(big.requests) == sorted(RANGES if known else ["GET /bucket/big.pth", *RANGES[1:]])
    assert sum(moved) == len(BODY)
    assert no_threads()


def test_an_object_of_less_than_two_ranges_is_one_get(big, tmp_path):
    big.hold(BODY[: 2 * STEP - 1], sha256=True)
    s3.get(URI, tmp_path / "copy")
    assert big.requests == ["GET /bucket/big.pth"]


def test_an_object_without_an_etag_is_one_get(big, tmp_path):
    big.headers.pop("ETag")
    assert s3.get(URI, tmp_path / "copy").checked_by == "sha256"
    assert big.requests == ["GET /bucket/big.pth"]


def test_nothing_of_a_longer_file_is_left(big, tmp_path):
    (tmp_path / "copy").write_bytes(b"x" * (len(BODY) + 5))
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY


@pytest.mark.parametrize(
    ("fault", "resumed_at"),
    [
        (cut_after(15_000), 15_000),
        (cut_after(0), 0),
        (tampered(lambda data: data[:25_000], length=25_000), 25_000),
        (tampered(length=STEP + 7), STEP),
        (stall_after(20_000), 20_000),
    ],
    ids=["cut", "cut-at-once", "shorter-than-asked", "longer-than-asked", "stalled"],
)
def test_a_range_is_resumed_where_it_broke(big, caplog, tmp_path, fault, resumed_at):
    s3.use_limits(S3Limits(**LIMITS, read_timeout_s=0.6))
    big.at(THIRD, fault)
    moved: list[int] = []
    s3.get(URI, tmp_path / "copy", on_bytes=moved.append)
    assert (tmp_path / "copy").read_bytes() == BODY
    again = [f"GET /bucket/big.pth {2 * STEP + resumed_at}-{3 * STEP - 1}"] if resumed_at < STEP else []
    assert sorted(big.requests) == sorted(["GET /bucket/big.pth", *RANGES[1:], *again])
    assert sum(moved) == len(BODY)
    assert len(lines(caplog)) == len(again)
    assert all(
        f"read its bytes {2 * STEP} to {3 * STEP - 1}" in line and "try 2 of 5" in line for line in lines(caplog)
    )


def test_the_first_range_is_resumed_too(big, tmp_path):
    big.at("GET /bucket/big.pth", cut_after(10_000))
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
    assert f"GET /bucket/big.pth 10000-{STEP - 1}" in big.requests


def test_a_range_that_breaks_every_time_is_an_error(big, pauses, tmp_path):
    big.at(THIRD, *[cut_after(0)] * 9)
    moved: list[int] = []
    with pytest.raises(StoreUnreachableError, match=rf"read its bytes {2 * STEP} to {3 * STEP - 1}"):
        s3.get(URI, tmp_path / "copy", on_bytes=moved.append)
    assert [line for line in big.requests if line.endswith(THIRD)] == [RANGES[2]] * 5
    assert sum(moved) == 0
    assert no_threads()


def test_a_range_that_stalls_every_time_is_given_up_sooner(big, tmp_path):
    s3.use_limits(S3Limits(**LIMITS, read_timeout_s=0.6, silent_attempts=2))
    big.at(THIRD, *[stall_after(0)] * 9)
    with pytest.raises(StoreTimeoutError, match="did not answer in time"):
        s3.get(URI, tmp_path / "copy")
    assert [line for line in big.requests if line.endswith(THIRD)] == [RANGES[2]] * 2


def test_one_wrong_bit_in_one_range_is_noticed_and_all_is_fetched_again(big, caplog, tmp_path):
    big.at(THIRD, tampered(lambda data: data[:-1] + bytes([data[-1] ^ 1])))
    moved: list[int] = []
    got = s3.get(URI, tmp_path / "copy", on_bytes=moved.append, seen=seen())
    assert (tmp_path / "copy").read_bytes() == BODY
    assert got.checked_by == "sha256"
    assert sorted(big.requests) == sorted(RANGES * 2)
    assert sum(moved) == len(BODY)
    assert ["the store says sha256" in line and "try 2 of 5" in line for line in lines(caplog)] == [True]


def test_bytes_that_are_wrong_every_time_are_an_error(big, tmp_path):
    big.at(THIRD, *[tampered(lambda data: data[:-1] + b"?")] * 9)
    with pytest.raises(DigestMismatchError, match="the store says sha256"):
        s3.get(URI, tmp_path / "copy", seen=seen())
    assert len(big.requests) == 5 * len(RANGES)


def test_a_refused_range_ends_all_of_them(big, tmp_path):
    big.at(THIRD, refuse(403, "AccessDenied"))
    with pytest.raises(PermissionError, match=rf"wanted to read its bytes {2 * STEP} to"):
        s3.get(URI, tmp_path / "copy")
    assert no_threads()


def test_a_full_disk_is_not_the_stores_fault(big):
    with pytest.raises(OSError, match="No space left on device") as caught:
        s3.get(URI, "/dev/full")
    assert not isinstance(caught.value, s3.S3Error)
    assert no_threads()


# --- an object that changes


OTHER = BODY[::-1]


def put_other(handler) -> None:
    """The object is replaced before this request is answered."""
    handler.store.hold(OTHER, sha256=True)
    tampered()(handler)


@pytest.mark.parametrize("known", [True, False], ids=["seen-before", "not-seen-before"])
def test_an_object_that_changes_while_it_is_read_is_read_anew(big, caplog, tmp_path, known):
    big.at(THIRD, put_other)
    got = s3.get(URI, tmp_path / "copy", seen=seen() if known else None)
    assert (tmp_path / "copy").read_bytes() == OTHER
    assert got.info.etag == hashlib.md5(OTHER).hexdigest()
    assert ["not the one that was seen before (412" in line for line in lines(caplog)] == [True]


def test_an_object_that_changed_since_it_was_seen_is_read_as_it_is_now(big, caplog, tmp_path):
    big.hold(b"small by now", sha256=True)
    assert s3.get(URI, tmp_path / "copy", seen=seen()).info.etag == hashlib.md5(b"small by now").hexdigest()
    assert (tmp_path / "copy").read_bytes() == b"small by now"
    assert big.requests == [RANGES[0], "GET /bucket/big.pth"]
    assert len(lines(caplog)) == 1


def test_an_object_that_never_rests_is_an_error(big, tmp_path):
    def change(handler) -> None:
        handler.store.hold(handler.store.body[1:] + b"x", sha256=True)
        tampered()(handler)

    big.at(THIRD, *[change] * 9)
    with pytest.raises(ObjectChangedError, match="not the one that was seen before"):
        s3.get(URI, tmp_path / "copy")


def test_an_object_that_goes_while_it_is_read_is_missing(big, tmp_path):
    big.at(THIRD, refuse(404, "NoSuchKey"))
    with pytest.raises(ObjectMissingError, match="there is no such object"):
        s3.get(URI, tmp_path / "copy")


def test_a_store_that_knows_no_conditions_is_seen_through_by_its_etag(big, caplog, tmp_path):
    big.knows_conditions = False
    big.at(THIRD, put_other)
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == OTHER
    assert any("it changed meanwhile: etag" in line for line in lines(caplog))


# --- a store that knows no ranges


@pytest.mark.parametrize("known", [True, False], ids=["seen-before", "not-seen-before"])
def test_a_store_that_ignores_ranges_gives_the_whole(big, tmp_path, known):
    big.knows_ranges = False
    moved: list[int] = []
    got = s3.get(URI, tmp_path / "copy", on_bytes=moved.append, seen=seen() if known else None)
    assert (tmp_path / "copy").read_bytes() == BODY
    assert got.checked_by == "sha256"
    assert sum(moved) == len(BODY)
    assert len(big.requests) <= 2 + LIMITS["parallel_ranges"]


def test_a_range_of_other_bytes_than_asked_for_is_not_taken(big, caplog, tmp_path):
    def of_the_beginning(handler) -> None:
        handler.headers.replace_header("Range", f"bytes=0-{STEP - 1}")
        tampered()(handler)

    big.at(THIRD, of_the_beginning)
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
    assert lines(caplog) == []  # not by the digest: such a store is asked for the whole at once


# --- objects that others stored


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def sha1(body: bytes) -> str:
    return base64.b64encode(hashlib.sha1(body).digest()).decode()


@pytest.mark.parametrize("known", [True, False], ids=["seen-before", "not-seen-before"])
@pytest.mark.parametrize(
    ("headers", "checked_by"),
    [
        ({}, "etag"),
        ({"ETag": '"0123-2"'}, "size"),
        ({"ETag": '"0123-2"', "x-amz-checksum-crc32": crc32(BODY)}, "crc32"),
        ({"ETag": '"0123-2"', "x-amz-checksum-sha1": sha1(BODY)}, "sha1"),
        ({"ETag": '"0123-2"', "x-amz-checksum-crc32": crc32(BODY)[:-2] + "-2"}, "size"),
        ({"ETag": '"0123-2"', "x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "COMPOSITE"}, "size"),
    ],
    ids=["etag", "multipart", "crc32", "sha1", "composite-crc32", "told-composite"],
)
def test_an_object_of_others_is_checked_by_what_the_store_offers(big, tmp_path, headers, checked_by, known):
    big.hold(BODY, **headers)
    etag = big.headers["ETag"].strip('"')
    info = ObjectInfo(URI, etag, len(BODY), None) if known else None
    assert s3.get(URI, tmp_path / "copy", seen=info).checked_by == checked_by
    assert (tmp_path / "copy").read_bytes() == BODY


def test_a_stored_checksum_that_differs_is_noticed(big, tmp_path):
    big.hold(BODY, ETag='"0123-2"', x_amz_checksum_crc32=crc32(b"other"))
    with pytest.raises(DigestMismatchError, match="the store says crc32"):
        s3.get(URI, tmp_path / "copy", seen=ObjectInfo(URI, "0123-2", len(BODY), None))


# --- being stopped


def test_ctrl_c_ends_all_threads_soon_though_the_store_is_silent(big, tmp_path):
    big.at(RANGES[1], stall_after(10_000))
    big.at(RANGES[2], stall_after(0))
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        s3.get(URI, tmp_path / "copy")
    wait_until(no_threads, timeout_s=15)


def test_a_thread_that_waits_for_an_answer_is_not_waited_for_long(big, tmp_path):
    s3.use_limits(S3Limits(**LIMITS, stop_wait_s=0.2, read_timeout_s=3))
    big.at(RANGES[1], stay_silent)
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        s3.get(URI, tmp_path / "copy")
    assert not no_threads()
    big.released.set()
    wait_until(no_threads)
    assert len([line for line in big.requests if line == RANGES[1]]) == 1  # and none of them tries again


def test_an_error_of_the_listener_ends_the_transfer(big, tmp_path):
    def listen(num_bytes: int) -> None:
        if num_bytes > 0:
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        s3.get(URI, tmp_path / "copy", on_bytes=listen)
    assert no_threads()


def test_the_whole_body_again_after_a_give(big, tmp_path):
    """A store whose first answer is of another object than it says (a cache in between): sizes decide nothing."""
    big.at("GET /bucket/big.pth", give(BODY[:100]))
    s3.get(URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY


def test_logs_are_warnings(big, caplog, tmp_path):
    big.at(THIRD, cut_after(1))
    s3.get(URI, tmp_path / "copy")
    assert {record.levelno for record in caplog.records if record.name == "csci_utils.s3"} == {logging.WARNING}
