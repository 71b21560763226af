from __future__ import annotations

import errno
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import luigi
import pytest

from csci_utils import s3
from csci_utils.folder import remove_folder
from csci_utils.io import is_scratch, scratch_path
from csci_utils.luigi.folder import FolderTarget, S3FolderTarget
from csci_utils.luigi.task import Requirement, Requires, TargetOutput
from csci_utils.manifest import FLAG, FolderDamagedError
from csci_utils.s3 import ObjectMissingError, S3Uri
from tests.csci_utils.fake_store import refuse

pytestmark = pytest.mark.slow

OLD = {"a.txt": b"old a", "deep/b.txt": b"old b"}
NEW = {"a.txt": b"new a", "c.csv": b"new c"}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Where local folders and all scratch folders lie."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    return here


@pytest.fixture(params=["local", "s3"])
def make(request, here):
    """Make a target of each kind that does not exist yet."""
    if request.param == "s3":
        request.getfixturevalue("bucket")
        return lambda name="made/result.parquet", **kw: S3FolderTarget(f"s3://bucket/{name}", **kw)
    return lambda name="made/result.parquet", **kw: FolderTarget(here / name, **kw)


def write(target, files: dict[str, bytes], last: Callable[[Path], object] = lambda _: None) -> None:
    with target.temporary_path() as path:
        for name, body in files.items():
            Path(path, name).parent.mkdir(exist_ok=True)
            Path(path, name).write_bytes(body)
        last(Path(path))


def read(target) -> dict[str, bytes]:
    if isinstance(target, FolderTarget):
        return {name: path.read_bytes() for name, path in target.files().items()}
    found = {}
    for name, uri in target.files().items():
        with s3.client().get_object(Bucket=uri.bucket, Key=uri.key)["Body"] as body:
            found[name] = body.read()
    return found


def put(name: str, body: bytes) -> None:
    s3.client().put_object(Bucket="bucket", Key=name, Body=body)


def scratch_left(here: Path) -> list[str]:
    listed = s3.client().list_objects_v2(Bucket="bucket") if "AWS_ENDPOINT_URL_S3" in os.environ else {}
    keys = [each["Key"] for each in listed.get("Contents", ())]
    return [str(path) for path in [*here.rglob("*"), *keys] if is_scratch(path)]


# --- one contract for both kinds


@pytest.mark.parametrize("name", ["made", "made/", "deep/er/made.parquet/"])
def test_a_folder_is_there_once_it_is_written(make, here, name):
    target = make(name)
    assert not target.exists()
    seen = []
    write(target, OLD, lambda path: seen.append((is_scratch(path), target.exists())))
    assert seen == [(True, False)]
    assert target.exists()
    assert make(name.rstrip("/")).exists()
    assert read(target) == OLD
    assert scratch_left(here) == []


def test_a_folder_is_replaced_with_all_that_is_in_it(make, here):
    target = make()
    write(target, OLD)
    write(target, NEW)
    assert read(target) == NEW
    assert scratch_left(here) == []


@pytest.mark.parametrize("old", [False, True], ids=["new", "replace"])
@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt("stop")], ids=["disk-full", "ctrl-c"])
def test_a_failed_block_keeps_the_old_folder_and_leaves_nothing(make, here, old, fault):
    target = make()
    if old:
        write(target, OLD)

    def fail(_: Path) -> None:
        raise fault

    with pytest.raises(type(fault), match=str(fault)):
        write(target, NEW, fail)
    assert target.exists() == old
    assert not old or read(target) == OLD
    assert scratch_left(here) == []


def test_writing_nothing_is_an_error(make):
    target = make()
    with pytest.raises(FileNotFoundError, match=r"result\.parquet: nothing was written"):
        write(target, {})
    assert not target.exists()


def test_a_pattern_must_fit_something_and_chooses_what_is_given(make):
    target = make(glob="*.csv")
    with pytest.raises(FileNotFoundError, match=r"result\.parquet: wanted files like '\*\.csv', found none"):
        write(target, OLD)
    write(target, NEW)
    assert read(target) == {"c.csv": NEW["c.csv"]}
    assert read(make()) == NEW
    assert [entry.name for entry in target.manifest().entries] == ["a.txt", "c.csv"]


