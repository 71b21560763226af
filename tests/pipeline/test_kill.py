"""A run that is killed at any moment: no half result is ever visible, nobody goes on, and the next run completes."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csci_utils.io import is_scratch, record_path
from neural_style.onnx_export import export_onnx
from tests.pipeline.conftest import encoded_picture, model_bytes
from tests.servers.faults import Call, CallWhenDone
from tests.servers.proxy import FaultProxy
from tests.servers.stores import Store

# A hundred moments of one kind take about five minutes on two cores.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(3600)]

STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
PICTURES = ("luigi.png", "sea.png")
RESULTS = tuple(f"stylized/mosaic/{name}" for name in PICTURES)
BIG = "datasets/big/big.bin"
PART_BYTES = 5 * 1024 * 1024
# A moment that is over in a millisecond can be missed; so often it is waited for again.
CHANCES = 20
ENDING_S = 20


def names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def has_scratch(*folders: str) -> Callable[[Path], bool]:
    return lambda local: any(is_scratch(name) for folder in folders for name in names_in(local / folder))


def placed_without_record(local: Path) -> bool:
    return any(path.exists() and not record_path(path).exists() for path in (local / name for name in RESULTS))


@dataclass(frozen=True)
class Moment:
    """When to kill: when `seen` is true of the local folder, `after_s`, or when the proxy meets what it looks for."""

    name: str
    seen: Callable[[Path], bool] = lambda _: False
    after_s: float | None = None
    passing: Callable[[FaultProxy, Callable[[], None]], object] | None = None
    put: bool = False


SEEN = [
    Moment("a copy's scratch file", has_scratch("images", "saved_models")),
    Moment(
        "byte 3000 of the model",
        passing=lambda proxy, kill: proxy.add(Call(3000, function=kill), method="GET", key="*/saved_models/*"),
    ),
    Moment(
        "part 2 of a multipart sent",
        put=True,
        passing=lambda proxy, kill: proxy.add(CallWhenDone(kill), method="PUT", key="*.bin", query="partNumber=2"),
    ),
    Moment("a result's scratch file", has_scratch("stylized/mosaic")),
    Moment("a result placed, its record not", placed_without_record),
    Moment(
        "a result published, its record not",
        passing=lambda proxy, kill: proxy.add(CallWhenDone(kill), method="PUT", key="*/stylized/mosaic/*.png"),
    ),
]


@dataclass
class Bench:
    """A bucket behind a proxy, and what an unbroken run makes of it."""

    store: Store
    bucket: str
    proxy: FaultProxy
    inputs: dict[str, bytes]
    big: Path
    results: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0

    def prefix(self, name: str) -> str:
        """Fill a prefix of its own."""
        for key, body in self.inputs.items():
            metadata = {"sha256": hashlib.sha256(body).hexdigest()}
            self.store.plain.put_object(Bucket=self.bucket, Key=f"{name}/{key}", Body=body, Metadata=metadata)
        return f"s3://{self.bucket}/{name}"

    def command(self, root: str, local: Path, *, workers: int, put: bool) -> list[str]:
        if put:
            job = ["put", str(self.big), "--as", "datasets/big"]
        else:
            pictures = [argument for name in PICTURES for argument in ("-i", name)]
            job = [*pictures, "-m", "mosaic.onnx", "--publish", "--workers", str(workers)]
        return [sys.executable, "-m", "pipeline", *job, "--s3-root", root, "--local-root", str(local)]

    def held(self, prefix: str) -> dict[str, bytes]:
        """What lies in S3 below a prefix besides the inputs."""
        keys = [key.removeprefix(f"{prefix}/") for key in self.store.keys(self.bucket) if key.startswith(f"{prefix}/")]
        return {key: self.store.read(self.bucket, f"{prefix}/{key}") or b"" for key in keys if key not in self.inputs}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> bytes:
    """As ONNX: without torch a run is short, and so is the test."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "mosaic.pth").write_bytes(model_bytes())
    export_onnx(folder / "mosaic.pth", folder / "mosaic.onnx")
    return (folder / "mosaic.onnx").read_bytes()


@pytest.fixture
def bench(moto_store, model, tmp_path, monkeypatch) -> Iterator[Bench]:
    inputs = {f"images/{name}": encoded_picture(name, seed=len(name), size=(300, 200)) for name in PICTURES}
    inputs["saved_models/mosaic.onnx"] = model
    big = tmp_path / "big.bin"
    big.write_bytes(random.Random(1).randbytes(2 * PART_BYTES + 1000))
    with FaultProxy(moto_store.url) as proxy:
        for name, value in moto_store.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PIPELINE_DEVICE", "cpu")
        monkeypatch.setenv("PIPELINE_S3_MULTIPART_BYTES", str(PART_BYTES))
        monkeypatch.setenv("PIPELINE_S3_PART_BYTES", str(PART_BYTES))
        monkeypatch.chdir(tmp_path)
        made = Bench(moto_store, moto_store.new_bucket(), proxy, inputs, big)
        start = time.monotonic()
        local = tmp_path / "unbroken"
        command = made.command(made.prefix("unbroken"), local, workers=1, put=False)
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        made.seconds = time.monotonic() - start
        made.results = {name: (local / name).read_bytes() for name in RESULTS}
        yield made


