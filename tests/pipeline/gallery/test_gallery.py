from __future__ import annotations

import json
import re

import pytest

from csci_utils.s3 import S3Error, S3Uri
from pipeline.gallery import gallery, publish
from tests.pipeline.conftest import ROOT
from tests.servers.stores import Store


def data_in(page: str):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def thumbs_of(shelf):
    return sorted(path.name for path in (shelf.page.parent / "thumbs").iterdir())


def test_a_page_is_written_beside_its_small_pictures(shelf):
    shelf.result("sea.jpg", "mosaic")
    told = shelf.write()
    assert told == ["1 result shown", f"look at it: {shelf.page.as_uri()}", str(shelf.page)]
    data = data_in(shelf.page.read_text())
    assert data["root"] == ROOT
    assert data["folders"] == {"images": "../images/", "stylized": "../stylized/"}
    named = {thumb[0][:24] for thumb in (data["pictures"][0][1], data["rows"][0][3][0][1])}
    assert {name[:24] for name in thumbs_of(shelf)} == named
    assert sorted(path.name for path in shelf.page.parent.iterdir()) == ["index.html", "thumbs"]


def test_a_second_run_writes_the_same(shelf, monkeypatch):
    shelf.result("sea.jpg", "mosaic")
    shelf.write()
    page, thumbs = shelf.page.read_bytes(), thumbs_of(shelf)
    monkeypatch.setattr("pipeline.gallery.thumbnails.shrink", None)
    shelf.write()
    assert (shelf.page.read_bytes(), thumbs_of(shelf)) == (page, thumbs)


def test_small_pictures_of_what_is_gone_go_after_the_page(shelf, monkeypatch):
    gone = shelf.result("sea.jpg", "mosaic", seed=1)
    shelf.result("sunset.jpg", "mosaic", seed=2)
    shelf.write()
    before = thumbs_of(shelf)
    gone.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(gallery, "page_of", fails)
        with pytest.raises(RuntimeError, match="no page"):
            shelf.write()
    assert thumbs_of(shelf) == before  # which the older page still names
    shelf.write()
    assert len(thumbs_of(shelf)) == len(before) - 2


def fails(table):
    raise RuntimeError("no page")


def test_an_older_page_stays_until_the_new_one_is_whole(shelf, monkeypatch):
    shelf.result("sea.jpg", "mosaic")
    shelf.write()
    page = shelf.page.read_bytes()
    shelf.result("sun.jpg", "mosaic")
    monkeypatch.setattr(gallery, "page_of", fails)
    with pytest.raises(RuntimeError, match="no page"):
        shelf.write()
    assert shelf.page.read_bytes() == page


def test_without_results_there_is_a_page_that_says_so(shelf):
    assert shelf.write()[0] == "0 results shown"
    assert data_in(shelf.page.read_text())["rows"] == []


def test_what_is_named_alone_is_shown(shelf):
    for style in ("mosaic", "candy"):
        shelf.result("sea.jpg", style)
    shelf.write("mosaic")
    assert data_in(shelf.page.read_text())["styles"] == ["mosaic"]


def test_broken_files_are_told_and_stop_nothing(shelf):
    shelf.result("sea.jpg", "mosaic")
    shelf.result("sun.jpg", "mosaic", data=b"no picture")
    assert shelf.write()[0] == "1 result shown, 1 failed"


def test_a_page_elsewhere_has_whole_addresses(shelf, tmp_path):
    shelf.result("sea.jpg", "mosaic")
    shelf.write(folder=tmp_path / "else where")
    data = data_in((tmp_path / "else where" / "index.html").read_text())
    assert data["folders"]["stylized"] == f"{shelf.root.as_uri()}/stylized/"


@pytest.mark.parametrize("what", ["page", "folder"])
def test_somebody_elses_page_is_left_alone(shelf, what):
    shelf.page.parent.mkdir(parents=True)
    shelf.page.mkdir() if what == "folder" else shelf.page.write_text("<title>My own page</title>")
    with pytest.raises(gallery.CannotWriteGalleryError, match="is there and no gallery; name another folder with --to"):
        shelf.write()
    assert what == "folder" or shelf.page.read_text() == "<title>My own page</title>"


def test_nothing_is_published_offline(shelf):
    with pytest.raises(gallery.CannotWriteGalleryError, match="--publish puts the page into S3, and --offline"):
        shelf.write(publish=True)


