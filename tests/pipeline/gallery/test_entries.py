from __future__ import annotations

import os

import pytest

from csci_utils.io import sha256_of
from pipeline.gallery.entries import NO_RECORD, NOT_AS_MADE, Failure, chosen, local_entries
from pipeline.records import NoResultError
from tests.pipeline.conftest import ROOT, encoded_picture
from tests.pipeline.gallery.conftest import source_of


def test_a_result_is_found_with_what_it_was_made_from(shelf):
    path = shelf.result("holiday/sea.jpg", "paint/mosaic")
    (entry,) = local_entries().entries
    assert (entry.image, entry.style) == ("holiday/sea.jpg", "paint/mosaic")
    assert (entry.result.folder, entry.result.name) == ("stylized", "paint/mosaic/holiday/sea.jpg")
    assert entry.result.sha256 == entry.record["result"]["sha256"]
    assert entry.result.path == path
    assert entry.changed_s == int(path.stat().st_mtime)
    assert entry.notes == ()


def test_records_and_scratch_files_are_no_results(shelf):
    shelf.result("sea.jpg", "mosaic")
    (shelf.root / "stylized" / "mosaic" / ".sea~scratch.jpg").write_bytes(b"half")
    assert len(local_entries().entries) == 1


def test_without_results_there_is_nothing(shelf):
    assert local_entries().entries == []


def test_a_result_without_a_record_is_called_by_its_own_name(shelf):
    path = shelf.root / "stylized" / "mosaic" / "holiday" / "sea.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded_picture("x.png"))
    (entry,) = local_entries().entries
    assert (entry.image, entry.style, entry.notes) == ("holiday/sea.jpg", "mosaic", (NO_RECORD,))


@pytest.mark.parametrize("change", ["larger", "as-large"])
def test_a_file_that_was_changed_after_it_was_made_is_known_by_its_own_digest(shelf, change):
    path = shelf.result("sea.jpg", "mosaic")
    data = path.read_bytes()
    path.write_bytes(data + b"x" if change == "larger" else data[:-1] + bytes([data[-1] ^ 1]))
    later = path.stat().st_mtime + 10  # a clock of full seconds would not tell
    os.utime(path, (later, later))
    (entry,) = local_entries().entries
    assert entry.result.sha256 == source_of("x", path.read_bytes()).sha256
    assert entry.notes == (NOT_AS_MADE,)


def test_a_file_that_was_only_touched_is_what_it_was(shelf):
    path = shelf.result("sea.jpg", "mosaic")
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))
    assert local_entries().entries[0].notes == ()


def test_what_was_made_in_another_bucket_has_its_names(shelf):
    image, model = source_of("images/sea.jpg", b"i"), source_of("saved_models/mosaic.pth", b"m")
    sources = {
        name: {**vars(source), "uri": source.uri.replace(ROOT, "s3://elsewhere/a")}
        for name, source in (("image", image), ("model", model))
    }
    shelf.result("sea.jpg", "mosaic", made_from=sources)
    (entry,) = local_entries().entries
    assert (entry.image, entry.style) == ("sea.jpg", "mosaic")


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", ".env", "a//b", ""])
def test_a_record_that_leads_elsewhere_is_not_followed(shelf, name):
    image = {**vars(source_of("x", b"i")), "uri": f"{ROOT}/images/{name}"}
    model = vars(source_of("saved_models/mosaic.pth", b"m"))
    shelf.result("sea.jpg", "mosaic", made_from={"image": image, "model": model})
    assert local_entries().entries[0].image == "sea.jpg"


@pytest.mark.parametrize("record", [{"result": 7}, {"made_from": []}, {"result": {"sha256": None}}], ids=str)
def test_a_damaged_record_is_survived(shelf, record):
    shelf.result("sea.jpg", "mosaic", **record)
    (entry,) = local_entries().entries
    assert (entry.image, entry.style) == ("sea.jpg", "mosaic")
    assert len(entry.result.sha256) == 64


def test_a_digest_that_is_none_names_no_file(shelf):
    path = shelf.result("sea.jpg", "mosaic")
    shelf.result("sea.jpg", "mosaic", result={"sha256": "../../../x", "size_bytes": path.stat().st_size})
    assert local_entries().entries[0].result.sha256 == sha256_of(path)


def test_a_name_that_no_address_can_hold_is_a_failure(shelf):
    path = os.fsencode(shelf.result("sea.jpg", "mosaic"))
    os.rename(path, path.replace(b"sea", b"\xff"))
    found = local_entries()
    assert found.entries == []
    assert found.failures == [
        Failure(image="mosaic/?.jpg", style="", reason="its name is not valid Unicode; rename it")
    ]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ((), ["candy/b.jpg", "mosaic/a.jpg", "mosaic/c/a.jpg"]),
        (("mosaic/a.jpg",), ["mosaic/a.jpg"]),
        (("mosaic",), ["mosaic/a.jpg", "mosaic/c/a.jpg"]),
        (("mosaic/c/", "candy/b.jpg"), ["candy/b.jpg", "mosaic/c/a.jpg"]),
        (("data/stylized/candy",), ["candy/b.jpg"]),
    ],
    ids=str,
)
def test_results_and_folders_of_results_can_be_named(shelf, monkeypatch, names, shown):
    for image, style in (("a.jpg", "mosaic"), ("c/a.jpg", "mosaic"), ("b.jpg", "candy")):
        shelf.result(image, style)
    monkeypatch.chdir(shelf.root.parent)
    assert [entry.result.name for entry in chosen(local_entries(), names).entries] == shown


@pytest.mark.parametrize("name", ["mosaic/b.jpg", "mos", "../images"])
def test_a_name_of_nothing_is_refused(shelf, name):
    shelf.result("a.jpg", "mosaic")
    with pytest.raises(NoResultError, match="is neither a result nor a folder of results below"):
        chosen(local_entries(), [name])
