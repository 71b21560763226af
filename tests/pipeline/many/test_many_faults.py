"""What becomes of a job of many pictures while the store, the disk or a person interferes."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csci_utils.luigi.run import build
from csci_utils.s3 import forget_client
from pipeline.many import shards
from pipeline.tasks import StylizeShard
from tests.pipeline.conftest import BUCKET, Bucket, encoded_picture, model_bytes
from tests.pipeline.many.in_s3 import Job
from tests.servers.faults import Answer, CallWhenDone, Corrupt, Cut, Drop
from tests.servers.proxy import FaultProxy

pytestmark = pytest.mark.slow

IMAGES = [f"{number:02}.png" for number in range(12)]
RESULT, MANIFEST = "*/stylized/mosaic/*.png", "*/.shards/*"
COPIES = ["saved_models/.mosaic.pth.json", "saved_models/mosaic.pth"]
REFUSED, SLOW_DOWN = Answer(403, "AccessDenied"), Answer(503, "SlowDown")


@dataclass(frozen=True)
class Scene:
    """Twelve pictures in three shards, behind a proxy."""

    job: Job
    proxy: FaultProxy
    local: Bucket

    def asked(self, method: str, folder: str) -> list[str]:
        """The names below a folder of pictures that were asked for, sorted."""
        keys = [request.key for request in self.proxy.requests if request.method == method]
        names = [key.partition(f"/{folder}/")[2] for key in keys if f"/{folder}/" in key]
        return sorted(name for name in names if not name.startswith(".shards/"))

    @property
    def fetched(self) -> list[str]:
        return self.asked("GET", "images")

    @property
    def sent(self) -> list[str]:
        return self.asked("PUT", "stylized/mosaic")

    def made(self) -> list[str]:
        """Results that are there, all of which are whole."""
        return sorted(self.job.whole_results())

    def forget(self) -> None:
        """Let nothing go wrong any more, and count anew."""
        self.proxy.clear()


@pytest.fixture
def scene(store, moto_store, monkeypatch) -> Iterator[Scene]:
    monkeypatch.setattr(shards, "FEWEST", 4)
    monkeypatch.setattr(shards, "MOST", 4)
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.002)))
    job = Job(moto_store, BUCKET, "styled")
    fill(job, IMAGES)
    with FaultProxy(moto_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        forget_client()
        yield Scene(job, proxy, store)
        forget_client()


def fill(job: Job, images: list[str]) -> None:
    for seed, image in enumerate(images):
        job.put(f"images/{image}", encoded_picture(image, seed=seed))
    job.put("saved_models/mosaic.pth", model_bytes())


def many(run, *args: str) -> tuple[int, list[str], list[str]]:
    status, out, err = run("many", "--images", "**", "-m", "mosaic", *args)
    assert "Traceback" not in "\n".join(err), "\n".join(err)
    return status, out, [line.partition("error: ")[2] for line in err if "error: " in line]


def check_the_rest_is_made(scene: Scene, run, *, made: list[str]) -> None:
    """The next run makes what is lacking and nothing else, and then all is there."""
    scene.forget()
    status, out, errors = many(run)
    assert (status, len(out), errors) == (0, len(IMAGES), [])
    assert scene.sent == sorted(set(IMAGES) - set(made))
    scene.job.check_complete(IMAGES, num_shards=3)
    assert scene.local.files() == COPIES


def test_a_picture_that_may_not_be_read_is_a_line_and_its_neighbours_go_on(scene, run):
    scene.proxy.add(REFUSED, method="GET", key="*/images/05.png", times=None)
    status, out, errors = many(run)
    assert (status, len(out), len(errors)) == (30, 11, 1)
    assert f"{scene.job.root}/images/05.png: wanted to read it" in errors[0]
    line = scene.job.lines()["05.png"]
    assert line["error"] == {"kind": "passing", "sentence": errors[0]}
    check_the_rest_is_made(scene, run, made=[image for image in IMAGES if image != "05.png"])


def test_pictures_that_are_archived_are_lines_and_stop_no_shard(scene, run):
    """Three shards with one of them each, as many as end a run where shards fail."""
    for number in ("01", "05", "11"):
        scene.proxy.add(Answer(403, "InvalidObjectState"), method="GET", key=f"*/images/{number}.png", times=None)
    status, out, errors = many(run)
    assert (status, len(out), len(errors)) == (30, 9, 3)
    assert all("the object is archived (403 InvalidObjectState); restore it first" in error for error in errors)
    check_the_rest_is_made(scene, run, made=[image for image in IMAGES if image[:2] not in ("01", "05", "11")])


def test_keys_that_are_refused_half_way_end_the_run_with_one_sentence(scene, run):
    """No picture is told as failed for what is none of its faults."""
    scene.proxy.add(Answer(400, "ExpiredToken"), method="GET", key="*/images/*", skip=3, times=None)
    status, _, errors = many(run)
    assert status == 35
    assert any("the session has expired, sign in again" in error for error in errors)
    assert not [line for line in scene.job.lines().values() if "error" in line]
    check_the_rest_is_made(scene, run, made=scene.made())


def test_the_luigi_task_tries_again_what_failed_in_passing(scene):
    scene.proxy.add(REFUSED, method="GET", key="*/images/05.png", times=None)
    shard = StylizeShard(model="mosaic", images=IMAGES[4:8])
    assert build([shard]).exit_status == 0  # a failure is a line
    assert sorted(scene.job.whole_results()) == ["04.png", "06.png", "07.png"]
    scene.forget()
    assert build([shard]).exit_status == 0
    assert scene.sent == ["05.png"]


def test_a_store_that_is_busy_again_and_again_is_waited_for(scene, run):
    for method, key in (("GET", "*/images/*"), ("PUT", RESULT), ("PUT", MANIFEST), ("HEAD", "*"), ("GET", BUCKET)):
        scene.proxy.add(SLOW_DOWN, method=method, key=key, times=3)
        scene.proxy.add(SLOW_DOWN, method=method, key=key, skip=8, times=2)
    status, out, errors = many(run)
    assert (status, len(out), errors) == (0, 12, [])
    scene.job.check_complete(IMAGES, num_shards=3)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [(SLOW_DOWN, "503"), (Answer(500, "InternalError"), "500"), (Drop(broken=True), "connection")],
    ids=["busy", "broken", "gone"],
)
def test_a_store_that_goes_half_way_is_a_sentence_and_the_next_run_goes_on(scene, run, fault, sentence):
    def go() -> None:
        scene.proxy.add(fault, times=None)

    scene.proxy.add(CallWhenDone(go), method="PUT", key=RESULT, skip=5)
    status, _, errors = many(run)
    assert (status, len(errors)) == (35, 1), errors
    assert sentence in errors[0]
    scene.job.check_lines(scene.job.whole_results())
    made = scene.made()
    assert 6 <= len(made) < 12
    check_the_rest_is_made(scene, run, made=made)


@pytest.mark.parametrize("fault", [Corrupt(100), Cut(100), Cut(100, broken=True)], ids=["damaged", "cut", "broken-off"])
def test_a_picture_that_comes_damaged_is_fetched_again(scene, run, fault):
    scene.proxy.add(fault, method="GET", key="*/images/05.png", times=2)
    status, out, errors = many(run)
    assert (status, len(out), errors) == (0, 12, [])
    assert scene.fetched.count("05.png") == 3
    scene.job.check_complete(IMAGES, num_shards=3)


def test_a_picture_that_comes_damaged_each_time_is_a_line(scene, run):
    scene.proxy.add(Corrupt(100), method="GET", key="*/images/05.png", times=None)
    status, out, errors = many(run)
    assert (status, len(out), len(errors)) == (30, 11, 1)
    assert scene.job.lines()["05.png"]["error"]["kind"] == "passing"
    check_the_rest_is_made(scene, run, made=[image for image in IMAGES if image != "05.png"])


def test_a_result_that_arrives_damaged_is_sent_again(scene, run):
    scene.proxy.add(Corrupt(100, "request"), method="PUT", key="*/05.png", times=2)
    status, out, errors = many(run)
    assert (status, len(out), errors) == (0, 12, [])
    scene.job.check_complete(IMAGES, num_shards=3)


@pytest.mark.parametrize(("key", "lacking"), [("*/05.png", 1), (RESULT, 12)], ids=["one", "all"])
def test_a_result_that_may_not_be_put_is_a_sentence(scene, run, key, lacking):
    scene.proxy.add(REFUSED, method="PUT", key=key, times=None)
    status, _, errors = many(run)
    assert (status, len(errors)) == (35, 1), errors
    assert "wanted to write it" in errors[0]
    made = scene.made()
    assert "05.png" not in made
    assert len(made) <= 12 - lacking
    check_the_rest_is_made(scene, run, made=made)


def test_no_shard_is_begun_after_three_that_failed_by_the_store(scene, run, monkeypatch):
    monkeypatch.setattr(shards, "FEWEST", 2)
    monkeypatch.setattr(shards, "MOST", 2)
    scene.proxy.add(REFUSED, method="PUT", key=RESULT, times=None)
    status, out, errors = many(run)
    assert (status, out, len(errors)) == (35, [], 2)
    assert errors[0].endswith("(so, or alike, in 3 shards)")
    assert errors[1] == (
        "not begun, because others failed by the store or the disk; mend that, and run it again (so, or alike, in 3 "
        "shards)"
    )
    assert scene.fetched == IMAGES[:6]


def test_a_manifest_that_may_not_be_put_costs_no_result(scene, run):
    scene.proxy.add(REFUSED, method="PUT", key=MANIFEST, times=None)
    status, _, errors = many(run)
    assert status == 35
    assert len(errors) == 1, errors
    assert "wanted to write it" in errors[0]
    assert scene.job.lines() == {}
    check_the_rest_is_made(scene, run, made=scene.made())


def test_a_bucket_that_may_not_be_listed_is_asked_for_each_or_told(scene, run):
    scene.proxy.add(REFUSED, method="GET", key=BUCKET, times=None)
    status, out, errors = many(run)
    assert (status, out, len(errors)) == (35, [], 1)
    names = [argument for image in IMAGES for argument in ("--images", image)]
    status, out, err = run("many", *names, "-m", "mosaic")
    assert (status, len(out)) == (0, 12), err


@pytest.mark.parametrize("suffixes", [(".png",), ("", ".png")], ids=["results", "all"])
def test_a_full_disk_is_a_sentence_and_nothing_is_half_made(scene, run, monkeypatch, suffixes):
    with monkeypatch.context() as patch:
        fill_disk_of_scratch(patch, suffixes, good_writes=6)
        status, _, errors = many(run)
    assert (status, len(errors)) == (30, 1), errors
    assert "data: no space is left on the disk; free some and run again" in errors[0]
    assert "~scratch" not in errors[0]
    assert scene.local.files() == COPIES
    made = scene.made()
    assert len(made) < 12
    check_the_rest_is_made(scene, run, made=made)


def fill_disk_of_scratch(monkeypatch, suffixes: tuple[str, ...], *, good_writes: int) -> None:
    """Let the disk be full when files of these are opened for writing in a scratch folder, after so many of them."""
    opened, seen = Path.open, []

    def full(self: Path, mode: str = "r", *args, **options):
        if "w" in mode and "~scratch" in str(self.parent) and self.suffix in suffixes:
            seen.append(self)
            if len(seen) > good_writes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)


def test_as_many_pictures_may_be_broken_as_were_allowed(scene, run, monkeypatch):
    """A hundred and fifty pictures of which each tenth is broken."""
    monkeypatch.setattr(shards, "FEWEST", 64)
    monkeypatch.setattr(shards, "MOST", 128)
    for image in IMAGES:
        scene.job.store.plain.delete_object(Bucket=BUCKET, Key=f"styled/images/{image}")
    images = [f"s{number:03}.png" for number in range(150)]
    fill(scene.job, images)
    for image in images[::10]:
        scene.job.put(f"images/{image}", b"none")
    status, out, errors = many(run, "--max-failures", "10")
    assert status == 30
    assert "more pictures failed than may" in errors[0]
    assert len(scene.fetched) < 150
    assert 64 < len(out) < 135
    early = scene.sent
    scene.forget()
    status, out, errors = many(run, "--max-failures", "15")
    assert (status, len(out), len(errors)) == (30, 135, 11)  # ten of them, and how many more
    assert "and 5 more pictures failed; their reasons are in the manifests in S3" in errors
    assert sorted(early + scene.sent) == [image for number, image in enumerate(images) if number % 10]
    lines = scene.job.lines()
    assert {image for image, line in lines.items() if line.get("error", {}).get("kind") == "picture"} == set(
        images[::10]
    )
    scene.job.check_lines(scene.job.whole_results())
    scene.forget()
    assert many(run)[0] == 30
    assert scene.fetched == scene.sent == []


def test_no_shard_is_begun_when_too_many_pictures_have_failed(scene, run):
    for image in IMAGES[:3]:
        scene.job.put(f"images/{image}", b"none")
    status, _, errors = many(run, "--max-failures", "2")
    assert status == 30
    assert "more pictures failed than may" in errors[0]
    assert scene.fetched == IMAGES[:4]


def test_a_picture_that_is_replaced_before_its_turn_is_styled_as_it_is_then(scene, run):
    new = encoded_picture("new.png", seed=100)
    scene.proxy.add(CallWhenDone(lambda: scene.job.put("images/11.png", new)), method="PUT", key=RESULT)
    status, out, errors = many(run)
    assert (status, len(out), errors) == (0, 12, [])
    scene.job.check_complete(IMAGES, num_shards=3)  # each line has the digest of what is there now


def test_a_picture_that_is_replaced_after_its_turn_is_styled_again_by_the_next_run(scene, run):
    new = encoded_picture("new.png", seed=100)
    scene.proxy.add(CallWhenDone(lambda: scene.job.put("images/05.png", new)), method="PUT", key="*/05.png")
    status, out, errors = many(run)
    assert (status, len(out), len(errors)) == (30, 11, 1)
    assert "its inputs changed meanwhile; run it again" in errors[0]
    check_the_rest_is_made(scene, run, made=[image for image in IMAGES if image != "05.png"])


def test_a_picture_that_is_removed_meanwhile_is_a_line(scene, run):
    remove = scene.job.store.plain.delete_object
    gone = {"Bucket": BUCKET, "Key": "styled/images/11.png"}
    scene.proxy.add(CallWhenDone(lambda: remove(**gone)), method="PUT", key=RESULT)
    status, out, errors = many(run)
    assert (status, len(out), len(errors)) == (30, 11, 1)
    assert "images/11.png" in errors[0]


def test_a_model_that_is_replaced_meanwhile_leaves_no_result_of_the_old_one_to_the_next_run(scene, run):
    new = model_bytes(2)
    scene.proxy.add(CallWhenDone(lambda: scene.job.put("saved_models/mosaic.pth", new)), method="PUT", key=RESULT)
    status, _, errors = many(run)
    assert status == 30
    assert "its inputs changed meanwhile; run it again" in errors[0]
    lines = scene.job.lines()
    assert len({line["made_from"]["model"]["sha256"] for line in lines.values()}) == 2
    scene.forget()
    status, out, errors = many(run)
    assert (status, len(out), errors) == (0, 12, [])
    assert scene.sent == IMAGES[:4]
    scene.job.check_complete(IMAGES, num_shards=3)