@pytest.fixture
def styled(bucket, run):
    """A picture styled and published, another styled only."""
    bucket.put_image("sun & sea #1.png", seed=2)
    run("-i", "luigi.jpg", "-m", "mosaic", "--publish")
    run("-i", "sun & sea #1.png", "-m", "mosaic")
    return bucket


def published_page(store: Store, bucket) -> str:
    return read(store, f"{bucket.root}/gallery/index.html")["Body"].read().decode()


def read(store: Store, uri: str):
    parsed = S3Uri.parse(uri)
    return store.plain.get_object(Bucket=parsed.bucket, Key=parsed.key)


def keys_in(store: Store, bucket) -> list[str]:
    prefix = f"{S3Uri.parse(bucket.root).key}/gallery/"
    return [key.removeprefix(prefix) for key in store.keys(S3Uri.parse(bucket.root).bucket) if key.startswith(prefix)]


@pytest.mark.slow
def test_the_command_prints_where_the_page_lies(styled, run):
    status, out, err = run("gallery")
    assert (status, out) == (0, [f"{styled.local}/gallery/index.html"])
    assert err[-2:] == [
        "style-pipeline: 2 results shown",
        f"style-pipeline: look at it: file://{styled.local}/gallery/index.html",
    ]


@pytest.mark.slow
def test_a_published_page_links_to_what_lies_in_s3(styled, run, moto_store):
    status, _, err = run("gallery", "--publish")
    assert (status, err[-1]) == (0, f"style-pipeline: published {styled.root}/gallery/index.html")
    data = data_in(published_page(moto_store, styled))
    assert data["folders"] == {"images": "../images/", "stylized": "../stylized/"}
    reaches = {data["pictures"][picture][0]: cells[0][3] for picture, _, _, cells, _ in data["rows"]}
    assert reaches == {"luigi.jpg": 1, "sun & sea #1.png": 0}
    here = data_in((styled.local / "gallery" / "index.html").read_text())
    assert [cells[0][3] for _, _, _, cells, _ in here["rows"]] == [1, 1]
    thumbs = {f"thumbs/{path.name}" for path in (styled.local / "gallery" / "thumbs").iterdir()}
    assert set(keys_in(moto_store, styled)) == {"index.html", *thumbs}
    assert read(moto_store, f"{styled.root}/gallery/index.html")["ContentType"] == "text/html"


@pytest.mark.slow
def test_what_is_published_is_not_sent_again_and_what_is_gone_goes(styled, run, moto_store):
    run("gallery", "--publish")
    before = keys_in(moto_store, styled)
    status, _, err = run("gallery", "--publish")
    assert (status, err[-1]) == (0, f"style-pipeline: up to date {styled.root}/gallery/index.html")
    styled.put_bytes("gallery/thumbs/notes.txt", b"mine")
    run("remove", "images/luigi.jpg")
    assert run("gallery", "--publish")[0] == 0
    assert len(keys_in(moto_store, styled)) == len(before) - 2 + 1


@pytest.mark.slow
def test_a_store_that_fails_leaves_the_older_page_with_its_pictures(styled, run, moto_store, monkeypatch):
    run("gallery", "--publish")
    page, keys = published_page(moto_store, styled), keys_in(moto_store, styled)
    run("remove", "images/luigi.jpg")

    def refuses(*_args, **_options):
        raise S3Error("the store failed")

    monkeypatch.setattr(publish, "push", refuses)
    status, _, err = run("gallery", "--publish")
    assert (status, err[-1]) == (35, "style-pipeline: error: the store failed")
    assert published_page(moto_store, styled) == page
    assert keys_in(moto_store, styled) == keys


@pytest.mark.slow
def test_a_picture_that_is_not_here_is_fetched_for_its_small_ones_alone(styled, run):
    path = styled.local / "images" / "luigi.jpg"
    path.unlink()
    assert run("gallery")[0] == 0
    data = data_in((styled.local / "gallery" / "index.html").read_text())
    assert data["pictures"][0][1] != 0
    assert data["pictures"][0][3] == 0  # no link leads there
    assert not path.exists()


def test_an_embedded_store_takes_no_page(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bucket").mkdir()
    status, _, err = run("gallery", "--embedded", "--publish")
    assert status == 2
    assert "ends with the command" in err[-1]
