"""A job of many pictures that a signal ends, that is started twice at once, and that several hosts share."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.pipeline.conftest import encoded_picture
from tests.pipeline.many.programs import COPIES, RESULT, files_below, wait_for
from tests.pipeline.test_kill import ENDING_S, scratch_below, somebody_is_left
from tests.servers.faults import CallFirst, CallWhenDone
from tests.servers.luigid import luigid_server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("signum", "status", "word", "workers"),
    [(signal.SIGINT, 130, "interrupted", "1"), (signal.SIGTERM, 143, "terminated", "2")],
    ids=["ctrl-c", "term-to-two"],
)
def test_a_signal_in_the_middle_leaves_nothing_and_the_next_run_makes_the_rest(
    programs, tmp_path, signum, status, word, workers
):
    local, met = tmp_path / "local", threading.Event()
    programs.proxy.add(CallWhenDone(met.set), method="PUT", key=RESULT, skip=5)
    process = programs.start(local, "--workers", workers)
    wait_for(met, process)
    process.send_signal(signum)
    out, err = process.communicate(timeout=ENDING_S)
    assert (process.returncode, out) == (status, ""), err
    assert err.splitlines()[-1] == f"style-pipeline: error: {word}; nothing half-made was left"
    assert "Traceback" not in err
    assert not somebody_is_left(local)
    programs.proxy.wait_for_conversations()
    assert scratch_below(local) == []
    assert files_below(local) == COPIES  # and no lock
    made = programs.job.whole_results()
    assert 6 <= len(made) < len(programs.images)
    programs.job.check_lines(made)
    programs.proxy.clear()
    again = programs.start(local, "--workers", workers)
    out, err = again.communicate(timeout=60)
    assert (again.returncode, out.splitlines()) == (0, programs.addresses), err
    assert programs.sent() == programs.fetched() == sorted(set(programs.images) - set(made))
    programs.job.check_complete(programs.images, num_shards=6)


def test_the_same_job_twice_at_once_on_one_host_makes_each_picture_once(programs, tmp_path):
    """Who comes second to a shard waits for it, and finds it done."""
    local = tmp_path / "local"
    processes = [programs.start(local) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [out.splitlines() for out, _ in outputs] == [programs.addresses] * 2
    assert programs.sent() == programs.fetched() == list(programs.images)
    programs.job.check_complete(programs.images, num_shards=6)
    assert files_below(local) == COPIES


def test_a_second_run_waits_for_a_shard_that_another_process_of_this_host_styles(programs, tmp_path):
    """The first hangs in the middle of its first shard; the second does not style that, and ends by a signal."""
    local, met, goes_on = tmp_path / "local", threading.Event(), threading.Event()

    def hang() -> None:
        met.set()
        goes_on.wait(30)

    programs.proxy.add(CallFirst(hang), method="PUT", key="*/02.png")
    first = programs.start(local)
    wait_for(met, first)
    second = programs.start(local, "-v")
    for line in second.stderr:
        if "waiting for another process that makes the same file" in line:
            break
    time.sleep(0.2)
    assert programs.fetched() == list(programs.images[:4])
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=ENDING_S)
    assert second.returncode == 130
    goes_on.set()
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert programs.sent() == list(programs.images)
    assert files_below(local) == COPIES


def test_the_same_job_at_once_on_two_hosts_without_a_scheduler_ends_well_on_both(programs, tmp_path):
    """Each picture may be styled twice: nothing tells one host of the other but what lies in S3."""
    hosts = [programs.start(tmp_path / name) for name in ("one", "two")]
    outputs = [process.communicate(timeout=60) for process in hosts]
    assert [process.returncode for process in hosts] == [0, 0], outputs
    assert [out.splitlines() for out, _ in outputs] == [programs.addresses] * 2
    programs.job.check_complete(programs.images, num_shards=6)
    assert [files_below(tmp_path / name) for name in ("one", "two")] == [COPIES] * 2


@pytest.fixture
def luigid(tmp_path) -> Iterator[str]:
    """The address of a scheduler."""
    with luigid_server(tmp_path) as address:
        yield address


@pytest.fixture
def slow_programs(programs):
    """Pictures so large that no host is done before the other has begun."""
    for seed, image in enumerate(programs.images):
        programs.job.put(f"images/{image}", encoded_picture(image, seed=seed, size=(400, 300)))
    return programs


def num_styled(err: str) -> int:
    """How many pictures a host was done with that it did not find done."""
    match = re.search(r"\((\d+) of 24 pictures", err)
    assert match is not None, err
    return int(match[1])


def test_two_hosts_share_the_shards_and_style_each_picture_once(slow_programs, luigid, tmp_path):
    programs, names = slow_programs, ("one", "two")
    hosts = [programs.start(tmp_path / name, "--scheduler", luigid) for name in names]
    outputs = [process.communicate(timeout=120) for process in hosts]
    assert [process.returncode for process in hosts] == [0, 0], outputs
    assert [out.splitlines() for out, _ in outputs] == [programs.addresses] * 2
    counts = [num_styled(err) for _, err in outputs]
    assert sum(counts) == len(programs.images)
    assert min(counts) > 0
    assert programs.sent() == programs.fetched() == list(programs.images)
    programs.job.check_complete(programs.images, num_shards=6)
    assert [files_below(tmp_path / name) for name in names] == [COPIES] * 2


def test_the_shard_of_a_host_that_dies_is_taken_over(programs, luigid, tmp_path):
    """The first hangs at the last picture of its second shard, and is killed when the second host is at work."""
    met, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        met.set()
        goes_on.wait(60)

    programs.proxy.add(CallFirst(hang), method="PUT", key="*/07.png")
    one = programs.start(tmp_path / "one", "--scheduler", luigid)
    wait_for(met, one)
    two = programs.start(tmp_path / "two", "--scheduler", luigid)
    while "23.png" not in programs.sent():
        assert two.poll() is None, two.communicate()
        time.sleep(0.01)
    one.kill()
    goes_on.set()
    one.communicate()
    made = programs.job.whole_results()
    num_requests = len(programs.proxy.requests)
    out, err = two.communicate(timeout=120)
    assert (two.returncode, out.splitlines()) == (0, programs.addresses), err
    sent = [request.key for request in programs.proxy.requests[num_requests:] if request.method == "PUT"]
    assert not [key for key in sent if key.rpartition("/")[2] in made]
    programs.job.check_complete(programs.images, num_shards=6)
    assert files_below(tmp_path / "two") == COPIES


def test_a_host_that_comes_later_finds_all_done(programs, luigid, tmp_path):
    first = programs.start(tmp_path / "one", "--scheduler", luigid)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    programs.proxy.clear()
    begun_s = time.monotonic()
    later = programs.start(tmp_path / "two", "--scheduler", luigid)
    out, err = later.communicate(timeout=60)
    assert (later.returncode, out.splitlines()) == (0, programs.addresses), err
    assert "nothing to do: 24 results up to date" in err
    assert programs.sent() == programs.fetched() == []
    assert time.monotonic() - begun_s < 60
