from __future__ import annotations

import hashlib
import itertools
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from csci_utils import s3
from csci_utils.io import is_scratch
from csci_utils.s3 import ObjectMissingError, S3Limits, S3Uri
from tests.csci_utils.fake_store import (
    NOTHING_THERE,
    cut_after,
    give,
    refuse,
    stall_after,
    stay_silent,
    tampered,
    wait_until,
)

pytestmark = pytest.mark.slow

BODY = hashlib.shake_256(b"many").digest(50_000)


@pytest.fixture
def full(store):
    """The store, with an object for every key."""
    s3.use_limits(S3Limits(parallel_objects=4, chunk_bytes=10_000))
    store.hold(BODY, sha256=True)
    return store


def pairs(folder, num: int = 10) -> list[tuple[S3Uri, object]]:
    return [(S3Uri("bucket", f"{n}.jpg"), folder / f"{n}.jpg") for n in range(num)]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def no_threads() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("s3-")]


def test_many_objects_come_in_the_order_of_their_pairs(full, tmp_path):
    moved: list[int] = []
    got = list(s3.get_many(pairs(tmp_path / "in"), on_bytes=moved.append))
    assert [(outcome.uri, outcome.path) for outcome in got] == pairs(tmp_path / "in")
    assert {outcome.result().sha256 for outcome in got} == {hashlib.sha256(BODY).hexdigest()}
    assert {path.read_bytes() for path in (tmp_path / "in").iterdir()} == {BODY}
    assert names(tmp_path / "in") == sorted(f"{n}.jpg" for n in range(10))
    assert len(full.requests) == 10
    assert sum(moved) == 10 * len(BODY)
    assert no_threads()


def test_many_files_go(full, tmp_path):
    for _, path in pairs(tmp_path):
        path.write_bytes(path.name.encode())
    sent = list(s3.put_many(pairs(tmp_path)))
    assert [outcome.result().uri for outcome in sent] == [uri for uri, _ in pairs(tmp_path)]
    assert sorted(full.received) == sorted(path.name.encode() for _, path in pairs(tmp_path))


def test_nothing_is_no_work(full):
    assert list(s3.get_many([])) == []
    assert list(s3.put_many([])) == []


def test_one_failure_does_not_stop_the_others(full, tmp_path):
    full.at("GET /bucket/3.jpg", NOTHING_THERE)
    full.at("GET /bucket/5.jpg", cut_after(100))
    got = list(s3.get_many(pairs(tmp_path)))
    assert [n for n, outcome in enumerate(got) if outcome.error is not None] == [3]
    assert isinstance(got[3].error, ObjectMissingError)
    with pytest.raises(ObjectMissingError, match=r"s3://bucket/3\.jpg"):
        got[3].result()
    assert names(tmp_path) == sorted(f"{n}.jpg" for n in range(10) if n != 3)


def test_a_file_that_is_missing_is_one_failure_too(full, tmp_path):
    for _, path in pairs(tmp_path)[1:]:
        path.write_bytes(b"x")
    sent = list(s3.put_many(pairs(tmp_path)))
    assert [type(outcome.error) for outcome in sent] == [FileNotFoundError, *[type(None)] * 9]


def test_an_older_file_stays_when_its_object_cannot_be_fetched(full, tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"old")
    full.at("GET /bucket/0.jpg", refuse(403, "AccessDenied"))
    (outcome,) = s3.get_many(pairs(tmp_path, 1))
    assert isinstance(outcome.error, PermissionError)
    assert (tmp_path / "0.jpg").read_bytes() == b"old"
    assert names(tmp_path) == ["0.jpg"]


def test_the_first_outcome_does_not_wait_for_the_last(full, tmp_path):
    full.at("GET /bucket/9.jpg", stay_silent)
    got = s3.get_many(pairs(tmp_path))
    assert next(got).path.name == "0.jpg"
    full.released.set()
    got.close()


def test_pairs_are_read_as_they_are_needed(full, tmp_path):
    taken = []

    def endless():
        for n in itertools.count():
            taken.append(n)
            yield S3Uri("bucket", f"{n}"), tmp_path / f"{n}"

    got = s3.get_many(endless())
    assert next(got).path.name == "0"
    got.close()
    assert no_threads()
    assert len(taken) < 1000


