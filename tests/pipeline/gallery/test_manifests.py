from __future__ import annotations

import re

import pytest

from csci_utils.io import record_path
from csci_utils.s3 import AccessRefusedError, ObjectUnreadableError, S3Uri, delete, get, list_objects
from pipeline import settings
from pipeline.gallery.contents import PICTURE_CHANGED, REPLACED, gather
from pipeline.gallery.entries import Entry, Failure, Found, PictureFile
from pipeline.gallery.manifests import ANOTHER_HERE, ANOTHER_IN_S3, OUTDATED_HERE, merged, published_entries
from pipeline.gallery.thumbnails import Thumbs
from pipeline.many import shard_run
from tests.pipeline.conftest import encoded_picture
from tests.pipeline.gallery.test_gallery import data_in, published_page


@pytest.fixture
def styled(bucket, run):
    """Three pictures styled by `many`, one of which is broken."""
    bucket.put_image("holiday/sea.png", seed=2)
    bucket.put_bytes("images/holiday/sun.jpg", b"no picture")
    status, _, err = run("many", "--images", "holiday/", "--images", "luigi.jpg", "-m", "mosaic")
    assert status == 30, err
    with settings.use(settings.read_settings(dotenv=False)):
        yield bucket


def found() -> tuple[list[str], list[tuple[str, str]]]:
    there = published_entries()
    return (
        sorted(entry.result.name for entry in there.entries),
        [(failure.image, failure.style) for failure in there.failures],
    )


RESULTS = ["mosaic/holiday/sea.png", "mosaic/luigi.jpg"]


@pytest.mark.slow
def test_what_many_has_made_is_found_by_its_manifests(styled):
    assert found() == (RESULTS, [("holiday/sun.jpg", "mosaic")])
    there = published_entries()
    entry = next(entry for entry in there.entries if entry.image == "holiday/sea.png")
    assert (entry.style, entry.result.path) == ("mosaic", None)
    assert str(entry.result.uri) == f"{styled.root}/stylized/{RESULTS[0]}"
    assert entry.record["made_from"]["image"]["uri"] == f"{styled.root}/images/holiday/sea.png"
    assert entry.seconds > 0
    assert there.failures[0].reason.startswith("not a picture of a kind that can be read")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gone", "replaced"])
def test_a_line_counts_while_s3_holds_its_result(styled, what):
    if what == "gone":
        delete(S3Uri.parse(f"{styled.root}/stylized/{RESULTS[1]}"))
    else:
        styled.put_bytes(f"stylized/{RESULTS[1]}", encoded_picture("x.jpg", seed=9))
    assert found()[0] == RESULTS[:1]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gone", "replaced"])
def test_a_failure_counts_while_its_picture_is_there_and_the_same(styled, what):
    if what == "gone":
        delete(S3Uri.parse(f"{styled.root}/images/holiday/sun.jpg"))
    else:
        styled.put_image("holiday/sun.jpg")
    assert found() == (RESULTS, [])


@pytest.mark.slow
def test_a_failure_that_a_later_run_has_made_good_is_none(styled, run):
    styled.put_image("holiday/sun.jpg", seed=3)
    assert run("many", "--images", "holiday/sun.jpg", "-m", "mosaic")[0] == 0
    assert found() == ([RESULTS[0], "mosaic/holiday/sun.jpg", RESULTS[1]], [])


@pytest.mark.slow
def test_a_picture_that_could_not_be_fetched_fails_no_more_once_it_is_styled(styled, run, monkeypatch):
    """Also where a neighbour came meanwhile, and so the older manifest is of another shard and stays."""
    styled.put_image("holiday/sun.jpg", seed=3)
    fetch = shard_run.get

    def refuses(uri, *args, **options):
        if uri.key.endswith("sun.jpg"):
            raise AccessRefusedError(f"{uri}: refused")
        return fetch(uri, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shard_run, "get", refuses)
        assert run("many", "--images", "holiday/", "-m", "mosaic")[0] == 30
    assert found()[1] == [("holiday/sun.jpg", "mosaic")]
    styled.put_image("holiday/new.png", seed=4)
    assert run("many", "--images", "holiday/", "-m", "mosaic")[0] == 0
    assert found()[1] == []


