"""SIGKILL in the middle of the main job: nothing that a listing takes for a result is ever half a one."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csci_utils.io import is_scratch, record_path
from csci_utils.s3 import S3Uri, head

# A hundred moments take about ten minutes on two cores.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(3600)]

COMMAND = [sys.executable, "-m", "pipeline", "-i", "luigi.png", "-m", "mosaic"]
COPIES = {"images/luigi.png": "images/luigi.png", "saved_models/mosaic.pth": "saved_models/mosaic.pth"}
RESULT = "stylized/mosaic/luigi.png"
# A moment that is over in a millisecond can be missed; so often it is waited for again.
CHANCES = 20


def names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def scratch_in(folder: str) -> Callable[[Path], bool]:
    return lambda local: any(is_scratch(name) for name in names_in(local / folder))


def placed_without_record(name: str) -> Callable[[Path], bool]:
    def seen(local: Path) -> bool:
        path = local / name
        return path.exists() and not record_path(path).exists()

    return seen


SEEN = {
    "scratch-of-the-picture": scratch_in("images"),
    "picture-placed-record-not": placed_without_record("images/luigi.png"),
    "scratch-of-the-model": scratch_in("saved_models"),
    "scratch-of-the-result": scratch_in("stylized/mosaic"),
    "result-placed-record-not": placed_without_record(RESULT),
}


@pytest.fixture
def big_bucket(store):
    """Pictures and weights big enough that writing them takes a moment."""
    store.put_image("luigi.png", size=(400, 300))
    store.put_model("mosaic.pth")
    return store


@pytest.fixture
def reference(big_bucket, tmp_path) -> tuple[bytes, float]:
    """The result of an unbroken run, and how long that takes."""
    start = time.monotonic()
    local = tmp_path / "reference"
    subprocess.run([*COMMAND, "--local-root", str(local)], check=True, capture_output=True, timeout=120)
    return (local / RESULT).read_bytes(), time.monotonic() - start


def moments(*, full: bool, seconds: float) -> Iterator[tuple[str, Callable[[Path], bool] | float]]:
    """Ten of them, or a hundred: half by what is seen, half at random over the time that a run takes."""
    clock = random.Random(7)
    for _ in range(10 if full else 1):
        yield from SEEN.items()
        for _ in SEEN:
            delay_s = clock.uniform(0.2, 1.0) * seconds
            yield f"after {delay_s:.2f} s", delay_s


def kill_at(moment: Callable[[Path], bool] | float, local: Path) -> bool:
    """Start the job and kill it at a moment; False when it ended before the moment was seen."""
    process = subprocess.Popen(
        [*COMMAND, "--local-root", str(local)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    start = time.monotonic()
    seen = (lambda _: time.monotonic() - start > moment) if isinstance(moment, float) else moment
    while process.poll() is None and not seen(local):
        pass  # a pause would miss moments of less than a millisecond
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def visible_files(local: Path) -> set[str]:
    """What a listing shows: everything that no component of which begins with a dot."""
    found = {path.relative_to(local) for path in local.rglob("*") if path.is_file()}
    return {str(path) for path in found if not any(part.startswith(".") for part in path.parts)}


def test_a_killed_run_leaves_nothing_half_made_and_the_next_one_completes(big_bucket, reference, tmp_path, request):
    result, seconds = reference
    inputs = {name: head(S3Uri.parse(f"{big_bucket.root}/{key}")) for name, key in COPIES.items()}
    for number, (name, moment) in enumerate(moments(full=request.config.getoption("--soak"), seconds=seconds)):
        for chance in range(CHANCES):
            local = tmp_path / f"{number}-{chance}"
            if kill_at(moment, local) or isinstance(moment, float):
                break  # a run that was faster than its clock met a moment, too: its end
            assert chance < CHANCES - 1, f"never saw: {name}"
        for file in visible_files(local):
            content = (local / file).read_bytes()
            if file == RESULT:
                assert content == result, name
            else:
                assert hashlib.sha256(content).hexdigest() == inputs[file].sha256, name
        done = subprocess.run(
            [*COMMAND, "--local-root", str(local)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, (name, done.stderr)
        assert (local / RESULT).read_bytes() == result, name
        assert visible_files(local) == {RESULT, *COPIES}, name
        assert not [path for path in local.rglob("*") if is_scratch(path)], name
