from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest

from csci_utils import s3
from csci_utils.s3 import (
    AccessRefusedError,
    DigestMismatchError,
    ObjectExistsError,
    S3Error,
    S3Limits,
    S3Uri,
    StoreTimeoutError,
    StoreUnreachableError,
)
from tests.csci_utils.fake_store import cut_after, hang_up, lose_answer, refuse, take, take_damaged

URI = S3Uri("bucket", "images/cat.jpg")
BODY = bytes(range(256)) * 400  # 100 KB
PUT, HEAD, DELETE = (f"{method} /bucket/images/cat.jpg" for method in ("PUT", "HEAD", "DELETE"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def empty(store):
    """The store, with nothing in it."""
    store.body = None
    return store


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"]


def test_a_small_file_is_one_request_with_its_md5(empty, file):
    headers = {}

    def look(handler) -> None:
        headers.update(handler.headers.items())
        take(handler)

    empty.faults.append(look)
    sent = s3.put(file, URI)
    assert empty.requests == [PUT]
    assert empty.body == BODY
    assert sent == s3.head(URI)
    assert headers["Content-MD5"] == base64.b64encode(hashlib.md5(BODY).digest()).decode()
    assert not {"Expect", "Transfer-Encoding", "x-amz-trailer", "x-amz-checksum-crc32"} & set(headers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        take_damaged,
        refuse(400, "BadDigest"),
        refuse(400, "IncompleteBody"),
        refuse(400, "XAmzContentSHA256Mismatch"),
        lambda handler: handler.answer(400),
    ],
    ids=["taken-damaged", "bad-digest", "incomplete", "bad-sha256", "bare-400"],
)
def test_bytes_that_are_damaged_on_their_way_are_sent_again(empty, caplog, file, fault):
    empty.at(PUT, fault, fault)
    moved: list[int] = []
    sent = s3.put(file, URI, on_bytes=moved.append)
    assert empty.body == BODY
    assert sent.etag == hashlib.md5(BODY).hexdigest()
    assert empty.requests.count(PUT) == 3
    assert sum(moved) == len(BODY)
    tries = [line for line in lines(caplog) if "; try " in line]
    assert [line.rpartition("; ")[2] for line in tries] == ["try 2 of 5", "try 3 of 5"]


@pytest.mark.slow
def test_a_damaged_object_is_not_left_in_the_store(empty, caplog, file):
    empty.at(PUT, *[take_damaged] * 9)
    with pytest.raises(DigestMismatchError, match="the store took some with") as caught:
        s3.put(file, URI)
    assert str(caught.value).startswith(
        f"{URI}: wanted to write it: bytes with the ETag {hashlib.md5(BODY).hexdigest()}"
    )
    assert empty.body is None
    assert empty.requests == [PUT, HEAD, DELETE] * 5
    assert "damaged on its way" in lines(caplog)[0]


@pytest.mark.slow
def test_what_somebody_else_put_meanwhile_is_not_removed(empty, file):
    def damaged_then_replaced(handler) -> None:
        take_damaged(handler)
        handler.store.hold(b"of somebody else", sha256=True)

    empty.at(PUT, *[damaged_then_replaced] * 9)
    with pytest.raises(DigestMismatchError):
        s3.put(file, URI)
    assert empty.body == b"of somebody else"


@pytest.mark.slow
def test_what_cannot_be_removed_does_not_hide_the_reason(empty, caplog, file):
    empty.at(PUT, *[take_damaged] * 9)
    empty.at(DELETE, *[refuse(403, "AccessDenied")] * 9)
    with pytest.raises(DigestMismatchError):
        s3.put(file, URI)
    assert any("wanted to remove it: the store refused (403 AccessDenied)" in line for line in lines(caplog))


def test_a_store_whose_etag_is_no_digest_is_believed(empty, file):
    def encrypted(handler) -> None:
        handler.store.hold(handler.sent)
        kms = {"x-amz-server-side-encryption": "aws:kms"}
        handler.begin(200, 0, {"ETag": f'"{"0" * 32}"', **kms})

    empty.faults.append(encrypted)
    assert s3.put(file, URI).etag == "0" * 32
    empty.faults.append(lambda handler: handler.begin(200, 0, {"ETag": '"something else"'}))
    assert s3.put(file, URI).etag == "something else"
    assert empty.requests == [PUT] * 2


def test_a_connection_that_drops_every_time_leaves_nothing_damaged(empty, file):
    def keep_half(handler) -> None:
        handler.sent = handler.sent[:1000]
        lose_answer(take)(handler)

    empty.at(PUT, *[keep_half] * 9)
    with pytest.raises(StoreUnreachableError):
        s3.put(file, URI)
    assert empty.body is None


@pytest.mark.slow
def test_a_put_whose_answer_alone_is_lost_is_done(empty, file):
    empty.at(PUT, *[lose_answer(take)] * 9)
    assert s3.put(file, URI) == s3.head(URI)
    assert empty.body == BODY


def test_a_page_of_a_proxy_is_not_taken_for_a_store(empty, file):
    empty.at(PUT, *[lambda handler: handler.answer(200, "<html>log in</html>")] * 9)
    with pytest.raises(StoreUnreachableError, match="gave no ETag, as every S3 does"):
        s3.put(file, URI)


def test_a_place_that_is_not_there_is_no_missing_input(empty, file):
    empty.at(PUT, refuse(404, "NoSuchKey"))
    with pytest.raises(S3Error, match="the store knows no such place") as caught:
        s3.put(file, URI)
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.slow
def test_a_store_that_reads_no_more_is_silent_and_soon_given_up(tmp_path):
    (tmp_path / "big").write_bytes(bytes(20 * 1024 * 1024))
    s3.use_limits(S3Limits(connect_timeout_s=0.6, read_timeout_s=0.6, silent_attempts=2, multipart_bytes=2**30))
    with (
        deaf_server() as (url, taken),
        mock.patch.dict(os.environ, AWS_ENDPOINT_URL_S3=url),
        pytest.raises(StoreTimeoutError, match="took no more bytes in time"),
    ):
        s3.put(tmp_path / "big", URI)
    assert len(taken) == 2 + 1  # and a look whether it is there after all


@contextmanager
def deaf_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """Take connections, ask for the body, and read nothing of it."""
    taken = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection = server.accept()[0]
                taken.append(connection)
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def test_a_refusal_is_not_tried_again(empty, file):
    empty.at(PUT, refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefusedError, match="wanted to write it: the store refused"):
        s3.put(file, URI)
    assert empty.requests == [PUT]


def test_a_file_that_shrinks_before_it_is_read_is_refused(empty, file, monkeypatch):
    from csci_utils.s3 import upload

    monkeypatch.setattr(upload, "state_of", lambda _path: (len(BODY) + 1, 0, 0))
    with pytest.raises(S3Error, match=r"cat\.jpg changed while it was sent; send it again"):
        s3.put(file, URI)
    assert empty.requests == []


def test_a_file_that_is_written_to_while_it_is_read_does_not_arrive(empty, file, monkeypatch):
    read = Path.read_bytes

    def torn(path: Path) -> bytes:
        data = read(path)
        path.write_bytes(BODY[::-1])  # of the same size
        os.utime(path, (1, 1))  # whatever the file system's clock is worth
        return data[:1000] + BODY[::-1][1000:]

    monkeypatch.setattr(Path, "read_bytes", torn)
    with pytest.raises(S3Error, match=r"cat\.jpg changed while it was sent; send it again"):
        s3.put(file, URI)
    assert empty.requests == []


# --- only where there is nothing


def test_an_object_may_be_put_only_where_there_is_none(empty, file, tmp_path):
    s3.put(file, URI, only_if_absent=True)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ObjectExistsError, match="wanted to write it: there is an object already; remove it") as caught:
        s3.put(tmp_path / "other", URI, only_if_absent=True)
    assert isinstance(caught.value, FileExistsError)
    assert empty.body == BODY
    assert empty.requests == [PUT] * 2