def moments(*, full: bool, seconds: float, first: int) -> Iterator[Moment]:
    """Six of them, or a hundred: half by what is seen, half at random over the time that a run takes."""
    half = 50 if full else 3
    clock = random.Random(first)
    yield from itertools.islice(itertools.cycle(SEEN), first * half, (first + 1) * half)
    for number in range(half):
        yield Moment("at random", after_s=clock.uniform(0.1, 1.0) * seconds, put=number % 3 == 2)


def kill_at(bench: Bench, moment: Moment, command: list[str], local: Path, signum: signal.Signals) -> tuple[int, str]:
    """Start a run and send it a signal at a moment; return how it ended and what it said."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    done = threading.Event()

    def kill() -> None:
        if not done.is_set():
            done.set()
            process.send_signal(signum)

    bench.proxy.clear()
    if moment.passing is not None:
        moment.passing(bench.proxy, kill)
    start = time.monotonic()
    while process.poll() is None and not done.is_set():
        if moment.seen(local) or (moment.after_s is not None and time.monotonic() - start > moment.after_s):
            kill()
        time.sleep(0.0002)
    _, err = process.communicate(timeout=ENDING_S)
    return process.returncode, err


def somebody_is_left(local: Path) -> bool:
    """Whether a process names the local root in its arguments."""
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(local) in cmdline.read_bytes():
                return True
        except OSError:  # it ended meanwhile
            continue
    return False


def visible_files(local: Path) -> set[str]:
    """What a listing shows: everything that no component of which begins with a dot."""
    found = {path.relative_to(local) for path in local.rglob("*") if path.is_file()}
    return {str(path) for path in found if not any(part.startswith(".") for part in path.parts)}


def scratch_below(local: Path) -> list[Path]:
    return [path for path in local.rglob("*") if is_scratch(path)]


def check_nothing_is_half_made(bench: Bench, local: Path, prefix: str) -> None:
    for name in visible_files(local):
        assert (local / name).read_bytes() == {**bench.inputs, **bench.results}[name]
    for key, body in bench.held(prefix).items():
        if not key.rpartition("/")[2].startswith("."):
            assert body == (bench.big.read_bytes() if key == BIG else bench.results[key])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signum", list(STATUS), ids=lambda signum: signum.name)
def test_a_killed_run_leaves_nothing_half_made_and_the_next_one_completes(bench, tmp_path, request, signum, workers):
    full = request.config.getoption("--soak")
    first = 2 * list(STATUS).index(signum) + workers - 1
    for number, moment in enumerate(moments(full=full, seconds=bench.seconds, first=first)):
        for chance in range(CHANCES):
            prefix = f"{number}-{chance}"
            local = tmp_path / prefix
            command = bench.command(bench.prefix(prefix), local, workers=workers, put=moment.put)
            status, err = kill_at(bench, moment, command, local, signum)
            # Before there is anything to clean up, and after, the signal ends the process by itself.
            assert status in (STATUS[signum], -signum, 0), (moment.name, status, err)
            if status != 0 or moment.after_s is not None:
                break  # a run that was faster than its clock met a moment, too: its end
            assert chance < CHANCES - 1, f"never saw: {moment.name}"
        deadline = time.monotonic() + ENDING_S
        while somebody_is_left(local):
            assert time.monotonic() < deadline, f"an orphan goes on: {moment.name}"
            time.sleep(0.05)
        check_nothing_is_half_made(bench, local, prefix)
        if signum is not signal.SIGKILL:
            assert "Traceback" not in err, (moment.name, err)
            assert scratch_below(local) == [], moment.name
            assert bench.store.uploads(bench.bucket) == [], moment.name
        bench.proxy.clear()
        again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert again.returncode == 0, (moment.name, again.stderr)
        check_nothing_is_half_made(bench, local, prefix)
        wanted = {BIG} if moment.put else {*RESULTS, *(str(record_path(name)) for name in RESULTS)}
        assert set(bench.held(prefix)) == wanted, moment.name
        assert visible_files(local) == (set() if moment.put else {*RESULTS, *bench.inputs}), moment.name
        assert scratch_below(local) == [], moment.name
        assert bench.store.uploads(bench.bucket) == [], moment.name
