from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import luigi.configuration
import luigi.format
import pytest
from luigi.local_target import atomic_file

from csci_utils import s3
from csci_utils.io import is_scratch
from csci_utils.luigi import filesystem
from csci_utils.luigi.target import (
    BaseAtomicProviderLocalTarget,
    ExactKeyS3Client,
    ExactKeyS3Target,
    SuffixPreservingLocalTarget,
    suffix_preserving_atomic_file,
)
from csci_utils.s3 import ObjectMissingError, S3Error, S3Uri
from tests.csci_utils.fake_store import refuse
from tests.csci_utils.luigi.writing import leftovers, read, write, write_temporary

# --- local targets


def test_names_and_classes_are_the_courses():
    assert BaseAtomicProviderLocalTarget.atomic_provider is atomic_file
    assert SuffixPreservingLocalTarget.atomic_provider is suffix_preserving_atomic_file
    assert issubclass(suffix_preserving_atomic_file, atomic_file)
    assert "generate_tmp_path" in vars(suffix_preserving_atomic_file)


def test_the_provider_is_used_for_both_ways_of_writing(tmp_path):
    used = []

    class Provider(suffix_preserving_atomic_file):
        def __init__(self, path):
            used.append(path)
            super().__init__(path)

    class Target(BaseAtomicProviderLocalTarget):
        atomic_provider = Provider

    target = Target(str(tmp_path / "cat.jpg"))
    with target.open("w") as file:
        file.write("new")
    with target.temporary_path() as path:
        Path(path).write_bytes(b"new")
    assert used == [target.path, target.path]


def test_the_suffix_is_kept_and_the_scratch_file_hidden(tmp_path):
    target = SuffixPreservingLocalTarget(tmp_path / "deep" / "cat.JPG")
    with target.temporary_path() as path:
        assert Path(path).suffix == ".JPG"
        assert Path(path).parent == tmp_path / "deep"
        assert is_scratch(path)
        Path(path).write_bytes(b"new")
    with target.open("w") as file:
        assert Path(file.tmp_path).suffix == ".JPG"
        assert is_scratch(file.tmp_path)


def test_a_target_without_a_folder_in_its_path_is_written_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SuffixPreservingLocalTarget("cat.jpg").temporary_path() as path:
        Path(path).write_bytes(b"new")
    assert os.listdir(tmp_path) == ["cat.jpg"]


@pytest.mark.parametrize("kind", [BaseAtomicProviderLocalTarget, SuffixPreservingLocalTarget])
def test_a_folder_in_the_way_is_named(tmp_path, kind):
    target = kind(str(tmp_path))
    with pytest.raises(IsADirectoryError, match="found a folder of that name"), target.temporary_path():
        pytest.fail("the block must not run")
    with pytest.raises(IsADirectoryError, match="found a folder of that name"):
        target.open("w")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("way", [write, write_temporary], ids=["open", "temporary-path"])
