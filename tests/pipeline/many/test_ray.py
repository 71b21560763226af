"""Shards on Ray: the results of the local runner, whatever dies on the way, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from csci_utils.io import is_scratch
from csci_utils.luigi.failure import ExitStatus, Failure
from csci_utils.s3 import S3Uri
from pipeline.many.manifest import Manifest, read_manifest
from pipeline.many.ray_runner import RayUnavailableError, run_on_ray
from pipeline.many.shard_run import run_shard
from pipeline.many.shards import Shard
from pipeline.many.tally import SharedTally
from tests.pipeline.conftest import BUCKET, ROOT, encoded_picture
from tests.pipeline.many import processes
from tests.pipeline.many.ray_cluster import ray_cluster
from tests.processes import wait_until_gone
from tests.servers.faults import CallFirst, CallWhenDone
from tests.servers.proxy import FaultProxy
from tests.servers.stores import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ELSEWHERE = "s3://pictures/elsewhere"
NUM_SHARDS = 4
PATIENCE_S = 20


@dataclass(frozen=True)
class Lake:
    """A bucket with so many pictures in it that they are worth several workers."""

    plain: Store
    shards: tuple[Shard, ...]

    def under(self, root: str) -> tuple[Shard, ...]:
        return tuple(replace(shard, s3_root=root) for shard in self.shards)

    def results(self, root: str) -> dict[str, bytes]:
        """What lies there, by its name below ``stylized/``, manifests left out."""
        prefix = f"{S3Uri.parse(root).key}/stylized/"
        keys = [key for key in self.plain.keys(BUCKET) if key.startswith(prefix) and "/.shards/" not in key]
        return {key.removeprefix(prefix): self.plain.read(BUCKET, key) or b"" for key in keys}


@pytest.fixture
def lake(store, moto_store, onnx_model, monkeypatch) -> Lake:
    return fill(moto_store, onnx_model, monkeypatch, num_pictures=60)


def fill(plain: Store, model: bytes, monkeypatch: pytest.MonkeyPatch, *, num_pictures: int) -> Lake:
    monkeypatch.setenv("PIPELINE_ENGINE", "onnxruntime")
    bodies = [encoded_picture("x.png", seed=seed, size=(64, 48)) for seed in range(7)]
    names = [f"sea/{number:04}.png" for number in range(num_pictures)]
    for root in (ROOT, ELSEWHERE):
        prefix = S3Uri.parse(root).key
        plain.plain.put_object(Bucket=BUCKET, Key=f"{prefix}/saved_models/mosaic.onnx", Body=model)
        for number, name in enumerate(names):
            plain.plain.put_object(Bucket=BUCKET, Key=f"{prefix}/images/{name}", Body=bodies[number % 7])
    return Lake(plain, tuple(shard_of(names[number::NUM_SHARDS]) for number in range(NUM_SHARDS)))


def shard_of(images: Sequence[str], *, model: str = "mosaic.onnx") -> Shard:
    images = tuple(sorted(images))
    return Shard(s3_root=ROOT, model=model, images=images, max_side=None, quality=95, precision="float32")


def run_here(shards: Sequence[Shard]) -> None:
    for shard in shards:
        run_shard(shard, tally=SharedTally(max_failures=0))


def manifest_of(shard: Shard) -> Manifest:
    manifest = read_manifest(shard.manifest_uri)
    assert manifest is not None
    return manifest


def facts(manifest: Manifest) -> dict[str, object]:
    """What a manifest says of each result, but for when and where it was made."""
    return {
        image: (line["result"], line["parameters"], [source["sha256"] for source in line["made_from"].values()])
        for image, line in manifest.lines.items()
    }


def wanted(lake: Lake) -> list[str]:
    return sorted(shard.result_name(image) for shard in lake.shards for image in shard.images)


@pytest.fixture(autouse=True)
def folder_of_folders(monkeypatch) -> Iterator[Path]:
    """Where Ray's folders are made, by no other test than this one; its path is short enough for them."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


