"""Luigi's contract of a file system target, held by every kind of ours (and more than it asks).

Luigi's own test suite has it as `FileSystemTargetTestMixin`; these are tests of our own for all that it checks.
"""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi.format
import pytest
from luigi.target import FileAlreadyExists, MissingParentDirectory

from csci_utils import s3
from csci_utils.io import is_scratch
from csci_utils.luigi import filesystem
from csci_utils.luigi.filesystem import DestinationExistsError
from csci_utils.luigi.target import BaseAtomicProviderLocalTarget, ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.s3 import ObjectMissingError, S3Uri
from tests.csci_utils.luigi.writing import (
    leftovers,
    read,
    temporary_half_and_raise,
    write,
    write_half_and_raise,
)

pytestmark = pytest.mark.slow

KINDS = ["base", "suffix", "s3", pytest.param("swift", marks=pytest.mark.slow)]
GZIP = luigi.format.Gzip


@pytest.fixture
def swift_bucket(swift_store, monkeypatch) -> Iterator[str]:
    """An empty bucket on Swift."""
    for name, value in swift_store.environment().items():
        monkeypatch.setenv(name, value)
    bucket = swift_store.new_bucket()
    yield bucket
    swift_store.remove_bucket(bucket)


@pytest.fixture(params=KINDS)
def make(request, folder):
    """Make a target of each kind that does not exist yet; of bytes, where no format is given."""
    local = {"base": BaseAtomicProviderLocalTarget, "suffix": SuffixPreservingLocalTarget}.get(request.param)
    if local is not None:
        return lambda name="a cat.jpg", **kw: local(str(folder / name), **{"format": luigi.format.Nop, **kw})
    bucket = request.getfixturevalue({"s3": "bucket", "swift": "swift_bucket"}[request.param])
    return lambda name="a cat.jpg", **kw: ExactKeyS3Target(f"s3://{bucket}/images/{name}", **kw)


# --- writing and reading


def test_a_target_exists_once_it_is_written(make, folder):
    target = make()
    assert not target.exists()
    write(target, b"new")
    assert target.exists()
    assert read(target) == b"new"
    assert leftovers(folder) == []


def test_nothing_is_there_before_the_file_is_closed(make, folder):
    target = make()
    file = target.open("w")
    file.write(b"new")
    assert not target.exists()
    file.close()
    assert target.exists()
    assert leftovers(folder) == []
    file.close()  # once more does no harm
    assert read(target) == b"new"


@pytest.mark.parametrize("half", [write_half_and_raise, temporary_half_and_raise], ids=["open", "temporary-path"])
@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt("stop")], ids=["disk-full", "ctrl-c"])
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replace"])
def test_a_failed_write_publishes_nothing_and_leaves_nothing(make, folder, half, fault, old):
    target = make()
    if old is not None:
        write(target, old)
    with pytest.raises(type(fault), match=str(fault)) as caught:
        half(target, fault)
    assert leftovers(folder) == []
    del caught  # which kept all objects of the failed block alive: nothing waits for the garbage collector
    assert target.exists() == (old is not None)
    assert old is None or read(target) == old


def test_a_file_that_is_never_closed_publishes_nothing(make, folder):
    target = make()
    file = target.open("w")
    file.write(b"half")
    del file
    assert leftovers(folder) == []
    assert not target.exists()


@pytest.mark.parametrize("body", [b"", b"\r\n\x00\xff\n", b"a\n" * 100_000], ids=["empty", "any-bytes", "long"])
def test_bytes_come_back_as_they_went(make, body):
    target = make()
    write(target, body)
    assert read(target) == body


def test_text_comes_back_as_it_went(make):
    target = make(format=luigi.format.UTF8)
    with target.open("w") as file:
        file.write("Grüße\n猫\n")
    with target.open("r") as file:
        assert list(file) == ["Grüße\n", "猫\n"]


def test_gzip_comes_back_as_it_went(make):
    target = make("words.gz", format=luigi.format.Gzip)
    with target.open("w") as file:
        file.write(b"words" * 100)
    with target.open("r") as file:
        assert file.read() == b"words" * 100


def test_reading_what_is_not_there_says_so(make, folder):
    with pytest.raises(FileNotFoundError, match="a cat.jpg"):
        make().open("r")
    assert leftovers(folder) == []


def test_another_mode_is_refused(make):
    with pytest.raises(Exception, match="mode"):
        make().open("q")