def test_a_disk_that_fills_at_the_end_keeps_the_old_file(tmp_path, monkeypatch, call, way):
    target = SuffixPreservingLocalTarget(str(tmp_path / "cat.jpg"), format=luigi.format.Nop)
    write(target, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        way(target, b"new")
    assert os.listdir(tmp_path) == ["cat.jpg"]
    assert read(target) == b"old"


def test_local_files_are_on_the_disk_before_they_are_in_place(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    write(SuffixPreservingLocalTarget(str(tmp_path / "cat.jpg"), format=luigi.format.Nop), b"new")
    assert calls == ["fsync", "replace", "fsync"]


# --- S3 targets


@pytest.mark.parametrize("found", [True, False], ids=["hit", "miss"])
def test_existence_is_one_head_of_the_exact_key(store, found):
    store.hold(b"new")
    if not found:
        store.faults.append(refuse(404, "NoSuchKey"))
    assert ExactKeyS3Target("s3://bucket/images/cat.jpg").exists() == found
    assert store.requests == ["HEAD /bucket/images/cat.jpg"]
    assert ExactKeyS3Client().exists("s3://bucket/images/cat.jpg")
    assert len(store.requests) == 2


@pytest.mark.slow
def test_a_mere_prefix_is_not_there(bucket):
    s3.client().put_object(Bucket="bucket", Key="models/a/x.pth", Body=b"x")
    assert not ExactKeyS3Target("s3://bucket/models/a").exists()
    assert not ExactKeyS3Client().exists("s3://bucket/models/a")
    assert ExactKeyS3Client().get_key("s3://bucket/models/a") is None


@pytest.mark.slow
def test_what_luigi_calls_a_key_moves_its_bytes_as_boto3s_does(bucket, tmp_path):
    s3.client().put_object(Bucket=bucket, Key="models/a.pth", Body=b"weights")
    with (tmp_path / "copy").open("wb") as file:
        ExactKeyS3Client().get_key("s3://bucket/models/a.pth").Object().download_fileobj(file)
    assert (tmp_path / "copy").read_bytes() == b"weights"
    ExactKeyS3Client().s3.Bucket(bucket).upload_file(str(tmp_path / "copy"), "models/b.pth")
    assert s3.client().get_object(Bucket=bucket, Key="models/b.pth")["Body"].read() == b"weights"


def test_removing_never_takes_what_lies_under_a_key(bucket):
    s3.client().put_object(Bucket="bucket", Key="models/a/x.pth", Body=b"x")
    assert not ExactKeyS3Client().remove("s3://bucket/models/a")
    assert ExactKeyS3Target("s3://bucket/models/a/x.pth").exists()


@pytest.mark.parametrize("call", ["exists", "open"])
def test_a_refusal_is_an_error_and_not_an_absence(store, call):
    store.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(PermissionError, match="s3://bucket/cat.jpg: wanted to .*: the store refused"):
        getattr(ExactKeyS3Target("s3://bucket/cat.jpg"), call)()


@pytest.mark.slow
def test_what_is_written_carries_its_digest(bucket):
    target = ExactKeyS3Target("s3://bucket/cat.jpg")
    write(target, b"new")
    with target.temporary_path() as path:
        assert Path(path).suffix == ".jpg"
        Path(path).write_bytes(b"newer")
    info = s3.head(target.uri)
    assert info is not None
    assert info.sha256 == hashlib.sha256(b"newer").hexdigest()


def test_options_reach_the_store(bucket):
    target = ExactKeyS3Target("s3://bucket/cat.jpg", Metadata={"by": "me"})
    write(target, b"new")
    with target.temporary_path() as path:
        Path(path).write_bytes(b"newer")
    assert s3.client().head_object(Bucket="bucket", Key="cat.jpg")["Metadata"]["by"] == "me"


def test_making_a_target_makes_no_client_and_reads_no_s3_section(monkeypatch):
    monkeypatch.setattr(filesystem, "client", lambda: pytest.fail("no client is needed yet"))
    monkeypatch.setattr(luigi.configuration, "get_config", lambda: pytest.fail("no configuration is needed"))
    target = ExactKeyS3Target("s3://bucket/cat.jpg")
    assert target.format is luigi.format.Nop
    assert target.uri == S3Uri("bucket", "cat.jpg")


def test_the_client_moves_files_both_ways(bucket, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"new")
    client = ExactKeyS3Client()
    client.put(str(tmp_path / "cat.jpg"), "s3://bucket/a/cat.jpg")
    client.mkdir("s3://bucket/b")
    client.get("s3://bucket/a/cat.jpg", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"new"
    assert list(client.listdir("s3://bucket/")) == ["s3://bucket/a/cat.jpg"]
    assert client.get_as_bytes("s3://bucket/a/cat.jpg") == b"new"


def test_an_upload_that_fails_leaves_nothing_here(store, folder):
    store.faults.extend([refuse(403, "AccessDenied")] * 2)
    target = ExactKeyS3Target("s3://bucket/cat.jpg")
    with pytest.raises(S3Error, match="cat.jpg"):
        write(target, b"new")
    assert leftovers(folder) == []


def test_a_missing_object_is_one_error_for_every_caller(bucket):
    with pytest.raises(ObjectMissingError, match="there is no such object"):
        ExactKeyS3Target("s3://bucket/cat.jpg").open("r")