@pytest.fixture
def newer_in_s3(bucket, run):
    """A picture whose copy and result here are of an older one than S3 has, of which `many` has made two results."""
    bucket.put_model("candy.pth", seed=2)
    assert run("-i", "luigi.jpg", "-m", "mosaic")[0] == 0
    bucket.put_image("luigi.jpg", seed=9, size=(40, 20))
    assert run("many", "--images", "luigi.jpg", "-m", "mosaic", "-m", "candy")[0] == 0
    return bucket


@pytest.mark.slow
def test_results_stand_beside_the_picture_that_they_were_made_from_and_not_an_older_copy(newer_in_s3, run, moto_store):
    """And what is up to date in S3 is shown in place of what is not, here."""
    assert run("gallery", "--publish")[0] == 0
    data = data_in((newer_in_s3.local / "gallery" / "index.html").read_text())
    ((_, thumb, _, reaches),) = data["pictures"]
    assert (thumb[1:], reaches) == ([40, 20], 0)  # what lies here is another one
    ((_, _, _, cells, _),) = data["rows"]
    assert [data["styles"][cell[0]] for cell in cells] == ["candy", "mosaic"]
    assert [(cell[1][1:], cell[3], cell[7], cell[8]) for cell in cells] == [([40, 20], 0, 0, 0)] * 2
    assert [cell[11] for cell in cells] == [0, [OUTDATED_HERE]]
    published = data_in(published_page(moto_store, newer_in_s3))
    assert [cell[3] for cell in published["rows"][0][3]] == [1, 1]


@pytest.mark.slow
def test_what_lies_here_is_shown_and_no_link_in_s3_leads_to_another_result(bucket, run, moto_store):
    assert run("-i", "luigi.jpg", "-m", "mosaic", "--publish")[0] == 0
    bucket.put_bytes("stylized/mosaic/luigi.jpg", encoded_picture("x.jpg", seed=9, size=(50, 30)))
    assert run("gallery", "--publish")[0] == 0
    ((_, _, _, (cell,), _),) = data_in((bucket.local / "gallery" / "index.html").read_text())["rows"]
    assert (cell[1][1:], cell[3]) == ([32, 24], 1)
    ((_, _, _, (cell,), _),) = data_in(published_page(moto_store, bucket))["rows"]
    assert (cell[1][1:], cell[3]) == ([32, 24], 0)


@pytest.mark.slow
def test_of_a_copy_that_is_as_s3_has_it_nothing_is_asked_and_of_an_older_result_it_is_the_present(bucket, run):
    assert run("-i", "luigi.jpg", "-m", "mosaic")[0] == 0
    bucket.put_model("candy.pth", seed=2)
    bucket.put_image("luigi.jpg", seed=9, size=(40, 20))
    assert run("-i", "luigi.jpg", "-m", "candy")[0] == 0
    assert run("gallery")[0] == 0
    data = data_in((bucket.local / "gallery" / "index.html").read_text())
    _, thumb, _, reaches = data["pictures"][0]
    assert (thumb[1:], reaches) == ([40, 20], 1)
    candy, mosaic = data["rows"][0][3]
    assert (candy[11], mosaic[11]) == (0, [PICTURE_CHANGED])