def test_an_error_of_the_pairs_is_the_callers(full, tmp_path):
    def broken():
        yield from pairs(tmp_path, 2)
        raise ValueError("no more pairs")

    with pytest.raises(ValueError, match="no more pairs"):
        list(s3.get_many(broken()))
    assert no_threads()


def test_a_reader_that_goes_away_ends_the_threads(full, tmp_path):
    for n in range(1, 10):
        full.at(f"GET /bucket/{n}.jpg", stall_after(10_000))
    got = s3.get_many(pairs(tmp_path))
    next(got)
    wait_until(lambda: len(full.requests) >= 4)
    time.sleep(0.2)
    start = time.monotonic()
    got.close()
    wait_until(no_threads)
    assert time.monotonic() - start < 15
    assert names(tmp_path) == ["0.jpg"]


@pytest.mark.parametrize("size", ["small", "in-ranges"])
def test_ctrl_c_ends_soon_and_leaves_no_half_objects(full, tmp_path, size):
    if size == "in-ranges":
        s3.use_limits(S3Limits(parallel_objects=3, chunk_bytes=10_000, range_bytes=20_000, parallel_ranges=2))
    for n in range(1, 10):
        full.at(f"GET /bucket/{n}.jpg", stall_after(10_000))
    threading.Timer(0.7, signal.raise_signal, [signal.SIGINT]).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(s3.get_many(pairs(tmp_path)))
    assert time.monotonic() - start < 15
    wait_until(no_threads)
    assert names(tmp_path) == ["0.jpg"]


def test_a_failure_leaves_no_scratch_file(full, tmp_path):
    full.at("GET /bucket/0.jpg", *[tampered(lambda data: data[:-1] + b"?")] * 9)
    (outcome,) = s3.get_many(pairs(tmp_path, 1))
    assert isinstance(outcome.error, s3.DigestMismatchError)
    assert not [path for path in tmp_path.iterdir() if is_scratch(path)]


def test_big_files_of_a_group_leave_no_parts_when_stopped(full, tmp_path):
    s3.use_limits(S3Limits(parallel_objects=2, multipart_bytes=20_000, part_bytes=20_000, parallel_parts=2))
    for _, path in pairs(tmp_path):
        path.write_bytes(BODY)
    sent = s3.put_many(pairs(tmp_path), journal=tmp_path / "journal")
    next(sent)
    sent.close()
    wait_until(no_threads)
    assert full.parts == {}
    assert names(tmp_path / "journal") == []


FORK = """
import multiprocessing, sys
from pathlib import Path
from csci_utils import s3
s3.use_limits(s3.S3Limits(range_bytes=10_000, chunk_bytes=5_000))
def fetch(name):
    folder = Path(sys.argv[1], name)
    got = s3.get_many((s3.S3Uri("bucket", f"{n}"), folder / f"{n}") for n in range(6))
    return [outcome.result().sha256 for outcome in got]
first = fetch("parent")
got = s3.get_many((s3.S3Uri("bucket", f"{n}"), Path(sys.argv[1], "open", f"{n}")) for n in range(6))
next(got)  # threads of the parent are at work while it forks
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(set(map(tuple, pool.map(fetch, ["one", "two"]))) == {tuple(first)}, flush=True)
print(len(list(got)))
"""


def test_forked_workers_have_threads_of_their_own(full, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "True\n5\n", done.stderr


def test_threads_wait_for_a_slow_reader(full):
    done: list[int] = []
    outcomes = s3.each(range(1000), lambda number: done.append(number) or number, num_threads=2)
    assert next(outcomes) == 0
    wait_until(lambda: len(done) >= 8)
    time.sleep(0.2)
    assert len(done) <= 12
    assert list(outcomes) == list(range(1, 1000))
    assert no_threads()


def test_each_of_many_requests_is_tried_as_often_as_one(full, pauses, tmp_path):
    """botocore by itself allows all threads together about 35 new tries."""
    s3.use_limits(S3Limits(parallel_objects=16))
    failures = dict.fromkeys((f"/bucket/{n}.jpg" for n in range(16)), 4)
    lock = threading.Lock()

    def fail_four_times(handler) -> None:
        with lock:
            failing = failures[handler.path] > 0
            failures[handler.path] -= 1
        (refuse(503, "InternalError") if failing else give(BODY))(handler)

    full.faults.extend([fail_four_times] * 80)
    assert [outcome.error for outcome in s3.get_many(pairs(tmp_path / "in", 16))] == [None] * 16
    assert len(full.requests) == 80