def test_a_temporary_path_becomes_the_target(make, folder):
    target = make()
    with target.temporary_path() as path:
        assert not target.exists()
        Path(path).write_bytes(b"new")
    assert read(target) == b"new"
    assert leftovers(folder) == []


def test_writing_nothing_to_a_temporary_path_is_an_error(make, folder):
    target = make()
    with pytest.raises(FileNotFoundError, match="a cat.jpg: nothing was written"), target.temporary_path():
        pass
    assert not target.exists()
    assert leftovers(folder) == []


def test_an_empty_file_written_on_purpose_is_a_file(make):
    target = make()
    with target.temporary_path() as path:
        Path(path).touch()
    assert read(target) == b""


def test_a_target_can_be_removed(make):
    target = make()
    write(target, b"new")
    target.remove()
    assert not target.exists()


def test_a_target_can_be_written_again(make):
    target = make()
    write(target, b"old")
    write(target, b"new")
    assert read(target) == b"new"


def test_a_target_can_be_pickled(make):
    target = make()
    write(target, b"new")
    again = pickle.loads(pickle.dumps(target))
    assert again.exists()
    assert read(again) == b"new"


def test_brackets_in_a_name_are_no_wildcards(make, caplog):
    assert not make("cat[1]*.jpg").exists()
    assert [record for record in caplog.records if record.name.startswith("luigi")] == []


# --- formats: text is luigi's default, bytes, programs, and one's own


def test_text_is_the_format_where_none_is_said(make, folder):
    target = make(format=None)
    with target.open("w") as file:
        file.write("lol\n")
    with target.open() as file:
        assert file.read() == "lol\n"
    assert read(make()) == b"lol\n"
    assert leftovers(folder) == []


def test_lines_are_written_and_read_one_by_one(make):
    target = make(format=None)
    with target.open("w") as file:
        file.writelines(["a\n", "b\n", "c\n"])
        print("d", file=file)
    with target.open("r") as file:
        assert list(file) == ["a\n", "b\n", "c\n", "d\n"]
    with make().open("r") as file:
        assert list(file) == [b"a\n", b"b\n", b"c\n", b"d\n"]


@pytest.mark.parametrize(
    ("text_format", "written", "read_back"),
    [
        (luigi.format.UTF8, b"a\nb\r\n", "a\nb\n"),
        (luigi.format.TextFormat(newline=""), b"a\nb\r\n", "a\nb\r\n"),
        (luigi.format.TextFormat(newline="\r\n"), b"a\r\nb\r\r\n", "a\r\nb\r\r\n"),
        (luigi.format.TextFormat(encoding="latin-1"), b"a\nb\r\n", "a\nb\n"),
    ],
    ids=["universal", "none", "crlf", "latin-1"],
)
def test_newlines_are_what_the_format_makes_of_them(make, text_format, written, read_back):
    target = make(format=text_format)
    with target.open("w") as file:
        file.write("a\nb\r\n")
    assert read(make()) == written
    assert read(target) == read_back


def test_newlines_of_bytes_are_made_one_kind_where_that_is_asked(make):
    target = make(format=luigi.format.SysNewLine)
    write(target, b"a\nb\r\nc\r")
    assert read(make()) == b"a\nb\nc\n"
    write(make(), b"a\nb\r\nc\r")
    assert read(target) == b"a\nb\nc\n"


@pytest.mark.parametrize("program", ["gzip", "bzip2"])
def test_what_a_program_packs_it_unpacks(make, folder, program):
    target = make(format=getattr(luigi.format, program.capitalize()))
    file = target.open("w")
    file.write(b"words" * 1000)
    assert not target.exists()
    file.close()
    assert target.exists()
    assert read(target) == b"words" * 1000
    unpacked = subprocess.run([program, "-dc"], input=read(make()), capture_output=True, check=True).stdout
    assert unpacked == b"words" * 1000
    assert leftovers(folder) == []


def test_formats_can_be_put_one_behind_the_other(make, folder):
    target = make(format=luigi.format.UTF8 >> luigi.format.Gzip >> luigi.format.Bzip2)
    with target.open("w") as file:
        file.write("Grüße\n")
    assert read(target) == "Grüße\n"
    assert leftovers(folder) == []


