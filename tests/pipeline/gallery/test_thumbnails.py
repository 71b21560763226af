from __future__ import annotations

import os

import pytest

from csci_utils.s3 import (
    AccessRefusedError,
    DigestMismatchError,
    KeysRefusedError,
    ObjectUnreadableError,
    S3Uri,
    StoreUnreachableError,
)
from pipeline.gallery import thumbnails
from pipeline.gallery.entries import PictureFile
from pipeline.gallery.thumbnails import Thumb, Thumbs
from tests.pipeline.conftest import encoded_picture
from tests.pipeline.gallery.conftest import source_of


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "thumbs"


@pytest.fixture
def file_of(tmp_path):
    def make(data: bytes, name: str = "x.png") -> PictureFile:
        path = tmp_path / name
        path.write_bytes(data)
        digest = source_of("x", data).sha256
        return PictureFile(folder="images", name=name, sha256=digest, size_bytes=len(data), path=path)

    return make


def made(folder, *pictures):
    return [outcome for _, outcome in Thumbs(folder).make(list(pictures))]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_small_pictures_are_called_by_the_digest_and_size_of_theirs(folder, file_of):
    picture = file_of(encoded_picture("x.png", size=(400, 200)))
    assert made(folder, picture) == [Thumb(sha256=picture.sha256, width=400, height=200)]
    stem = f"{picture.sha256[:24]}-400x200"
    assert names_in(folder) == [f"{stem}.1024.jpg", f"{stem}.320.jpg"]


def test_what_was_made_once_is_not_made_again(folder, file_of, monkeypatch):
    pictures = [file_of(encoded_picture("x.png", seed=seed), f"{seed}.png") for seed in range(5)]
    first = made(folder, *pictures)
    monkeypatch.setattr(thumbnails, "shrink", None)
    assert made(folder, *pictures) == first


@pytest.mark.parametrize("lost", ["one-of-two", "empty"])
def test_what_is_not_whole_is_made_again(folder, file_of, lost):
    picture = file_of(encoded_picture("x.png", size=(400, 200)))
    made(folder, picture)
    for side in (320, 1024):
        path = next(folder.glob(f"*.{side}.jpg"))
        path.unlink() if lost == "one-of-two" else path.write_bytes(b"")
        assert Thumbs(folder).find(picture.sha256) is None
        made(folder, picture)
        assert path.stat().st_size > 0


def test_a_broken_picture_has_a_reason_and_the_others_are_made(folder, file_of):
    whole, broken = file_of(encoded_picture("x.png"), "a.png"), file_of(b"<!doctype html><html>", "b.png")
    reason = "this looks like a web page, not a picture: a download that went wrong; fetch it again"
    assert made(folder, broken, whole) == [reason, Thumb(sha256=whole.sha256, width=32, height=24)]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, file_of):
    (tmp_path / "thumbs").write_bytes(b"a file")
    with pytest.raises(OSError, match="thumbs"):
        made(tmp_path / "thumbs", file_of(encoded_picture("x.png")))


def test_what_nobody_needs_goes_and_what_others_put_there_stays(folder, file_of):
    kept, gone = (file_of(encoded_picture("x.png", seed=seed), f"{seed}.png") for seed in (1, 2))
    thumb, _ = made(folder, kept, gone)
    for name in ("notes.txt", "0123.320.jpg", ".hidden"):
        (folder / name).write_bytes(b"mine")
    Thumbs(folder).remove_all_but([thumb])
    assert names_in(folder) == sorted(["notes.txt", "0123.320.jpg", ".hidden", *thumb.names.values()])


@pytest.mark.slow
def test_a_picture_in_s3_is_fetched_and_only_its_small_ones_stay(folder, bucket):
    data = encoded_picture("x.png", size=(400, 300))
    bucket.put_bytes("images/sea.png", data)
    picture = in_s3("sea.png", data, bucket)
    (thumb,) = made(folder, picture)
    assert thumb == Thumb(sha256=picture.sha256, width=400, height=300)
    assert names_in(folder) == sorted(thumb.names.values())


def test_a_picture_that_changed_in_s3_is_known_by_what_it_is_now(folder, bucket):
    before, now = encoded_picture("x.png", seed=1), encoded_picture("x.png", seed=2)
    bucket.put_bytes("images/sea.png", now)
    (thumb,) = made(folder, in_s3("sea.png", before, bucket))
    assert thumb.sha256 == source_of("x", now).sha256


def test_a_picture_that_is_gone_from_s3_has_a_reason(folder, bucket):
    assert made(folder, in_s3("gone.png", b"", bucket)) == ["it is not in S3 any more"]


@pytest.mark.parametrize(
    "error",
    [ObjectUnreadableError("{uri}: archived"), AccessRefusedError("{uri}: refused"), DigestMismatchError("{uri}: bad")],
    ids=["archived", "refused", "damaged"],
)
def test_a_picture_that_s3_does_not_give_has_a_reason(folder, bucket, monkeypatch, error):
    picture = in_s3("sea.png", b"", bucket)

    def refuses(uri, _path):
        raise type(error)(str(error).format(uri=uri))

    monkeypatch.setattr(thumbnails, "get", refuses)
    assert made(folder, picture) == [str(error).removeprefix("{uri}: ")]


def test_keys_that_are_refused_are_an_error(folder, bucket, monkeypatch):
    def refuses(uri, _path):
        raise KeysRefusedError(f"{uri}: expired")

    monkeypatch.setattr(thumbnails, "get", refuses)
    with pytest.raises(KeysRefusedError):
        made(folder, in_s3("sea.png", b"", bucket))


def test_a_store_that_does_not_answer_is_an_error(folder, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    from csci_utils.s3 import forget_client

    forget_client()
    with pytest.raises(StoreUnreachableError, match="cannot connect"):
        made(folder, in_s3("sea.png", b"", bucket))
    assert not folder.exists() or os.listdir(folder) == []


def in_s3(name, data, bucket):
    digest = source_of("x", data).sha256
    uri = S3Uri.parse(f"{bucket.root}/images/{name}")
    return PictureFile(folder="images", name=name, sha256=digest, size_bytes=len(data), uri=uri)
