from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import luigi
import pytest

from csci_utils import copies, s3
from csci_utils.copies import CopyRecord, fetch, is_current, recorded
from csci_utils.io import atomic_path, read_record, record_path, write_record
from csci_utils.luigi.mirror import Download
from csci_utils.luigi.target import ExactKeyS3Target
from csci_utils.s3 import BucketMissingError, ObjectMissingError, S3Error, S3Uri
from tests.csci_utils.fake_store import cut, give, refuse, wait_until

URI = S3Uri("bucket", "images/cat.jpg")
BODY = b"first" * 1000


@pytest.fixture
def copy(tmp_path) -> Path:
    return tmp_path / "data" / "cat.jpg"


@pytest.fixture
def why(caplog) -> list[str]:
    """What the log says was done, from now on."""
    caplog.set_level(logging.INFO, logger="csci_utils.mirror")

    class Lines(list):  # type: ignore[type-arg]
        def __eq__(self, other: object) -> bool:
            said = [record.getMessage() for record in caplog.records if record.name == "csci_utils.mirror"]
            caplog.clear()
            return said == other

    return Lines()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def touch(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 1_000_000))


@pytest.mark.slow
def test_a_copy_remembers_what_it_is_a_copy_of(store, copy, why):
    store.hold(BODY, sha256=True)
    moved: list[int] = []
    record = fetch(URI, copy, on_bytes=moved.append)
    assert copy.read_bytes() == BODY
    assert record == CopyRecord(
        uri="s3://bucket/images/cat.jpg",
        etag=hashlib.md5(BODY).hexdigest(),
        size_bytes=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        checked_by="sha256",
        mtime_ns=copy.stat().st_mtime_ns,
    )
    assert recorded(copy) == record
    assert sum(moved) == len(BODY)
    assert names(copy.parent) == [".cat.jpg.json", "cat.jpg"]
    assert why == [f"{copy}: fetched from {URI}: absent"]
    assert store.requests == ["HEAD /bucket/images/cat.jpg", "GET /bucket/images/cat.jpg"]


@pytest.mark.slow
def test_what_is_equal_costs_one_head(store, copy, why):
    store.hold(BODY)
    first = fetch(URI, copy)
    store.requests.clear()
    assert fetch(URI, copy) == first
    assert store.requests == ["HEAD /bucket/images/cat.jpg"]
    assert is_current(URI, copy)
    assert len(store.requests) == 2


@pytest.mark.slow
def test_a_changed_object_is_fetched_again(store, copy, why):
    store.hold(BODY)
    old = fetch(URI, copy)
    store.hold(b"second")
    assert not is_current(URI, copy)
    assert why == [f"{copy}: fetched from {URI}: absent"]
    new = fetch(URI, copy)
    assert copy.read_bytes() == b"second"
    assert why == [f"{copy}: fetched from {URI}: changed in S3: etag {old.etag} -> {new.etag}"]
    assert is_current(URI, copy)


@pytest.mark.slow
@pytest.mark.parametrize("same_size", [True, False])
def test_a_damaged_copy_is_fetched_again(store, copy, why, same_size):
    store.hold(BODY)
    fetch(URI, copy)
    copy.write_bytes(b"F" + BODY[1:] if same_size else b"short")
    touch(copy)
    assert not is_current(URI, copy)
    assert why == [f"{copy}: fetched from {URI}: absent"]
    fetch(URI, copy)
    assert copy.read_bytes() == BODY
    assert why == [f"{copy}: fetched from {URI}: local copy damaged"]


@pytest.mark.slow
def test_a_copy_that_was_only_touched_is_read_and_kept(store, copy):
    store.hold(BODY)
    fetch(URI, copy)
    touch(copy)
    store.requests.clear()
    assert is_current(URI, copy)
    fetch(URI, copy)
    assert store.requests == ["HEAD /bucket/images/cat.jpg"] * 2


@pytest.mark.slow
def test_a_copy_as_it_was_is_not_read(store, copy, monkeypatch):
    store.hold(BODY)
    fetch(URI, copy)
    monkeypatch.setattr(copies, "sha256_of", lambda _: pytest.fail("size and time are as recorded"))
    assert is_current(URI, copy)


@pytest.mark.slow
def test_a_deleted_copy_is_fetched_again_though_its_record_is_there(store, copy):
    store.hold(BODY)
    fetch(URI, copy)
    copy.unlink()
    assert not is_current(URI, copy)
    fetch(URI, copy)
    assert copy.read_bytes() == BODY