def test_a_format_of_ones_own_gets_the_file_itself(make):
    class Marked(luigi.format.Format):
        def pipe_reader(self, input_pipe: Any) -> Any:
            input_pipe.mark = "read"
            return input_pipe

        def pipe_writer(self, output_pipe: Any) -> Any:
            output_pipe.mark = "written"
            return output_pipe

    target = make(format=Marked())
    with target.open("w") as file:
        assert file.mark == "written"
    with target.open("r") as file:
        assert file.mark == "read"


FORMATS = {
    "bytes": (luigi.format.Nop, b"half"),
    "text": (luigi.format.UTF8, "half"),
    "newlines": (luigi.format.SysNewLine, b"half"),
    "gzip": (GZIP, b"half"),
    "text-gzip": (luigi.format.UTF8 >> GZIP, "half"),
    "gzip-bzip2": (GZIP >> luigi.format.Bzip2, b"half"),
}


@pytest.fixture(params=FORMATS)
def half(request, make):
    """A target of each format, and what half a file of it is."""
    form, body = FORMATS[request.param]
    return make(format=form), body


@pytest.mark.parametrize("fault", [KeyError("triggered"), KeyboardInterrupt("triggered")], ids=["error", "ctrl-c"])
def test_a_block_that_fails_leaves_nothing_in_any_format(half, folder, fault):
    target, body = half

    def fail() -> None:
        with target.open("w") as file:
            file.write(body)
            raise fault

    with pytest.raises(type(fault), match="triggered") as caught:
        fail()
    assert leftovers(folder) == []  # though the failed block's objects are alive
    assert not target.exists()
    del caught


def test_what_is_forgotten_publishes_nothing_in_any_format(half, folder):
    target, body = half
    file = target.open("w")
    file.write(body)
    del file
    assert leftovers(folder) == []
    assert not target.exists()


def test_a_program_that_fails_publishes_nothing(make, folder, tmp_path, monkeypatch):
    (tmp_path / "gzip").write_text("#!/bin/sh\ncat >/dev/null\nexit 3\n")
    (tmp_path / "gzip").chmod(0o755)
    target = make(format=GZIP)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match="gzip") as caught:
        write(target, b"words")
    assert leftovers(folder) == []
    assert not target.exists()
    del caught


@pytest.mark.parametrize("mode", ["r", "rb", "rt"])
def test_every_way_to_say_reading_is_reading(make, mode):
    target = make(format=None)
    with target.open(mode.replace("r", "w")) as file:
        file.write("words")
    with target.open(mode) as file:
        assert file.read() == "words"


@pytest.mark.parametrize("mode", ["a", "r+", "x", ""])
def test_another_mode_is_refused_by_name(make, mode):
    with pytest.raises(ValueError, match=f"a cat.jpg: wanted mode 'r' or 'w', found '{mode}'".replace("+", r"\+")):
        make().open(mode)


# --- temporary paths


def test_temporary_paths_of_one_target_are_several(make, folder):
    outer, inner = make(), make("b.jpg")
    with outer.temporary_path() as first:
        with inner.temporary_path() as second, inner.temporary_path() as third:
            assert len({first, second, third}) == 3
            Path(second).write_bytes(b"second")
            Path(third).write_bytes(b"third")
        assert read(inner) == b"second"  # whose block ended last
        Path(first).write_bytes(b"first")
    assert read(outer) == b"first"
    inner.remove()
    assert leftovers(folder) == []


def test_the_exception_of_a_block_comes_out_as_it_is(make):
    fault = KeyError("mine")
    with pytest.raises(KeyError, match="mine") as caught, make().temporary_path():
        raise fault
    assert caught.value is fault


def test_the_folder_of_a_temporary_path_is_there(make):
    with make("deep/er/a.jpg").temporary_path() as path:
        assert Path(path).parent.is_dir()
        Path(path).write_bytes(b"new")
    assert read(make("deep/er/a.jpg")) == b"new"


def test_the_suffix_of_a_temporary_path_is_the_targets_where_tools_need_it(make):
    with make("a cat.PNG").temporary_path() as path:
        assert Path(path).suffix == ".PNG" or type(make()) is BaseAtomicProviderLocalTarget
        Path(path).touch()


# --- the file system behind a target


def touch(target: Any, body: bytes = b"bytes") -> Any:
    write(target, body)
    return target


@pytest.mark.parametrize("way", ["move", "rename", "rename_dont_move"])
def test_what_is_moved_is_elsewhere(make, folder, way):
    target, other = touch(make()), make("new/b.jpg")
    getattr(target.fs, way)(target.path, other.path)
    assert not target.exists()
    assert read(other) == b"bytes"