def test_an_equal_object_of_somebody_else_is_there_as_well(empty, file):
    empty.hold(BODY, sha256=True)
    with pytest.raises(ObjectExistsError):
        s3.put(file, URI, only_if_absent=True)


def test_an_object_that_an_earlier_try_of_the_same_request_made_is_ours(empty, file):
    empty.at(PUT, lose_answer(take))
    assert s3.put(file, URI, only_if_absent=True) == s3.head(URI)
    assert empty.requests[:3] == [PUT, PUT, HEAD]


def test_an_object_that_came_between_two_tries_is_not_ours(empty, file):
    def other(handler) -> None:
        handler.store.hold(b"other", sha256=True)
        hang_up(handler)

    empty.at(PUT, other)
    with pytest.raises(ObjectExistsError):
        s3.put(file, URI, only_if_absent=True)
    assert empty.body == b"other"


def test_bytes_damaged_on_their_way_do_not_stand_in_their_own_way(empty, file):
    empty.at(PUT, take_damaged)
    s3.put(file, URI, only_if_absent=True)
    assert empty.body == BODY


@pytest.mark.slow
def test_what_was_damaged_and_cannot_be_removed_is_no_object_of_somebody_else(empty, file):
    empty.at(PUT, take_damaged)
    empty.at(DELETE, refuse(403, "AccessDenied"))
    with pytest.raises(DigestMismatchError, match="the store took some with"):
        s3.put(file, URI, only_if_absent=True)


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_an_object_that_another_request_is_making_is_tried_again(empty, caplog, file, code):
    empty.at(PUT, refuse(409, code))
    assert s3.put(file, URI, only_if_absent=True) == s3.head(URI)
    assert "another request about it was under way" in lines(caplog)[-1]


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_a_store_that_knows_no_conditions_is_looked_at_before(empty, file, there):
    if there:
        empty.hold(b"other", sha256=True)
    empty.at(PUT, refuse(501, "NotImplemented"))
    if there:
        with pytest.raises(ObjectExistsError, match=r"there is an object already \(etag"):
            s3.put(file, URI, only_if_absent=True)
    else:
        assert s3.put(file, URI, only_if_absent=True).size_bytes == len(BODY)
    assert empty.body == (b"other" if there else BODY)
    assert empty.requests == ([PUT, HEAD] if there else [PUT, HEAD, PUT])