@pytest.mark.slow
@pytest.mark.parametrize("sha256", [True, False], ids=["with-digest", "without"])
def test_a_copy_whose_record_was_lost_is_adopted_only_by_its_digest(store, copy, why, sha256):
    store.hold(BODY, sha256=sha256)
    fetch(URI, copy)
    record_path(copy).unlink()
    assert not is_current(URI, copy)
    assert why == [f"{copy}: fetched from {URI}: absent"]
    store.requests.clear()
    fetch(URI, copy)
    assert ("GET /bucket/images/cat.jpg" in store.requests) != sha256
    assert is_current(URI, copy)


@pytest.mark.slow
def test_a_copy_of_another_object_is_not_taken_for_this_one(store, copy, why):
    store.hold(BODY)
    fetch(S3Uri("bucket", "elsewhere/cat.jpg"), copy)
    assert not is_current(URI, copy)
    fetch(URI, copy)
    assert recorded(copy).uri == str(URI)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [lambda r: {**r, "etag": None}, lambda r: {**r, "mtime_ns": True}, lambda r: {}, lambda r: {"etag": r["etag"]}],
    ids=["null", "wrong-type", "empty", "partial"],
)
def test_a_record_that_cannot_be_read_is_none(store, copy, spoil):
    store.hold(BODY)
    write_record(copy, spoil(fetch(URI, copy).to_dict()))
    assert recorded(copy) is None
    assert not is_current(URI, copy)


@pytest.mark.slow
def test_a_later_versions_record_is_read(store, copy):
    store.hold(BODY)
    record = fetch(URI, copy)
    write_record(copy, {**record.to_dict(), "later": [1]})
    assert recorded(copy) == record


@pytest.mark.slow
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_fetch_that_fails_keeps_the_old_copy_and_leaves_nothing(store, pauses, copy, old):
    if old is not None:
        store.hold(old)
        fetch(URI, copy)
    before = read_record(copy)
    store.hold(BODY)
    store.faults.extend([give(b""), *[cut(BODY, after=100)] * 9])
    with pytest.raises(S3Error, match="the connection broke"):
        fetch(URI, copy)
    assert names(copy.parent) == ([".cat.jpg.json", "cat.jpg"] if old else [])
    assert old is None or copy.read_bytes() == old
    assert read_record(copy) == before


@pytest.mark.slow
def test_an_object_overwritten_between_look_and_read_is_recorded_as_read(store, copy):
    store.hold(b"looked at")
    head_answer = give(b"looked at")

    def answer_then_change(handler):
        head_answer(handler)
        store.hold(b"read")

    store.faults.append(answer_then_change)
    record = fetch(URI, copy)
    assert copy.read_bytes() == b"read"
    assert record.etag == hashlib.md5(b"read").hexdigest()
    assert is_current(URI, copy)


@pytest.mark.slow
def test_what_is_missing_is_named(bucket, copy):
    with pytest.raises(ObjectMissingError, match="s3://bucket/images/cat.jpg: wanted to read it: there is no such"):
        fetch(URI, copy)
    with pytest.raises(BucketMissingError, match="there is no bucket 'nowhere'"):
        fetch(S3Uri("nowhere", "cat.jpg"), copy)
    assert not is_current(URI, copy)
    assert not copy.parent.exists()


def test_a_refusal_is_neither_current_nor_stale(store, copy):
    store.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(PermissionError, match="the store refused"):
        is_current(URI, copy)


def test_a_file_put_there_after_the_move_does_not_pass_for_the_copy(store, copy, monkeypatch):
    @contextmanager
    def then_another(path):
        with atomic_path(path) as scratch:
            yield scratch
        copy.write_bytes(b"f" * len(BODY))
        touch(copy)

    store.hold(BODY)
    monkeypatch.setattr(copies, "atomic_path", then_another)
    fetch(URI, copy)
    assert not is_current(URI, copy)
    assert not recorded(copy).holds(copy)


@pytest.mark.slow
def test_a_file_that_changes_while_it_is_hashed_is_not_adopted(store, copy, monkeypatch):
    def hash_then_change(path):
        found = real(path)
        copy.write_bytes(b"f" * len(BODY))
        touch(copy)
        monkeypatch.setattr(copies, "sha256_of", real)
        return found

    real = copies.sha256_of
    store.hold(BODY, sha256=True)
    fetch(URI, copy)
    record_path(copy).unlink()
    monkeypatch.setattr(copies, "sha256_of", hash_then_change)
    fetch(URI, copy)
    assert copy.read_bytes() == BODY
    assert is_current(URI, copy)