@pytest.mark.slow
def test_the_page_shows_what_lies_in_s3_alone(styled, run):
    status, _, err = run("gallery", "--publish")
    assert status == 0
    assert "style-pipeline: 2 results shown, 1 failed" in err
    data = data_in((styled.local / "gallery" / "index.html").read_text())
    assert [picture[0] for picture in data["pictures"]] == ["holiday/sea.png", "luigi.jpg"]
    assert all(picture[1] for picture in data["pictures"])
    assert [cells[0][3] for _, _, _, cells, _ in data["rows"]] == [0, 0]  # no link leads there from here
    assert [failure[:2] for failure in data["failures"]] == [["holiday/sun.jpg", "mosaic"]]
    assert [path for path in (styled.local / "stylized").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_a_second_page_fetches_no_picture(styled, run, monkeypatch):
    run("gallery")
    monkeypatch.setattr("pipeline.gallery.thumbnails.get", None)
    assert run("gallery")[0] == 0


@pytest.mark.slow
def test_offline_nothing_is_asked(styled, run):
    status, _, err = run("gallery", "--offline")
    assert (status, err[0]) == (0, "style-pipeline: 0 results shown")


@pytest.mark.slow
def test_a_result_that_is_replaced_meanwhile_is_told(styled, tmp_path):
    there = published_entries()
    styled.put_bytes(f"stylized/{RESULTS[1]}", encoded_picture("x.jpg", seed=9))
    contents = gather(there, Thumbs(tmp_path / "thumbs"), on_made=lambda _total, _done: None)
    assert [entry.result.name for entry in contents.entries] == RESULTS[:1]
    assert Failure(image="luigi.jpg", style="mosaic", reason=REPLACED) in contents.failures
    assert len(contents.used_thumbs()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["NaN", "1e999", f"1{'0' * 400}", '"5"'])
def test_seconds_that_are_none_are_not_told(styled, seconds):
    (info,) = [info for info in list_objects(S3Uri.parse(f"{styled.root}/stylized/")) if "/.shards/" in info.uri.key]
    get(info.uri, styled.scratch / "lines")
    text = re.sub(r'"seconds": [0-9.]+', f'"seconds": {seconds}', (styled.scratch / "lines").read_text())
    styled.put_bytes(info.uri.key.removeprefix("styled/"), text.encode())
    assert [entry.seconds for entry in published_entries().entries] == [None, None]


def test_without_manifests_there_is_nothing(bucket):
    with settings.use(settings.read_settings(dotenv=False)):
        assert published_entries() == Found()


@pytest.mark.slow
def test_a_failure_to_fetch_a_newer_picture_is_told_beside_the_result_of_the_older_one(styled, run, monkeypatch):
    styled.put_image("luigi.jpg", seed=7)

    def refuses(uri, *_args, **_options):
        raise ObjectUnreadableError(f"{uri}: archived")

    with monkeypatch.context() as patch:
        patch.setattr(shard_run, "get", refuses)
        assert run("many", "--images", "luigi.jpg", "-m", "mosaic", "--max-side", "16")[0] == 30
    assert ("luigi.jpg", "mosaic") in found()[1]
    assert run("many", "--images", "luigi.jpg", "-m", "mosaic", "--max-side", "16")[0] == 0
    assert ("luigi.jpg", "mosaic") not in found()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoiled", "note"),
    [("file", ANOTHER_HERE), ("record", ANOTHER_HERE), ("model", OUTDATED_HERE)],
)
def test_what_lies_here_gives_way_where_it_is_not_what_s3_holds_it_to_be(bucket, run, spoiled, note):
    assert run("many", "--images", "luigi.jpg", "-m", "mosaic", "--here")[0] == 0
    path = bucket.local / "stylized" / "mosaic" / "luigi.jpg"
    if spoiled == "model":
        bucket.put_model("mosaic.pth", seed=5)
        assert run("many", "--images", "luigi.jpg", "-m", "mosaic")[0] == 0
    else:
        path.write_bytes(encoded_picture("x.jpg", seed=30, size=(50, 30)))
    if spoiled == "record":
        record_path(path).unlink()
    assert run("gallery")[0] == 0
    ((_, _, _, (cell,), _),) = data_in((bucket.local / "gallery" / "index.html").read_text())["rows"]
    assert (cell[1][1:], cell[3], cell[11]) == ([32, 24], 0, [note])


def test_what_lies_here_comes_before_what_s3_holds():
    def entry(name: str, sha256: str) -> Entry:
        result = PictureFile(folder="stylized", name=name, sha256=sha256, size_bytes=1)
        return Entry(result=result, image="x", style="mosaic", record={})

    here = Found(entries=[entry("a", "here")], failures=[Failure(image="x", style="", reason="r")])
    there = Found(
        entries=[entry("a", "there"), entry("b", "there")], failures=[Failure(image="y", style="", reason="r")]
    )
    both = merged(here, there)
    assert [(each.result.name, each.result.sha256) for each in both.entries] == [("a", "here"), ("b", "there")]
    assert [each.notes for each in both.entries] == [(ANOTHER_IN_S3,), ()]
    assert [failure.image for failure in both.failures] == ["x", "y"]
