from __future__ import annotations

import pytest

from bench import __main__, big, peers, small, store
from bench.report import Section
from bench.results import read_parts, read_tables


def test_a_group_that_does_not_exist_is_a_usage_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "big", "bigger"])
    with pytest.raises(SystemExit, match="2"):
        __main__.main()
    assert (
        "GROUP: wanted some of start, deps, job, style, style-many, many, many-rate, bands, " in capsys.readouterr().err
    )


def test_a_missing_program_is_one_sentence_that_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "big"])
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(SystemExit, match="curl: wanted it to compare .*, found none; apt-get install curl"):
        __main__.main()
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_s5cmd_is_named_with_the_command_that_gets_it(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "S5CMD", tmp_path / "s5cmd")
    with pytest.raises(peers.PeerMissingError, match="found none; make setup-bench"):
        peers.s5cmd()


@pytest.mark.parametrize(
    ("groups", "ran"),
    [
        (["store"], ["exists", "big", "small", "digest", "memory"]),
        (["memory", "exists"], ["exists", "memory"]),
        (["start", "train"], None),
    ],
    ids=["all-of-the-store", "some", "none-of-it"],
)
def test_groups_choose_what_runs(monkeypatch, groups, ran):
    asked = []
    monkeypatch.setattr(store, "run", lambda parts, rounds: iter([asked.append(list(parts))]))
    monkeypatch.setattr("bench.imports.run", lambda rounds: [])
    monkeypatch.setattr("bench.train_step.run", lambda rounds: iter([[]]))
    monkeypatch.setattr("bench.train_on_card.card", lambda: None)
    list(__main__._tables(groups, rounds=1))
    assert asked == ([] if ran is None else [ran])


def test_a_gpu_is_named_only_where_it_is_used(monkeypatch):
    monkeypatch.setattr("bench.train_on_card.card", lambda: "NVIDIA H100 80GB HBM3")
    assert __main__._machine(["train"])[0].endswith(", NVIDIA H100 80GB HBM3 (training's second table only)")
    assert __main__._machine(["start"])[0].endswith(", no GPU used")
    monkeypatch.setattr("bench.train_on_card.card", lambda: None)
    assert __main__._machine(["train"])[0].endswith(", no GPU used")


def test_training_on_a_gpu_has_a_table_of_its_own_where_one_is(monkeypatch):
    monkeypatch.setattr("bench.train_step.run", lambda rounds: iter([["on the CPU"]]))
    monkeypatch.setattr("bench.train_on_card.run", lambda rounds: iter([["on the GPU"]]))
    monkeypatch.setattr("bench.train_on_card.card", lambda: "a card")
    assert list(__main__._tables(["train"], rounds=1)) == [["on the CPU"], ["on the GPU"]]
    monkeypatch.setattr("bench.train_on_card.card", lambda: None)
    assert list(__main__._tables(["train"], rounds=1)) == [["on the CPU"]]


def made_store(folder, plain=None) -> store.Store:
    return store.Store(url="", env={}, folder=folder, server_pids=[], sizes=store.Sizes(), plain=plain)


def test_a_download_of_other_bytes_ends_the_run(tmp_path):
    made = made_store(tmp_path)
    path, sha256 = made.new_file("down/right", 1_500_000)
    assert path.stat().st_size == 1_500_000
    big._check(made, sha256, num_files=1)
    assert list(path.parent.iterdir()) == []
    made.new_file("down/wrong", 1_500_000)
    with pytest.raises(RuntimeError, match="^wrong wrote other bytes than the store holds"):
        big._check(made, sha256, num_files=1)


def test_a_program_that_wrote_nothing_ends_the_run(tmp_path):
    made = made_store(tmp_path)
    _, sha256 = made.new_file("down/right", 3)
    with pytest.raises(RuntimeError, match="^2 programs wrote 1 files"):
        big._check(made, sha256, num_files=2)


