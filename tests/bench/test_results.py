from __future__ import annotations

import pytest

from bench.report import Section, markdown_of
from bench.results import read_parts, read_tables, write_group

ORDER = ("job", "style", "store")


def section(title: str, seconds: str) -> Section:
    return Section(title=title, notes=["n"], head=["s"], rows=[["plain", seconds], ["ours", "1.0"]], remarks=["met"])


def test_a_group_that_runs_again_replaces_its_part_alone(tmp_path):
    path = tmp_path / "RESULTS.md"
    write_group(path, "style", [section("a picture", "2.0")], order=ORDER)
    write_group(path, "job", [["the job", "x  3"]], order=ORDER)
    job = read_parts(path.read_text())["job"]
    write_group(path, "style", [section("a picture", "9.0"), section("another", "8.0")], order=ORDER)
    parts = read_parts(path.read_text())
    assert list(parts) == ["job", "style"]
    assert parts["job"] == job
    assert read_tables(parts["style"]) == {
        "a picture": [{"": "plain", "s": "9.0"}, {"": "ours", "s": "1.0"}],
        "another": [{"": "plain", "s": "8.0"}, {"": "ours", "s": "1.0"}],
    }
    assert [each.name for each in tmp_path.iterdir()] == ["RESULTS.md"]


def test_every_part_says_when_and_where_it_was_measured(tmp_path):
    write_group(tmp_path / "RESULTS.md", "style", [], order=ORDER)
    part = read_parts((tmp_path / "RESULTS.md").read_text())["style"]
    assert part.startswith("Measured on 20")
    assert "cores" in part
    assert part.endswith(" at the end.")


def test_groups_that_nobody_ordered_come_last(tmp_path):
    for group in ("store: big", "store", "job"):
        write_group(tmp_path / "RESULTS.md", group, [], order=ORDER)
    assert list(read_parts((tmp_path / "RESULTS.md").read_text())) == ["job", "store", "store: big"]


def test_failed_write_keeps_what_was_found_before(tmp_path, monkeypatch):
    path = tmp_path / "RESULTS.md"
    write_group(path, "style", [section("a picture", "2.0")], order=ORDER)
    before = path.read_text()
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_group(path, "job", [], order=ORDER)
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["RESULTS.md"]


def test_plain_lines_hold_no_table():
    assert read_tables("\n".join(markdown_of(["start-up", "| not a table"]))) == {}
