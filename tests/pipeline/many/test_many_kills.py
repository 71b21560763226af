"""A run of many pictures that is killed at any moment: no half result is ever visible, and the next run goes on."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.many.shards import cut
from tests.pipeline.conftest import encoded_picture
from tests.pipeline.many.in_s3 import Job
from tests.pipeline.test_kill import ENDING_S, Moment, has_scratch, kill_at, scratch_below, somebody_is_left
from tests.servers.exchange import Action, Exchange, HangUp
from tests.servers.faults import AtByte, Call, CallFirst, CallWhenDone
from tests.servers.proxy import FaultProxy

# Twenty moments of five hundred pictures take about seven minutes on two cores.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(3600)]

RESULT, MANIFEST = "*/stylized/mosaic/*.png", "*/.shards/*"
COPIES = ["saved_models/.mosaic.onnx.json", "saved_models/mosaic.onnx"]
LISTINGS_OF_PLAN_AND_SHARD = 6
"""So many come before the second shard's pictures are looked at: two of the plan, four of the first shard."""

Kill = Callable[[], None]


@dataclass(frozen=True)
class ManyMoment(Moment):
    """When to kill; the run that is killed may be one that follows another one, killed at an earlier moment."""

    after: Moment | None = None
    workers: int = 1


@dataclass(frozen=True)
class CallAndCut(AtByte):
    """Somebody is told, and no more of the body goes on: what a client that is killed has not sent yet."""

    function: Kill = lambda: None

    def happen(self, rest: bytes, exchange: Exchange) -> bytes:
        """Tell, and hang up."""
        self.function()
        raise HangUp(broken=True)


@dataclass(frozen=True)
class Scene:
    """A job behind a proxy, and how an unbroken run of it went.

    Attributes:
        images: the pictures' names.
        results: the digests of what an unbroken run makes of them.
        seconds: that it takes.
    """

    job: Job
    proxy: FaultProxy
    images: tuple[str, ...]
    results: dict[str, str]
    seconds: float

    @property
    def num_shards(self) -> int:
        return len(list(cut(self.images)))


def command(job: Job, local: Path, *, workers: int = 1) -> list[str]:
    args = ["--images", "**", "-m", job.model, "--workers", str(workers)]
    return [sys.executable, "-m", "pipeline", "many", *args, "--s3-root", job.root, "--local-root", str(local)]


@pytest.fixture
def scene(moto_store, onnx_model, tmp_path, monkeypatch, request) -> Iterator[Scene]:
    """Pictures of several shards: 500, or 100."""
    images = tuple(f"s{number:03}.png" for number in range(500 if request.config.getoption("--soak") else 100))
    job = Job(moto_store, moto_store.new_bucket(), "many", model="mosaic.onnx")
    for seed, image in enumerate(images):
        job.put(f"images/{image}", encoded_picture(image, seed=seed))
    job.put("saved_models/mosaic.onnx", onnx_model)
    with FaultProxy(moto_store.url) as proxy:
        for name, value in moto_store.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PIPELINE_DEVICE", "cpu")
        monkeypatch.setenv("PIPELINE_ENGINE", "onnxruntime")
        monkeypatch.chdir(tmp_path)
        begun_s = time.monotonic()
        subprocess.run(command(job, tmp_path / "unbroken"), check=True, capture_output=True, timeout=300)
        seconds = time.monotonic() - begun_s
        results = job.check_complete(images)
        assert len(set(results.values())) == len(images)  # else one might stand in another's place
        job.remove_results()
        yield Scene(job, proxy, images, results, seconds)


def when(action: Callable[[Kill], Action], **where: object) -> Callable[[FaultProxy, Kill], object]:
    """Kill by what the proxy meets."""
    return lambda proxy, kill: proxy.add(action(kill), **where)  # type: ignore[arg-type]