# --- and removal


@pytest.mark.slow
def test_what_is_deleted_is_gone_and_may_be_deleted_again(empty, file):
    s3.put(file, URI)
    s3.delete(URI)
    assert empty.body is None
    empty.at(DELETE, refuse(404, "NoSuchKey"))
    s3.delete(URI)
    empty.at(DELETE, refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefusedError, match="wanted to remove it"):
        s3.delete(URI)


def test_limits_of_a_put_are_settings(empty, file):
    s3.use_limits(S3Limits(body_attempts=2))
    empty.at(PUT, *[take_damaged] * 9)
    with pytest.raises(DigestMismatchError):
        s3.put(file, URI)
    assert empty.requests.count(PUT) == 2


@pytest.mark.slow
def test_a_lookup_after_a_failure_does_not_hang(empty, file):
    empty.at(PUT, *[hang_up] * 20)
    empty.at(HEAD, *[cut_after(0), hang_up] * 9)
    with pytest.raises(StoreUnreachableError):
        s3.put(file, URI)


@pytest.mark.slow
def test_a_send_in_parts_is_noted_in_the_journal_of_the_process(bucket, tmp_path):
    """As the sends of luigi's targets are, whose callers know of no journal."""
    (tmp_path / "big.bin").write_bytes(b"x" * (s3.limits().multipart_bytes + 1))
    journal, noted = tmp_path / "journal", set()
    s3.use_journal(journal)
    try:
        s3.put(tmp_path / "big.bin", S3Uri("bucket", "big.bin"), on_bytes=lambda _: noted.update(os.listdir(journal)))
    finally:
        s3.use_journal(None)
    assert [name[:8] for name in noted] == [".upload~"]
    assert os.listdir(journal) == []