@pytest.mark.parametrize("way", ["move", "rename"])
def test_moving_replaces_what_is_there(make, way):
    target, other = touch(make(), b"new"), touch(make("b.jpg"), b"old")
    getattr(target.fs, way)(target.path, other.path)
    assert read(other) == b"new"


def test_renaming_to_a_name_that_is_taken_is_refused(make):
    target, other = touch(make(), b"new"), touch(make("b.jpg"), b"old")
    with pytest.raises(FileAlreadyExists, match=r"b\.jpg: wanted a .* that is free"):
        target.fs.rename_dont_move(target.path, other.path)
    assert (read(target), read(other)) == (b"new", b"old")


@pytest.mark.parametrize("way", ["move", "copy"])
def test_moving_and_copying_replace_nothing_where_that_is_asked(make, way):
    target, other = touch(make(), b"new"), touch(make("b.jpg"), b"old")
    with pytest.raises(DestinationExistsError, match=r"b\.jpg: wanted a .* that is free") as caught:
        getattr(target.fs, way)(target.path, other.path, raise_if_exists=True)
    assert isinstance(caught.value, (RuntimeError, FileAlreadyExists))  # luigi's two kinds for it
    assert (read(target), read(other)) == (b"new", b"old")
    other.remove()
    getattr(target.fs, way)(target.path, other.path, raise_if_exists=True)
    assert read(other) == b"new"


def test_what_is_copied_is_in_both_places(make, folder):
    target, other = touch(make()), make("new/b.jpg")
    target.fs.copy(target.path, other.path)
    assert (read(target), read(other)) == (b"bytes", b"bytes")
    write(target, b"newer")
    target.fs.copy(target.path, other.path)
    assert read(other) == b"newer"
    assert [path for path in folder.rglob("*") if is_scratch(path)] == []


@pytest.mark.parametrize("way", ["move", "copy", "rename", "rename_dont_move"])
def test_what_is_not_there_can_be_neither_moved_nor_copied(make, folder, way):
    target, other = make(), make("new/b.jpg")
    with pytest.raises(FileNotFoundError, match=r"a cat\.jpg"):
        getattr(target.fs, way)(target.path, other.path)
    assert not other.exists()
    assert list(folder.iterdir()) == []


def test_nothing_happens_to_what_is_moved_to_its_own_place(make):
    target = touch(make())
    target.fs.move(target.path, target.path)
    assert read(target) == b"bytes"


def test_the_file_system_tells_what_is_there_and_what_is_a_folder(make):
    target = make("deep/a.jpg")
    above = os.path.dirname(target.path)
    assert not target.fs.exists(target.path)
    assert not target.fs.isdir(above)
    touch(target)
    assert target.fs.exists(target.path)
    assert target.fs.isdir(above)
    assert not target.fs.isdir(target.path)
    touch(make("deep/er/b?#%20.jpg"))
    assert sorted(target.fs.listdir(above)) == [target.path, f"{above}/er/b?#%20.jpg"]


def test_a_made_folder_is_made_once(make):
    target = touch(make("deep/er/a.jpg"))
    above = os.path.dirname(target.path)
    target.fs.mkdir(above)
    target.fs.mkdir(f"{above}/est")
    with pytest.raises(FileAlreadyExists):
        target.fs.mkdir(above, raise_if_exists=True)
    with pytest.raises(MissingParentDirectory):
        target.fs.mkdir(f"{above}/no/where", parents=False)
    target.fs.mkdir(f"{above}/some", parents=False)


def test_a_target_touched_is_an_empty_file(make):
    target = make(format=None)
    target._touchz()
    assert target.exists()
    assert read(make()) == b""


# --- local file systems


@pytest.mark.parametrize("way", ["copy", "move"])
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replace"])
def test_a_copy_to_a_disk_that_fills_is_no_copy(folder, monkeypatch, way, old):
    """A move to another file system is one, too."""
    target, other = (SuffixPreservingLocalTarget(str(folder / name), format=luigi.format.Nop) for name in ("a", "b"))
    touch(target)
    if old is not None:
        touch(other, old)
    replace = os.replace

    def across(source: Any, destination: Any) -> None:
        if str(source) == target.path:
            raise OSError(errno.EXDEV, "another file system")
        replace(source, destination)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", across)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            getattr(target, way)(other.path)
    assert read(target) == b"bytes"
    assert (read(other) if other.exists() else None) == old
    assert sorted(os.listdir(folder)) == ["a"] + ["b"] * (old is not None)
    getattr(target, way)(other.path)
    assert read(other) == b"bytes"
    assert target.exists() == (way == "copy")