@pytest.fixture
def proxy(lake, moto_store, monkeypatch) -> Iterator[FaultProxy]:
    """On the workers' way to the store."""
    with FaultProxy(moto_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.mark.soak
def test_results_are_those_of_the_local_runner_though_a_worker_is_killed_half_way(
    request, moto_store, onnx_model, lake, proxy, monkeypatch, folder_of_folders
):
    if request.config.getoption("--soak"):
        lake = fill(moto_store, onnx_model, monkeypatch, num_pictures=500)
    tally, at_kill = SharedTally(max_failures=0), {}
    num_pictures = len(wanted(lake))

    def kill() -> None:
        processes.kill_worker_of(os.getpid())
        at_kill.update(lake.results(ROOT))

    proxy.add(CallWhenDone(kill), method="PUT", key="*/stylized/mosaic/sea/*.png", skip=num_pictures // 2)
    outcome = run_on_ray(lake.shards, address=None, tally=tally)
    assert outcome == {shard.identity: None for shard in lake.shards}
    assert processes.drivers_of(os.getpid()) == []
    assert list(folder_of_folders.glob("ray-*")) == []
    # Each picture counts once, and what was in S3 when the worker died is there as it was, and was not sent again.
    assert (tally.pictures, tally.failures) == (num_pictures, 0)
    assert num_pictures // 2 < len(at_kill) < num_pictures
    sent = Counter(request.key.rpartition("/stylized/")[2] for request in proxy.requests if request.method == "PUT")
    assert {name: sent[name] for name in at_kill} == dict.fromkeys(at_kill, 1)
    run_here(lake.under(ELSEWHERE))
    assert sorted(lake.results(ROOT)) == wanted(lake)
    assert lake.results(ROOT) == lake.results(ELSEWHERE)
    for shard, other in zip(lake.shards, lake.under(ELSEWHERE), strict=True):
        assert facts(manifest_of(shard)) == facts(manifest_of(other))


def test_a_shard_that_ends_every_worker_is_given_up_and_no_other(lake, proxy, moto_store):
    bad = shard_of(["sea/0000.png"], model="bad.onnx")
    key = f"{S3Uri.parse(ROOT).key}/saved_models/bad.onnx"
    moto_store.plain.put_object(Bucket=BUCKET, Key=key, Body=b"never read")
    fault = proxy.add(CallFirst(lambda: processes.kill_worker_of(os.getpid())), method="GET", key="*/bad.onnx", times=9)
    outcome = run_on_ray([bad, *lake.shards], address=None, tally=SharedTally(max_failures=0))
    failure = outcome.pop(bad.identity)
    assert fault.hits == 3
    assert failure is not None
    assert failure.status is ExitStatus.TASK_FAILED
    assert failure.sentence.startswith("the shard from 'sea/0000.png' on with bad.onnx: 3 workers were lost")
    assert set(outcome.values()) == {None}
    assert sorted(lake.results(ROOT)) == wanted(lake)


def test_where_no_cluster_runs_auto_says_so(lake, monkeypatch, tmp_path):
    """It lies here, as in the whole of this machine none may run: it would be found."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(RayUnavailableError, match="Ray on this machine cannot be used: none runs; begin one"):
        run_on_ray(lake.shards, address="auto", tally=SharedTally(max_failures=0))


def test_more_failures_than_may_end_the_run(lake, proxy, moto_store, run):
    for number in range(5):
        key = f"{S3Uri.parse(ROOT).key}/images/sea/{number:04}.png"
        moto_store.plain.put_object(Bucket=BUCKET, Key=key, Body=b"broken")
    proxy.add(CallFirst(lambda: time.sleep(2)), method="PUT", key="*/stylized/mosaic/sea/*", times=4)
    status, out, err = run("many", "--images", "sea/", "-m", "mosaic.onnx", "--runner", "ray", "--max-failures", "2")
    assert status == 30
    assert any("more pictures failed than may" in line for line in err), err
    assert 0 < len(lake.results(ROOT)) < len(wanted(lake)) - 5
    assert 0 < len(out) <= len(lake.results(ROOT))
    assert set(out) <= {f"{ROOT}/stylized/{name}" for name in lake.results(ROOT)}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL], ids=lambda signum: signum.name)
def test_whatever_ends_the_command_ends_all_of_it(lake, proxy, run, signum, tmp_path, folder_of_folders):
    begun, ended = threading.Event(), threading.Event()
    proxy.add(CallWhenDone(begun.set), method="PUT", key="*/stylized/mosaic/sea/*", skip=20)
    proxy.add(CallFirst(lambda: ended.wait(PATIENCE_S)), method="PUT", key="*/sea/*.png", skip=21, times=None)
    job = ("many", "--images", "sea/", "-m", "mosaic.onnx")
    command = [sys.executable, "-m", "pipeline", *job, "--runner", "ray"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert begun.wait(60)
        started = [pid for driver in processes.drivers_of(process.pid) for pid in processes.in_session(driver)]
        assert len(started) > 5
        assert processes.listening(started) == {"127.0.0.1"}
        os.killpg(process.pid, signum)  # as a terminal does it
        threading.Timer(1.0, ended.set).start()  # what is at hand when it is told to end may be sent
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[signum]
    assert out == ""
    assert "Traceback" not in err
    wait_until_gone(*started, within_s=30.0)
    assert list(folder_of_folders.glob("ray-*")) == []
    assert [path for path in tmp_path.rglob("*") if is_scratch(path)] == []
    assert 0 < len(lake.results(ROOT)) < len(wanted(lake))
    proxy.clear()
    assert run(*job)[0] == 0
    assert sorted(lake.results(ROOT)) == wanted(lake)


def test_when_the_process_that_speaks_with_ray_dies_nothing_goes_on_and_that_is_said(lake, proxy, run):
    started: list[int] = []

    def kill() -> None:
        (driver,) = processes.drivers_of(os.getpid())
        started.extend(processes.in_session(driver))
        os.kill(driver, signal.SIGKILL)

    proxy.add(CallWhenDone(kill), method="PUT", key="*/stylized/mosaic/sea/*", skip=20)
    status, _, err = run("many", "--images", "sea/", "-m", "mosaic.onnx", "--runner", "ray")
    assert len(started) > 5
    wait_until_gone(*started, within_s=1.0)
    assert status == 25
    assert "Ray on this machine is gone; what is in S3 stays, run it again to go on" in err[-2]
    assert 0 < len(lake.results(ROOT)) < len(wanted(lake))


def test_nodes_share_the_work_and_those_that_cannot_do_it_say_so(lake, tmp_path, caplog):
    """Each node has its own local root; one runs another version, and one has none."""
    metadata = tmp_path / "other" / "neural_style_pipeline-9.9.dist-info" / "METADATA"
    write(metadata, "Name: neural-style-pipeline\nVersion: 9.9\n")
    write(tmp_path / "none" / "pipeline" / "__init__.py", "raise ModuleNotFoundError(\"No module named 'pipeline'\")\n")
    fit = [{"num_cpus": 1, "env": {"PIPELINE_LOCAL_ROOT": str(tmp_path / name)}} for name in ("one", "two")]
    unfit = [{"num_cpus": 1, "env": {"PYTHONPATH": str(tmp_path / name)}} for name in ("other", "none")]
    with ray_cluster({"num_cpus": 0}, *fit, *unfit) as cluster:
        outcome = run_on_ray(lake.shards, address=cluster.address, tally=SharedTally(max_failures=0))
        assert outcome == {shard.identity: None for shard in lake.shards}
        for name in ("one", "two"):
            assert (tmp_path / name / "saved_models" / "mosaic.onnx").exists()
        assert "runs neural-style-pipeline 9.9, algorithm" in caplog.text
        assert "No module named 'pipeline'" in caplog.text
        for raylet in cluster.raylets[1:3]:
            os.kill(raylet, signal.SIGTERM)
        wait_until_gone(*cluster.raylets[1:3], within_s=30.0)
        outcome = run_on_ray(lake.shards, address=cluster.address, tally=SharedTally(max_failures=0))
    assert {failure.status for failure in outcome.values() if failure} == {ExitStatus.NOT_RUN}
    assert {"install" in failure.sentence for failure in outcome.values() if failure} == {True}
    run_here(lake.under(ELSEWHERE))
    assert lake.results(ROOT) == lake.results(ELSEWHERE)


def test_a_cluster_that_dies_half_way_leaves_what_is_in_s3_and_the_next_run_goes_on(lake, proxy, monkeypatch):
    ended = threading.Event()
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")  # a minute, by itself
    with ray_cluster({"num_cpus": 1}) as cluster:
        proxy.add(CallWhenDone(lambda: os.kill(cluster.gcs, signal.SIGKILL)), method="PUT", key="*.png", skip=20)
        proxy.add(CallFirst(lambda: ended.wait(PATIENCE_S)), method="PUT", key="*.png", skip=21, times=None)
        outcome = run_on_ray(lake.shards, address=cluster.address, tally=SharedTally(max_failures=0))
        ended.set()
    gone = f"the Ray cluster at {cluster.address} is gone; what is in S3 stays, run it again to go on"
    assert set(outcome.values()) == {None, Failure(ExitStatus.NOT_RUN, gone)}
    left = lake.results(ROOT)
    proxy.clear()
    run_here(lake.shards)
    assert sorted(lake.results(ROOT)) == wanted(lake)
    sent = {request.key.rpartition("/stylized/")[2] for request in proxy.requests if request.method == "PUT"}
    assert sent & left.keys() == set()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
