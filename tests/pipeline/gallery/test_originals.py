from __future__ import annotations

import os
from dataclasses import asdict

import pytest

from csci_utils.s3 import AccessRefusedError, KeysRefusedError, ObjectInfo, ObjectUnreadableError, S3Uri
from pipeline import settings
from pipeline.gallery import originals, present
from pipeline.gallery.entries import Entry, PictureFile
from pipeline.gallery.originals import originals_of
from tests.pipeline.conftest import ROOT
from tests.pipeline.gallery.conftest import Shelf, source_of, write

NAME = "sea.jpg"
URI = S3Uri.parse(f"{ROOT}/images/{NAME}")
A, B, C = b"first", b"second", b"third one"


@pytest.fixture
def shelf(tmp_path):
    """An empty one, which S3 may be asked about."""
    root = tmp_path / "data"
    with settings.use(settings.read_settings(s3_root=ROOT, local_root=os.fspath(root), dotenv=False)):
        yield Shelf(root)


@pytest.fixture
def held(monkeypatch):
    """What S3 holds; and a list of what it was asked about."""
    there: dict[S3Uri, ObjectInfo] = {}
    asked: list[S3Uri] = []

    def look(uris):
        asked.extend(uris)
        return {uri: there[uri] for uri in asked if uri in there}

    monkeypatch.setattr(originals, "held_at", look)
    return there, asked


def info(data: bytes, *, etag: str | None = None) -> ObjectInfo:
    source = source_of(f"images/{NAME}", data)
    return ObjectInfo(URI, etag or source.etag, len(data), None)


def made_of(data: bytes, style: str = "mosaic", *, image: str = NAME, uri: str | None = None) -> Entry:
    """A result of a version of the picture."""
    source = asdict(source_of(f"images/{image}", data)) | ({"uri": uri} if uri else {})
    result = PictureFile(folder="stylized", name=f"{style}/{image}", sha256=f"{style}-{data!r}", size_bytes=1)
    return Entry(result=result, image=image, style=style, record={"made_from": {"image": source}})


def sha256(data: bytes) -> str:
    return source_of("x", data).sha256


def test_what_results_and_disk_agree_on_nobody_is_asked_about(shelf, held):
    shelf.picture(NAME, A)
    found = originals_of([made_of(A), made_of(A, "candy"), made_of(B, image="not/here.png")])
    assert found.now[NAME].path == shelf.root / "images" / NAME
    assert (found.now["not/here.png"].sha256, found.now["not/here.png"].path) == (sha256(B), None)
    assert (found.former, held[1]) == ([], [])


@pytest.mark.parametrize("local", [None, A, B, C], ids=["nothing-here", "first-here", "second-here", "third-here"])
@pytest.mark.parametrize("order", [(B, C), (C, B)], ids=["older-first", "newer-first"])
def test_of_several_versions_the_one_that_s3_holds_is_the_present(shelf, held, local, order):
    held[0][URI] = info(C)
    if local is not None:
        shelf.picture(NAME, local)
    found = originals_of([made_of(order[0]), made_of(order[1], "candy")])
    assert found.now[NAME].sha256 == sha256(C)
    assert (found.now[NAME].path is not None) == (local == C)
    assert [file.sha256 for file in found.former] == ([sha256(B)] if local == B else [])
    assert held[1] == [URI]


def test_a_version_that_nobody_knows_is_fetched_and_called_by_none_of_the_others(shelf, held):
    held[0][URI] = info(C)
    shelf.picture(NAME, A)
    now = originals_of([made_of(B)]).now[NAME]
    assert now.uri == URI
    assert now.sha256 not in {sha256(data) for data in (A, B, C)}


def test_the_same_bytes_under_another_etag_are_known_by_the_copys_record(shelf, held):
    held[0][URI] = info(C, etag="parts-2")
    shelf.picture(NAME, C)
    path = shelf.root / "images" / NAME
    record = asdict(source_of(f"images/{NAME}", C)) | {"etag": "parts-2", "mtime_ns": path.stat().st_mtime_ns}
    write(path, record)
    assert originals_of([made_of(B), made_of(C, "candy")]).now[NAME].path == path


def test_what_s3_has_no_more_is_as_it_is_here(shelf, held):
    shelf.picture(NAME, A)
    found = originals_of([made_of(B)])
    assert (found.now[NAME].sha256, held[1]) == (sha256(A), [URI])


@pytest.mark.parametrize(
    "uri", [f"{ROOT}/old/images/{NAME}", f"s3://other/images/{NAME}", f"{ROOT}/images/\ud800", "s3:"], ids=ascii
)
def test_what_lies_elsewhere_is_not_asked_for(shelf, held, uri):
    shelf.picture(NAME, A)
    found = originals_of([made_of(B, uri=uri)])
    assert (found.now[NAME].sha256, held[1]) == (sha256(A), [])


@pytest.mark.parametrize("image", ["../x.jpg", "\ud800.jpg", "/x.jpg"], ids=ascii)
def test_what_cannot_be_named_is_no_picture(shelf, held, image):
    assert originals_of([made_of(B, image=image)]).now == {}


def test_offline_nothing_is_asked(tmp_path, held):
    root = os.fspath(tmp_path / "data")
    with settings.use(settings.read_settings(s3_root=ROOT, local_root=root, offline=True, dotenv=False)):
        shelf = Shelf(tmp_path / "data")
        shelf.picture(NAME, A)
        assert originals_of([made_of(B)]).now[NAME].sha256 == sha256(A)
        assert originals_of([made_of(B, image="not/here.png")]).now == {}
    assert held[1] == []


@pytest.mark.parametrize(
    "refusal", [AccessRefusedError("refused"), ObjectUnreadableError("no key")], ids=["403", "key"]
)
def test_what_s3_does_not_tell_of_is_left_out_and_the_others_are_told(monkeypatch, refusal):
    other = S3Uri("bucket", "other")

    def head(uri):
        if uri == URI:
            raise refusal
        return ObjectInfo(uri, "e", 1, None)

    def look_many(_uris):
        raise refusal

    monkeypatch.setattr(present, "head", head)
    monkeypatch.setattr(present, "look_many", look_many)
    assert present.held_at([URI, other, URI]) == {other: ObjectInfo(other, "e", 1, None)}


def test_keys_that_are_refused_are_an_error(monkeypatch):
    def refuses(_uris):
        raise KeysRefusedError("expired")

    monkeypatch.setattr(present, "head", refuses)
    monkeypatch.setattr(present, "look_many", refuses)
    with pytest.raises(KeysRefusedError):
        present.held_at([URI])