def test_a_copy_has_the_permissions_of_what_it_is_a_copy_of(folder):
    target = touch(SuffixPreservingLocalTarget(str(folder / "a"), format=luigi.format.Nop))
    os.chmod(target.path, 0o640)
    target.copy(str(folder / "b"))
    assert (folder / "b").stat().st_mode & 0o777 == 0o640


def test_a_move_outlives_a_power_cut(folder, monkeypatch):
    target = touch(SuffixPreservingLocalTarget(str(folder / "a"), format=luigi.format.Nop))
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    target.move(str(folder / "new" / "b"))
    assert synced == [str(folder / "new")]


def test_a_folder_can_be_made_where_one_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    SuffixPreservingLocalTarget.fs.mkdir("new", parents=False)
    assert (folder / "new").is_dir()


# --- S3's


def test_a_copy_in_s3_keeps_digest_and_type(bucket):
    target = touch(ExactKeyS3Target("s3://bucket/a cat+ü.jpg"))
    target.fs.copy(target.path, "s3://bucket/copy")
    before, after = s3.head(target.uri), s3.head(S3Uri("bucket", "copy"))
    assert before is not None
    assert after is not None
    assert (after.sha256, after.size_bytes) == (before.sha256, before.size_bytes)
    assert s3.client().head_object(Bucket="bucket", Key="copy")["ContentType"] == "image/jpeg"


@pytest.mark.slow
def test_a_copy_in_parts_keeps_its_digest(any_store):
    bucket = any_store.new_bucket()
    target = touch(ExactKeyS3Target(f"s3://{bucket}/big"), b"x" * (9 * 2**20))
    target.fs.copy(target.path, f"s3://{bucket}/copy")
    before, after = s3.head(target.uri), s3.head(S3Uri(bucket, "copy"))
    assert before is not None
    assert after is not None
    assert (after.sha256, after.size_bytes) == (before.sha256, 9 * 2**20)
    assert read(ExactKeyS3Target(f"s3://{bucket}/copy")) == b"x" * (9 * 2**20)
    any_store.remove_bucket(bucket)


def test_an_object_that_changes_before_it_is_copied_is_not(bucket, monkeypatch):
    target = touch(ExactKeyS3Target("s3://bucket/a"))

    def look_and_change(uri: S3Uri) -> Any:
        info = s3.head(uri)
        s3.client().put_object(Bucket=uri.bucket, Key=uri.key, Body=b"changed")
        return info

    monkeypatch.setattr(filesystem, "head", look_and_change)
    with pytest.raises(s3.S3Error, match=r"s3://bucket/a: wanted to copy it to s3://bucket/b"):
        target.fs.copy(target.path, "s3://bucket/b")
    assert s3.head(S3Uri("bucket", "b")) is None


def test_a_mere_prefix_is_neither_moved_nor_copied(bucket):
    target = touch(ExactKeyS3Target("s3://bucket/models/a/x.pth"))
    for way in ("move", "copy"):
        with pytest.raises(
            ObjectMissingError, match="s3://bucket/models/a: wanted to read it: there is no such object"
        ):
            getattr(target.fs, way)("s3://bucket/models/a", "s3://bucket/b")
    assert target.exists()


def test_texts_go_to_s3_with_their_digest_and_come_back_checked(bucket, pauses):
    fs = ExactKeyS3Target("s3://bucket/a").fs
    fs.put_string("Grüße", "s3://bucket/a", ContentType="text/plain")
    info = s3.head(S3Uri("bucket", "a"))
    assert info is not None
    assert info.sha256 is not None
    assert s3.client().head_object(Bucket="bucket", Key="a")["ContentType"] == "text/plain"
    assert fs.get_as_string("s3://bucket/a") == "Grüße"
    s3.client().put_object(Bucket="bucket", Key="a", Body=b"other", Metadata={"sha256": info.sha256})
    with pytest.raises(s3.DigestMismatchError, match="s3://bucket/a"):
        fs.get_as_bytes("s3://bucket/a")