def test_a_record_tells_whether_a_file_is_its_copy(store, copy, tmp_path):
    store.hold(BODY)
    record = fetch(URI, copy)
    assert record.holds(copy)
    touch(copy)
    assert record.holds(copy)
    copy.write_bytes(b"F" + BODY[1:])
    touch(copy)
    assert not record.holds(copy)
    assert not any(record.holds(path) for path in (tmp_path / "nothing", tmp_path, copy / "below"))


FETCH = """
import logging, sys
from csci_utils.copies import *
logging.basicConfig(format="%(message)s")
logging.getLogger("csci_utils.lock").setLevel("INFO")
fetch(S3Uri.parse(sys.argv[1]), sys.argv[2])
"""


def fetching(copy: Path) -> subprocess.Popen[str]:
    args = [sys.executable, "-c", FETCH, str(URI), str(copy)]
    return subprocess.Popen(args, cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True], ids=["waits", "first-dies"])
def test_of_two_processes_one_fetches_and_the_other_waits(store, copy, dies):
    def hold_back(handler):
        released.wait(60)
        give(BODY)(handler)

    released = threading.Event()
    store.hold(BODY)
    store.faults.extend([give(BODY), hold_back])
    first = fetching(copy)
    wait_until(lambda: len(store.requests) == 2, timeout_s=60)
    second = fetching(copy)
    assert second.stderr is not None
    assert "waiting for another process that makes the same file" in second.stderr.readline()
    assert len(store.requests) == 3
    if dies:
        first.kill()
    else:
        released.set()
    for process in (first, second):
        process.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (-9 if dies else 0, 0)
    released.set()
    assert [line.split()[0] for line in store.requests] == ["HEAD", "GET", "HEAD", "HEAD", *["GET"] * dies]
    assert names(copy.parent) == [".cat.jpg.json", "cat.jpg"]
    assert is_current(URI, copy)


@pytest.mark.slow
def test_a_copy_that_came_between_look_and_lock_is_kept(store, copy, monkeypatch):
    def fetch_first(path):
        monkeypatch.undo()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.url)
        fetch(URI, path)
        return copies.locked(path)

    store.hold(BODY)
    s3.client()
    monkeypatch.setattr(copies, "locked", fetch_first)
    fetch(URI, copy)
    assert [line.split()[0] for line in store.requests] == ["HEAD", "HEAD", "GET", "HEAD"]


class Content(luigi.ExternalTask):
    name = luigi.Parameter()

    def output(self):
        return ExactKeyS3Target(f"s3://bucket/images/{self.name}")


class DownloadContent(Download):
    name = luigi.Parameter()
    folder = luigi.Parameter()

    def requires(self):
        return Content(name=self.name)

    @property
    def destination(self):
        return Path(self.folder, self.name)


@pytest.mark.slow
def test_a_download_is_declared_in_a_few_lines(bucket, copy):
    s3.client().put_object(Bucket="bucket", Key=URI.key, Body=BODY)
    task = DownloadContent(name="cat.jpg", folder=str(copy.parent))
    assert not task.complete()
    task.run()
    assert task.complete()
    assert Path(task.output().path).read_bytes() == BODY
    s3.client().put_object(Bucket="bucket", Key=URI.key, Body=b"second")
    assert not task.complete()


def test_a_download_that_does_not_say_where_to_is_an_error():
    class Nowhere(Download):
        pass

    with pytest.raises(NotImplementedError, match="Nowhere does not say its destination"):
        Nowhere().output()


@pytest.mark.slow
def test_an_object_overwritten_between_the_look_and_the_read_is_noticed(store, copy, why, monkeypatch):
    store.hold(BODY, sha256=True)
    real, first = copies.head, hashlib.md5(BODY).hexdigest()

    def look_then_overwrite(uri: S3Uri) -> s3.ObjectInfo | None:
        info = real(uri)
        store.hold(b"second" * 1000, sha256=True)
        return info

    monkeypatch.setattr(copies, "head", look_then_overwrite)
    record = fetch(URI, copy)
    second = hashlib.md5(b"second" * 1000).hexdigest()
    assert (copy.read_bytes(), record.etag) == (b"second" * 1000, second)
    assert why == [
        f"{copy}: fetched from {URI}: absent",
        f"{URI}: overwritten while it was fetched: etag {first} -> {second}",
    ]
    monkeypatch.undo()
    assert recorded(copy) == record