def test_another_flag_is_another_folder(make):
    target = make(flag="_DONE")
    write(target, OLD)
    write(target, NEW)
    assert target.exists()
    assert not make().exists()
    assert read(target) == NEW
    target.check()
    target.remove()
    assert not target.exists()


@pytest.mark.parametrize("flag", ["", "a/b"])
def test_a_flag_is_a_file_of_the_folder_itself(make, flag):
    with pytest.raises(ValueError, match="wanted the name of a file for the flag"):
        make(flag=flag)


def test_a_folder_that_is_not_there_cannot_be_read(make):
    for call in ("files", "manifest", "check"):
        with pytest.raises(FileNotFoundError, match=FLAG):
            getattr(make(), call)()


@pytest.mark.parametrize("mode", ["r", "w"])
def test_opening_a_folder_says_what_to_do_instead(make, mode):
    with pytest.raises(IsADirectoryError, match=r"write into its temporary_path\(\), read each of its files\(\)"):
        make().open(mode)


def test_a_whole_folder_passes_its_check(make):
    target = make()
    write(target, OLD)
    write(target, NEW)
    target.check()


def test_a_removed_folder_is_gone(make, here):
    target = make()
    write(target, OLD)
    target.remove()
    assert not target.exists()
    assert list(here.rglob("*.txt")) == []
    assert target.fs.exists(target.path) is False


def test_a_target_can_be_pickled(make):
    target = make(glob="*.csv")
    write(target, NEW)
    assert read(pickle.loads(pickle.dumps(target))) == {"c.csv": NEW["c.csv"]}


def test_the_flag_of_another_program_is_a_flag(make, here):
    target, other = make(), make(glob="part-*")
    half = scratch_path("part-3").name  # of a program that writes with the same care
    for name in ("part-1", "part-0", ".part.crc", "deep/part-2", half, FLAG):
        if isinstance(target, FolderTarget):
            Path(target.path, name).parent.mkdir(parents=True, exist_ok=True)
            Path(target.path, name).write_bytes(b"")
        else:
            put(f"{target.uri.key}/{name}", b"")
    assert target.exists()
    assert target.manifest() is None
    assert sorted(read(target)) == [".part.crc", "deep/part-2", "part-0", "part-1"]
    assert list(read(other)) == ["deep/part-2", "part-0", "part-1"]
    with pytest.raises(FolderDamagedError, match="wanted a manifest, found the flag of another program"):
        target.check()
    write(target, NEW)
    assert read(target) == NEW


def test_a_task_writes_a_folder_and_another_reads_it(here, bucket):
    class Parts(luigi.Task):
        output = TargetOutput(
            "s3://bucket/{task.__class__.__name__}-{salt}", "/", target_class=S3FolderTarget, glob="*.txt"
        )

        def run(self):
            with self.output().temporary_path() as folder:
                for number in range(3):
                    Path(folder, f"{number}.txt").write_text(str(number))

    class Sum(luigi.Task):
        requires = Requires()
        parts = Requirement(Parts)
        output = TargetOutput(str(here / "sum"), "/", target_class=FolderTarget)

        def run(self):
            with self.output().temporary_path() as folder:
                self.input()["parts"].fetch(Path(folder, "parts"))
                Path(folder, "parts", FLAG).rename(Path(folder, "parts", "list.json"))

    assert luigi.build([Sum()], local_scheduler=True, log_level="ERROR")
    assert list(Sum().output().files()) == ["parts/0.txt", "parts/1.txt", "parts/2.txt", "parts/list.json"]
    assert scratch_left(here) == []


# --- local folders


def test_existence_is_one_look_at_the_flag(here, monkeypatch):
    looks = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **kw: (looks.append(str(path)), stat(path, **kw))[1])
    assert not FolderTarget(here / "made").exists()
    assert looks == [str(here / "made" / FLAG)]


def test_a_folder_that_was_not_made_here_is_not_replaced(here, bucket):
    (here / "pictures").mkdir()
    (here / "pictures" / "cat.jpg").write_bytes(b"mine")
    write(S3FolderTarget("s3://bucket/made"), OLD)
    match = "pictures: there is a folder without the flag _SUCCESS, so it was not made here; remove it, or choose"
    with pytest.raises(FileExistsError, match=match):
        write(FolderTarget(here / "pictures"), NEW)
    with pytest.raises(FileExistsError, match=match):
        S3FolderTarget("s3://bucket/made").fetch(here / "pictures")
    with pytest.raises(FileExistsError, match=match):
        FolderTarget(here / "pictures").remove()
    assert os.listdir(here / "pictures") == ["cat.jpg"]
    assert scratch_left(here) == []