@pytest.mark.parametrize("fault", ["changed", "missing"])
def test_a_folder_that_is_not_what_was_sent_ends_the_run(tmp_path, fault):
    made = made_store(tmp_path)
    for folder in ("sent", "came"):
        for name in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(name)
    small._check_same(tmp_path / "sent", tmp_path / "came")
    if fault == "changed":
        made.new_file("came/a", 3)
    else:
        (tmp_path / "came" / "a").unlink()
    with pytest.raises(RuntimeError, match="^came wrote other files than the store holds"):
        small._check_same(tmp_path / "sent", tmp_path / "came")


class Listing:
    """A boto3 client that lists one object under each prefix."""

    def __init__(self, etags: dict[str, str]) -> None:
        self.etags = etags

    def get_paginator(self, _name: str) -> Listing:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict]:  # noqa: N803 -- boto3's names
        program = Prefix.rstrip("/")
        return [{"Contents": [{"Key": f"{Prefix}a", "ETag": f'"{self.etags[program]}"'}]}]


def test_an_upload_of_other_bytes_ends_the_run(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "a").write_bytes(b"")
    md5 = "d41d8cd98f00b204e9800998ecf8427e"  # of no bytes, from RFC 1321
    right = dict.fromkeys(("s5cmd", "ours", "boto3"), md5)
    small._check_sent(made_store(tmp_path, Listing(right)), tmp_path / "small")
    with pytest.raises(RuntimeError, match="^the store holds other bytes than ours sent"):
        small._check_sent(made_store(tmp_path, Listing({**right, "ours": "0" * 32})), tmp_path / "small")


def test_results_hold_what_each_group_found(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "--results", str(tmp_path / "RESULTS.md"), "bands", "start"])
    monkeypatch.setattr("bench.imports.run", lambda rounds: ["start-up", "  1.000"])
    section = Section(title="bands: large", head=["s"], rows=[["ours", "1.0"]])
    monkeypatch.setattr("bench.bands.run", lambda rounds: iter([section]))
    __main__.main()
    parts = read_parts((tmp_path / "RESULTS.md").read_text())
    assert list(parts) == ["start", "bands"]
    assert "```text\n  1.000\n```" in parts["start"]
    assert read_tables(parts["bands"]) == {"bands: large": [{"": "ours", "s": "1.0"}]}
    assert "bands: large\n" in capsys.readouterr().out


def test_a_part_of_the_stores_comparisons_does_not_pass_for_all(monkeypatch):
    monkeypatch.setattr(store, "run", lambda parts, rounds: iter([[*parts]]))
    assert [name for name, _ in __main__._found(["big", "digest"], rounds=1)] == ["store: big, digest"]
    assert [name for name, _ in __main__._found(["store", "big"], rounds=1)] == ["store"]


def test_what_takes_many_minutes_runs_only_when_named(monkeypatch):
    assert not set(__main__.NAMED_ONLY) & set(__main__.DEFAULT)
    monkeypatch.setattr("bench.bands.run_large", lambda: iter([["large"]]))
    assert list(__main__._tables(["bands-large"], rounds=1)) == [["large"]]


def test_styling_says_how_right_it_is_too(monkeypatch):
    monkeypatch.setattr("bench.styling.run", lambda rounds: iter([["seconds"]]))
    monkeypatch.setattr("bench.styling_quality.run", lambda: iter([["decibels"]]))
    assert list(__main__._tables(["style"], rounds=1)) == [["seconds"], ["decibels"]]


def test_many_pictures_are_two_groups_of_the_default_ones(monkeypatch):
    monkeypatch.setattr("bench.many.run", lambda rounds: iter([["scheduling"]]))
    monkeypatch.setattr("bench.many_rate.run", lambda rounds: iter([["pictures a second"]]))
    assert list(__main__._tables(["many-rate", "many"], rounds=1)) == [["scheduling"], ["pictures a second"]]
    assert {"many", "many-rate"} <= set(__main__.DEFAULT)
