"""What the page carries; the places in its lists are those that `script.js` reads."""

from __future__ import annotations

import json

import pytest

from pipeline.gallery.contents import NO_PICTURE, PICTURE_CHANGED, gather
from pipeline.gallery.entries import Failure, local_entries
from pipeline.gallery.table import Place, table_of
from pipeline.gallery.thumbnails import Thumbs
from tests.pipeline.conftest import ROOT, encoded_picture
from tests.pipeline.gallery.conftest import MADE_BY, source_of

HERE = Place(
    folders={"images": "../images/", "stylized": "../stylized/"}, reaches=lambda picture: picture.path is not None
)
THUMB, BYTES, REACHES, MODEL, PARAMETERS, MAKER, BEFORE, MADE_FROM, CHANGED, SECONDS, NOTES = range(1, 12)


@pytest.fixture
def table(shelf):
    def make(*failures: Failure):
        found = local_entries()
        found.failures += failures
        contents = gather(found, Thumbs(shelf.root / "gallery" / "thumbs"), on_made=lambda total, done: None)
        return table_of(contents, HERE, s3_root=ROOT)

    return make


def test_a_row_is_a_picture_and_a_column_a_style(shelf, table):
    for image, style in (("a.jpg", "mosaic"), ("a.jpg", "candy"), ("b.jpg", "candy")):
        shelf.result(image, style)
    made = table()
    assert made["styles"] == ["candy", "mosaic"]
    assert [picture[0] for picture in made["pictures"]] == ["a.jpg", "b.jpg"]
    shown = [(picture, [cell[0] for cell in cells]) for picture, _, _, cells, _ in made["rows"]]
    assert shown == [(0, [0, 1]), (1, [0])]


def test_a_cell_says_what_a_result_was_made_from(shelf, table):
    path = shelf.result("sea.jpg", "mosaic")
    made = table()
    ((_, _, _, (cell,), _),) = made["rows"]
    assert cell[THUMB] == [source_of("x", path.read_bytes()).sha256, 32, 24]
    assert cell[BYTES] == path.stat().st_size
    model = source_of("saved_models/mosaic.pth", b"mosaic")
    assert made["models"][cell[MODEL]] == [model.uri, model.sha256, model.size_bytes]
    assert made["parameters"][cell[PARAMETERS]]["quality"] == 95
    assert made["makers"][cell[MAKER]] == MADE_BY
    assert (cell[BEFORE], cell[MADE_FROM], cell[SECONDS], cell[NOTES]) == (0, 0, 0, 0)
    picture = encoded_picture("x.png", seed=len("sea.jpg"))
    assert made["pictures"] == [["sea.jpg", [source_of("x", picture).sha256, 32, 24], len(picture), 1]]


def test_what_many_share_is_told_once(shelf, table):
    for number in range(20):
        shelf.result(f"{number}.jpg", "mosaic")
    made = table()
    assert [len(made[name]) for name in ("models", "parameters", "makers")] == [1, 1, 1]
    assert len(json.dumps(made["rows"])) < 20 * 200


def test_what_was_shrunk_has_a_row_of_its_own(shelf, table):
    for side in (None, 512):
        file = shelf.result("sea.jpg", "mosaic")
        if side:
            parameters = {"max_side": side, "quality": 95, "precision": "float32", "algorithm": 1}
            shelf.result("sea.jpg", "mosaic", parameters=parameters)
            for name in (file.name, f".{file.name}.json"):
                file.with_name(name).rename(file.with_name(name.replace("sea", "sea@512")))
            shelf.result("sea.jpg", "mosaic")
    assert [row[:3] for row in table()["rows"]] == [[0, 0, 0], [0, "sea@512.jpg", 512]]


def test_ten_comes_after_nine(shelf, table):
    for name in ("10", "9", "a10b", "a9c", "B"):
        shelf.result(f"{name}.jpg", f"style-{name}")
    made = table()
    assert [picture[0] for picture in made["pictures"]] == ["9.jpg", "10.jpg", "a9c.jpg", "a10b.jpg", "B.jpg"]
    assert made["styles"] == ["style-9", "style-10", "style-a9c", "style-a10b", "style-B"]


def test_the_same_results_give_the_same_table(shelf, table):
    for style in ("mosaic", "candy"):
        shelf.result("sea.jpg", style)
    assert table() == table()


def test_of_a_picture_that_has_changed_the_former_is_shown_as_long_as_it_is_known(shelf, table):
    former, now = encoded_picture("x.png", seed=1), encoded_picture("x.png", seed=2)
    shelf.result("sea.jpg", "mosaic", of=former)
    table()
    shelf.picture("sea.jpg", now)
    made = table()
    ((_, _, _, (cell,), _),) = made["rows"]
    assert made["pictures"][0][1][0] == source_of("x", now).sha256
    assert cell[BEFORE][0] == source_of("x", former).sha256
    assert cell[NOTES] == [PICTURE_CHANGED]


def test_of_a_picture_that_has_changed_the_present_is_shown_where_no_other_is_known(shelf, table):
    former, now = encoded_picture("x.png", seed=1), encoded_picture("x.png", seed=2)
    shelf.result("sea.jpg", "mosaic", of=former)
    shelf.picture("sea.jpg", now)
    ((_, _, _, (cell,), _),) = table()["rows"]
    assert (cell[BEFORE], cell[MADE_FROM]) == (0, source_of("x", former).sha256)
    assert cell[NOTES] == [PICTURE_CHANGED]


def test_a_result_whose_picture_is_nowhere_is_shown_by_itself(shelf, table):
    shelf.result("sea.jpg", "mosaic")
    (shelf.root / "images" / "sea.jpg").unlink()
    made = table()
    ((_, _, _, (cell,), _),) = made["rows"]
    assert made["pictures"] == [["sea.jpg", 0, 0, 0]]
    assert cell[MADE_FROM] == source_of("x", encoded_picture("x.png", seed=7)).sha256
    assert cell[NOTES] == [NO_PICTURE]


def test_a_broken_result_is_a_failure_in_its_place(shelf, table):
    shelf.result("sea.jpg", "mosaic")
    shelf.result("sea.jpg", "candy", data=b"no picture")
    shelf.result("sun.jpg", "candy")
    made = table()
    ((name, style, reason),) = made["failures"]
    assert (name, style) == ("sea.jpg", "candy")
    assert reason.startswith("not a picture of a kind that can be read")
    assert [row[4] for row in made["rows"]] == [[[0, 0]], []]


def test_a_broken_picture_is_a_failure_and_its_results_are_shown(shelf, table):
    shelf.result("sea.jpg", "mosaic", of=b"no picture")
    made = table()
    ((name, style, reason),) = made["failures"]
    assert (name, style) == ("sea.jpg", "")
    assert reason.startswith("the picture itself cannot be shown: not a picture")
    assert [len(row[3]) for row in made["rows"]] == [1]
    assert made["pictures"][0][1] == 0


def test_failures_stand_in_order_and_those_of_other_pictures_in_no_row(shelf, table):
    shelf.result("sea.jpg", "mosaic")
    made = table(
        Failure(image="z.jpg", style="mosaic", reason="gone"),
        Failure(image="sea.jpg", style="mosaic", reason="of an older run"),
        Failure(image="sea.jpg", style="other", reason="broken"),
    )
    assert [failure[:2] for failure in made["failures"]] == [
        ["sea.jpg", "mosaic"],
        ["sea.jpg", "other"],
        ["z.jpg", "mosaic"],
    ]
    assert made["rows"][0][4] == []