def test_damage_to_a_local_folder_is_named(here):
    target = FolderTarget(here / "made")
    write(target, OLD)
    (here / "made" / "a.txt").write_bytes(b"OLD A")
    with pytest.raises(FolderDamagedError, match=r"a\.txt: wanted 5 bytes with sha256"):
        target.check()


def test_a_disk_that_fills_at_the_end_keeps_the_old_folder(here, monkeypatch):
    target = FolderTarget(here / "made")
    write(target, OLD)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(target, NEW, lambda _: monkeypatch.setattr(os, "fsync", full))
    assert read(target) == OLD
    assert os.listdir(here) == ["made"]


# --- folders in S3


@pytest.mark.parametrize("found", [True, False], ids=["hit", "miss"])
def test_existence_is_one_head_of_the_flag(store, found):
    store.hold(b"")
    if not found:
        store.faults.append(refuse(404, "NoSuchKey"))
    assert S3FolderTarget("s3://bucket/made/").exists() == found
    assert store.requests == [f"HEAD /bucket/made/{FLAG}"]


def test_a_refusal_is_an_error_and_not_an_absence(store):
    store.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(PermissionError, match=f"s3://bucket/made/{FLAG}: wanted to .*: the store refused"):
        S3FolderTarget("s3://bucket/made").exists()


@pytest.mark.parametrize("path", ["s3://bucket", "s3://bucket/", "s3://bucket//"])
def test_a_bucket_is_no_folder(path):
    with pytest.raises(ValueError, match="found the bucket itself; give a key below it"):
        S3FolderTarget(path)


def test_parts_have_their_own_names(bucket):
    target = S3FolderTarget("s3://bucket/made")
    write(target, OLD)
    assert target.files() == {name: S3Uri("bucket", f"made/{name}") for name in OLD}


def test_a_marker_of_a_folder_is_no_part(bucket):
    """As the web pages of stores make them."""
    for name in ("made/", "made/deep/", "made/deep/part-0", f"made/{FLAG}"):
        put(name, b"")
    assert list(S3FolderTarget("s3://bucket/made").files()) == ["deep/part-0"]


def test_what_a_killed_process_left_in_the_systems_folder_goes(bucket, here):
    dead = scratch_path(here / "result.parquet")
    dead = dead.with_name(dead.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    (dead / "deep").mkdir(parents=True)
    write(S3FolderTarget("s3://bucket/made"), OLD)
    assert list(here.iterdir()) == []


def test_a_part_that_is_gone_or_cut_is_named(bucket):
    target = S3FolderTarget("s3://bucket/made")
    write(target, OLD)
    put("made/a.txt", b"old")
    with pytest.raises(FolderDamagedError, match=r"s3://bucket/made/a\.txt: wanted 5 bytes, found 3; make"):
        target.check()
    s3.delete(S3Uri("bucket", "made/a.txt"))
    with pytest.raises(FolderDamagedError, match=r"s3://bucket/made/a\.txt: wanted 5 bytes, found none; make"):
        target.check()


def test_a_fetched_folder_is_a_local_target(bucket, here):
    target = S3FolderTarget("s3://bucket/made")
    write(target, OLD)
    write(target, NEW)
    target.fetch(here / "copy")
    copy = FolderTarget(here / "copy")
    assert copy.exists()
    copy.check()
    assert read(copy) == NEW
    with pytest.raises(ObjectMissingError, match="there is no such object"):
        S3FolderTarget("s3://bucket/nothing").fetch(here / "nothing")
    S3FolderTarget("s3://bucket/made").remove()
    write(S3FolderTarget("s3://bucket/made", flag="_DONE"), OLD)
    remove_folder(here / "copy")
    S3FolderTarget("s3://bucket/made", flag="_DONE").fetch(here / "copy")
    assert FolderTarget(here / "copy", flag="_DONE").exists()
    remove_folder(here / "copy", flag="_DONE")
    assert list(here.iterdir()) == []