def seen_moments(num_images: int, num_shards: int) -> list[ManyMoment]:
    def nth_result(action: Callable[[Kill], Action], share: float) -> Callable[[FaultProxy, Kill], object]:
        return when(action, method="PUT", key=RESULT, skip=int(share * num_images))

    def half_sent(kill: Kill) -> Action:
        return CallAndCut(150, "request", kill)

    some_made = Moment("two results in five sent", passing=nth_result(CallWhenDone, 0.4))
    return [
        ManyMoment("half of a result sent", passing=nth_result(half_sent, 0.6)),
        ManyMoment(
            "results of a killed run looked at",
            after=some_made,
            passing=when(CallFirst, method="HEAD", key=RESULT, skip=5),
        ),
        ManyMoment("a scratch folder", has_scratch(".")),
        ManyMoment(
            "half of the model",
            passing=when(lambda kill: Call(3000, function=kill), method="GET", key="*/saved_models/*"),
        ),
        ManyMoment(
            "a listing of the second shard",
            passing=when(CallFirst, method="GET", query="list-type", skip=LISTINGS_OF_PLAN_AND_SHARD),
        ),
        ManyMoment("a result about to be stored", passing=nth_result(CallFirst, 0.3)),
        ManyMoment("a result stored, and not answered", passing=nth_result(CallWhenDone, 0.1)),
        ManyMoment(
            "half of a picture",
            passing=when(
                lambda kill: Call(1000, function=kill), method="GET", key="*/images/*", skip=int(0.7 * num_images)
            ),
        ),
        ManyMoment("half of a manifest sent", passing=when(half_sent, method="PUT", key=MANIFEST)),
        ManyMoment(
            "the last manifest stored, and not answered",
            passing=when(CallWhenDone, method="PUT", key=MANIFEST, skip=num_shards - 1),
        ),
    ]


def moments(scene: Scene, *, full: bool) -> Iterator[ManyMoment]:
    """Three of them, or twenty: half by what is seen, half at random over the time that a run takes."""
    yield from itertools.islice(seen_moments(len(scene.images), scene.num_shards), 10 if full else 2)
    clock = random.Random(7)
    for number in range(10 if full else 1):
        after_s = clock.uniform(0.1, 1.0) * scene.seconds
        yield ManyMoment(f"after {after_s:.1f} s", after_s=after_s, workers=1 + (number % 3 == 2))


def kill(scene: Scene, moment: Moment, local: Path, *, workers: int) -> None:
    """Kill a run at a moment, and wait until all that it asked for is done or never will be."""
    line = command(scene.job, local, workers=workers)
    status, err = kill_at(scene, moment, line, local, signal.SIGKILL)  # type: ignore[arg-type]  # has a proxy, too
    assert status == -signal.SIGKILL or (status, moment.after_s is not None) == (0, True), (moment.name, status, err)
    deadline = time.monotonic() + ENDING_S
    while somebody_is_left(local):
        assert time.monotonic() < deadline, f"an orphan goes on: {moment.name}"
        time.sleep(0.05)
    scene.proxy.wait_for_conversations()


def asked_for(proxy: FaultProxy, method: str, folder: str) -> list[str]:
    """The names below a folder that were asked for, in order."""
    keys = [request.key for request in proxy.requests if request.method == method]
    return sorted(key.partition(f"/{folder}/")[2] for key in keys if f"/{folder}/" in key)


def test_a_killed_run_leaves_nothing_half_made_and_the_next_one_makes_the_rest(scene, tmp_path, request):
    assert scene.num_shards > 1
    for number, moment in enumerate(moments(scene, full=request.config.getoption("--soak"))):
        local = tmp_path / str(number)
        if moment.after is not None:
            kill(scene, moment.after, local, workers=1)
        kill(scene, moment, local, workers=moment.workers)
        made = scene.job.whole_results()
        assert made.items() <= scene.results.items(), moment.name
        scene.job.check_lines(made)
        if moment.after_s is None:
            assert made or "model" in moment.name or "folder" in moment.name, f"killed too early: {moment.name}"
        lacking = sorted(set(scene.images) - set(made))
        scene.proxy.clear()
        again = subprocess.run(command(scene.job, local), capture_output=True, text=True, check=False, timeout=300)
        assert again.returncode == 0, (moment.name, again.stderr)
        assert again.stdout.splitlines() == [f"{scene.job.root}/stylized/mosaic/{image}" for image in scene.images]
        assert asked_for(scene.proxy, "GET", "images") == lacking, moment.name
        stored = [name for name in asked_for(scene.proxy, "PUT", "stylized/mosaic") if ".shards/" not in name]
        assert stored == lacking, moment.name
        assert scene.job.check_complete(scene.images, num_shards=scene.num_shards) == scene.results, moment.name
        assert sorted(str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()) == COPIES
        assert scratch_below(local) == [], moment.name
        scene.job.remove_results()
