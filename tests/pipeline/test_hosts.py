"""Several hosts, each with its own local folder, share one scheduler and one bucket."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csci_utils.s3 import S3Uri, head
from tests.pipeline.conftest import ROOT
from tests.servers.luigid import luigid_server

pytestmark = pytest.mark.slow

PICTURES = [f"{number}.png" for number in range(8)]


@pytest.fixture
def luigid(tmp_path) -> Iterator[str]:
    """The address of a scheduler."""
    with luigid_server(tmp_path) as address:
        yield address


@pytest.fixture
def hosts(bucket, luigid, tmp_path):
    """Start the same job on two hosts."""
    for number, name in enumerate(PICTURES):
        bucket.put_image(name, seed=number, size=(1000, 800))
    pictures = [argument for name in PICTURES for argument in ("-i", name)]
    command = [sys.executable, "-m", "pipeline", *pictures, "-m", "mosaic", "--publish", "--scheduler", luigid]
    started = [
        subprocess.Popen(
            [*command, "--local-root", str(tmp_path / host)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in ("one", "two")
    ]
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def made(err: str) -> int:
    match = re.search(r"(\d+) results? made", err)
    assert match is not None, err
    return int(match[1])


def results_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("stylized/mosaic/[0-9]*.png")}


def test_two_hosts_share_the_work_and_both_end_with_all_of_it(hosts, tmp_path):
    outputs = [process.communicate(timeout=120) for process in hosts]
    assert [process.returncode for process in hosts] == [0, 0], outputs
    counts = [made(err) for _, err in outputs]
    assert sum(counts) == len(PICTURES)  # each made once
    assert min(counts) > 0  # both worked
    for name in PICTURES:
        assert head(S3Uri.parse(f"{ROOT}/stylized/mosaic/{name}")) is not None
    assert len(results_in(tmp_path / "one")) == len(PICTURES)
    assert results_in(tmp_path / "one") == results_in(tmp_path / "two")
    for (out, _), host in zip(outputs, ("one", "two"), strict=True):
        assert out.splitlines() == [str(tmp_path / host / "stylized" / "mosaic" / name) for name in PICTURES]


def test_what_a_host_was_making_when_it_died_is_made_by_the_other(hosts, tmp_path):
    one, two = hosts
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("one/stylized/mosaic/.*scratch*")):
        assert one.poll() is None, "the first host was done before it began"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    one.send_signal(signal.SIGKILL)
    _, err = two.communicate(timeout=120)
    assert two.returncode == 0, err
    assert len(results_in(tmp_path / "two")) == len(PICTURES)


def test_a_scheduler_that_is_not_there_says_so(bucket, run):
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic", "--publish", "--scheduler", "http://127.0.0.1:9")
    assert (status, out) == (25, [])
    assert "the scheduler at http://127.0.0.1:9 cannot be used" in err[0]


def test_sharing_the_work_without_sharing_the_results_is_refused(bucket, run):
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic", "--scheduler", "http://127.0.0.1:9")
    assert (status, len(err)) == (2, 1)
    assert "add --publish" in err[0]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--scheduler", "localhost:8082"), "--scheduler wants an address that begins with http://"),
        (("--scheduler", "u:hunter2@localhost:8082"), "--scheduler wants an address that begins with http://"),
        (("--scheduler", "http://127.0.0.1:9", "--force"), "--force makes all of it again on each host"),
    ],
)
def test_what_hosts_cannot_share_is_refused_at_once(bucket, run, args, said):
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic", "--publish", *args)
    assert (status, len(err)) == (2, 1)
    assert said in err[0]
    assert "hunter2" not in err[0]
