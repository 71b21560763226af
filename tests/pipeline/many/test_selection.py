"""Which pictures are meant by folders, patterns, names and lists."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.errors import BadNameError
from pipeline.many import selection
from pipeline.many.selection import NoListError, select
from tests.pipeline.conftest import ROOT

KEYS = (
    "a.jpg",
    "holiday/b.jpg",
    "holiday/c.PNG",
    "holiday/deep/d.jpg",
    "holiday/notes.txt",
    "holiday/.b.jpg.json",
    "holiday/",
    "sea side/Ähre [1].jpg",
)


@pytest.fixture
def pictures(store):
    for key in KEYS:
        store.put_bytes(f"images/{key}", key.encode())
    return store


def chosen(*wanted: str, lists: tuple[Path, ...] = ()) -> list[str]:
    return list(select(wanted, lists=lists, s3_root=ROOT).images)


def test_what_is_found_is_told_part_by_part_while_more_is_listed(pictures, monkeypatch):
    monkeypatch.setattr(selection, "PAGE_KEYS", 2)
    parts: list[list[str]] = []
    both_here = threading.Barrier(2, timeout=60)

    def on_part(names: Sequence[str]) -> None:
        parts.append(list(names))
        if len(parts) <= 2:
            both_here.wait()

    found = select(["holiday/", "**/*.jpg", "a.jpg"], lists=(), s3_root=ROOT, on_part=on_part)
    assert sorted(name for part in parts for name in part) == list(found.images)
    assert len(parts) == 3


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("holiday/", ["holiday/b.jpg", "holiday/c.PNG", "holiday/deep/d.jpg"]),
        ("holiday/*.jpg", ["holiday/b.jpg"]),
        ("holiday/*", ["holiday/b.jpg", "holiday/c.PNG"]),
        ("holiday/notes.[t]xt", ["holiday/notes.txt"]),
        ("holiday/notes.tx[t]", []),
        ("holiday/*.tx?", []),
        ("holiday/*.txt", ["holiday/notes.txt"]),
        ("**/*.jpg", ["a.jpg", "holiday/b.jpg", "holiday/deep/d.jpg", "sea side/Ähre [1].jpg"]),
        ("**", ["a.jpg", "holiday/b.jpg", "holiday/c.PNG", "holiday/deep/d.jpg", "sea side/Ähre [1].jpg"]),
        ("holiday/**", ["holiday/b.jpg", "holiday/c.PNG", "holiday/deep/d.jpg"]),
        ("hol*/[bx].jpg", ["holiday/b.jpg"]),
        ("holiday/[!b].PNG", ["holiday/c.PNG"]),
        ("sea side/Ähre [[]1].jpg", ["sea side/Ähre [1].jpg"]),
        ("holiday/?.jpg", ["holiday/b.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("hol*/", ["holiday/b.jpg", "holiday/c.PNG", "holiday/deep/d.jpg"]),
        ("*/*/", ["holiday/deep/d.jpg"]),
        ("[]a].jpg", ["a.jpg"]),
        ("[!]b].jpg", ["a.jpg"]),
        ("[+--a&&~~].jpg", ["a.jpg"]),
        ("[!z-a].jpg", ["a.jpg"]),
        ("holiday[!a]b.jpg", []),
        ("[z-a].jpg", []),
        ("[]", []),
        ("[", []),
    ],
)
def test_patterns_stay_in_their_folder_and_folders_mean_all_pictures_below(pictures, pattern, meant):
    assert chosen(pattern) == meant


@pytest.mark.parametrize("pattern", ["\udcff*", "\udcff/", "\x1b[1m*"], ids=["bytes", "folder", "escape"])
def test_what_no_name_can_match_is_refused(store, pattern):
    with pytest.raises(BadNameError, match="can match no name: it holds a control character or is not valid Unicode"):
        chosen(pattern)


def test_what_is_meant_twice_is_found_once(pictures):
    assert chosen("holiday/", "holiday/b.jpg", "**/b.jpg") == chosen("holiday/")


def test_names_in_a_list_are_no_patterns(pictures, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffsea side/Ähre [1].jpg\r\n\nholiday/b.jpg\n".encode())
    assert chosen(lists=(path,)) == ["holiday/b.jpg", "sea side/Ähre [1].jpg"]


def test_a_list_may_come_on_standard_input(pictures, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a.jpg\n"))
    assert chosen(lists=(Path("-"),)) == ["a.jpg"]


def test_what_is_not_there_is_told(pictures):
    found = select(["nowhere/", "*.tif", "lost.jpg", "a.jpg"], lists=(), s3_root=ROOT)
    assert (list(found.images), list(found.missing), list(found.empty)) == (
        ["a.jpg"],
        ["lost.jpg"],
        ["nowhere/", "*.tif"],
    )


def test_a_bad_name_in_a_list_is_told_with_its_line(pictures, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.jpg\n../x.jpg\n")
    with pytest.raises(BadNameError, match=r"'\.\./x\.jpg' cannot name a picture \(line 2 of .*list\.txt\): it leaves"):
        chosen(lists=(path,))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"], ids=["none", "no text"])
def test_a_list_that_cannot_be_read_is_refused(pictures, tmp_path, content):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoListError, match="wanted a list of pictures' names"):
        chosen(lists=(path,))
