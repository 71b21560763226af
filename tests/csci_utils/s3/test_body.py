from __future__ import annotations

import hashlib
import io
import os

import pytest

from csci_utils import s3
from csci_utils.s3 import S3Error, S3Limits, S3Uri
from csci_utils.s3.body import FileChangedError, FileSlice
from csci_utils.s3.multipart import _part_bytes
from tests.csci_utils.fake_store import refuse, take_damaged

BODY = bytes(range(256)) * 400
URI = S3Uri("bucket", "cat.jpg")
PUT = "PUT /bucket/cat.jpg"
MIB = 1024 * 1024


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def empty(store):
    s3.use_limits(S3Limits(chunk_bytes=10_000))
    store.body = None
    return store


def test_a_slice_is_a_file_of_its_own(file):
    with FileSlice(file, 1000, 50_000) as data:
        assert len(data) == 50_000
        assert data.read(3) == BODY[1000:1003]
        assert data.tell() == 3
        assert data.read() == BODY[1003:51_000]
        assert data.read(1) == b""
        assert data.seek(-2, os.SEEK_END) == 49_998
        assert data.read() == BODY[50_998:51_000]
        assert data.seek(10) == 10
        assert data.seek(5, io.SEEK_CUR) == 15
        assert data.read(1) == BODY[1015:1016]
    assert data.closed


def test_its_chunks_are_all_of_it_and_leave_it_at_its_beginning(file):
    s3.use_limits(S3Limits(chunk_bytes=9_999))
    with FileSlice(file, 1000, 50_000) as data:
        data.read(7)
        chunks = [bytes(chunk) for chunk in data.chunks()]
        assert b"".join(chunks) == BODY[1000:51_000]
        assert [len(chunk) for chunk in chunks] == [9_999] * 5 + [5]
        assert data.tell() == 0


def test_a_slice_of_a_file_that_got_shorter_is_an_error_at_once(file):
    with FileSlice(file, 1000, 50_000) as data:
        os.truncate(file, 2000)
        with pytest.raises(FileChangedError):
            data.read()


def test_the_last_block_of_other_bytes_is_held_back(file):
    with FileSlice(file, 1000, 50_000) as data:
        list(data.chunks())
        assert data.read() == BODY[1000:51_000]
        file.write_bytes(BODY[::-1])
        data.seek(0)
        assert data.read(40_000) == BODY[::-1][1000:41_000]
        with pytest.raises(FileChangedError):
            data.read()
        list(data.chunks())  # which begins anew
        assert data.read() == BODY[::-1][1000:51_000]


def test_a_file_that_changes_while_it_is_sent_is_in_no_store_whole(empty, file, monkeypatch):
    """Not even where the store compares nothing and its ETag says nothing."""
    sent = FileSlice.readinto

    def change(self, buffer):
        if self.tell() == 0 and self._wanted_crc32 is not None:
            file.write_bytes(BODY[::-1])
        return sent(self, buffer)

    def encrypted(handler) -> None:
        handler.store.hold(handler.sent)
        handler.begin(200, 0, {"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"})

    monkeypatch.setattr(FileSlice, "readinto", change)
    empty.at(PUT, *[encrypted] * 9)
    with pytest.raises(S3Error, match=r"cat\.jpg changed while it was sent; send it again"):
        s3.put(file, URI)
    assert empty.body is None


@pytest.mark.slow
@pytest.mark.parametrize("fault", [take_damaged, refuse(503, "SlowDown"), refuse(400, "BadDigest")])
def test_a_file_too_big_to_be_held_is_sent_from_the_disk(empty, file, fault):
    empty.at(PUT, fault)
    assert s3.put(file, URI) == s3.head(URI)
    assert empty.body == BODY
    assert empty.received == [BODY, BODY]


@pytest.mark.slow
def test_a_file_that_changes_while_it_is_sent_from_the_disk_is_refused(empty, file):
    def change(handler) -> None:
        file.write_bytes(BODY[::-1])
        refuse(400, "BadDigest")(handler)

    empty.at(PUT, change)
    with pytest.raises(S3Error, match=r"cat\.jpg changed while it was sent; send it again"):
        s3.put(file, URI)
    assert empty.body is None
    assert empty.requests.count(PUT) == 1


def test_what_somebody_put_stays_when_a_file_changes(empty, file):
    def change(handler) -> None:
        file.write_bytes(BODY[::-1])
        empty.hold(b"of somebody else")
        handler.answer(200, ETag=f'"{hashlib.md5(BODY).hexdigest()}"')

    empty.at(PUT, change)
    with pytest.raises(S3Error, match="changed while it was sent"):
        s3.put(file, URI)
    assert empty.body == b"of somebody else"


@pytest.mark.parametrize(
    ("size_bytes", "part_bytes"),
    [
        (9 * MIB, 8 * MIB),
        (100 * MIB, 12 * MIB),
        (512 * MIB, 64 * MIB),
        (2**40, 105 * MIB),  # else there would be more parts than S3 takes
    ],
)
def test_bigger_files_go_in_bigger_parts(size_bytes, part_bytes):
    assert _part_bytes(size_bytes) == part_bytes
