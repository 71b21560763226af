"""The parts of running on Ray that need no Ray: what is asked of it, what workers are told, and what they say."""

from __future__ import annotations

import io
import logging
import pickle
import socket
from dataclasses import replace
from importlib.metadata import version

import pytest

from csci_utils.luigi.failure import ExitStatus
from csci_utils.s3 import client
from pipeline import settings
from pipeline.errors import PipelineError
from pipeline.many import ray_process, ray_runner, ray_worker
from pipeline.many.ray_messages import VERSION, Counted, Ended, Job, Terms, receive, send
from pipeline.many.ray_places import Place, places_on
from pipeline.many.ray_runner import RayUnavailableError, run_on_ray
from pipeline.many.ray_worker import ShardWorker
from pipeline.many.shards import Shard
from pipeline.many.tally import SharedTally
from tests.pipeline.conftest import ROOT


def shard_of(*images: str, model: str = "mosaic.pth") -> Shard:
    return Shard(s3_root=ROOT, model=model, images=images, max_side=None, quality=95, precision="float32")


def node(**resources: float) -> dict[str, object]:
    return {"Resources": {"memory": 1e9, **resources}}


def test_large_nodes_have_several_workers_and_each_node_gets_its_first_before_any_gets_two():
    nodes = {"a": node(CPU=20.0), "b": node(CPU=2.0), "head": node()}
    assert places_on(nodes, "auto") == [Place("a", 8), Place("b", 2), Place("a", 8), Place("a", 4)]


@pytest.mark.parametrize(
    ("device", "places"),
    [
        ("auto", [Place("a", 3, gpus=1), Place("a", 3, gpus=1)]),
        ("cuda", [Place("a", 3, gpus=1), Place("a", 3, gpus=1)]),
        ("cpu", [Place("a", 7), Place("b", 4)]),
    ],
)
def test_where_there_are_gpus_that_may_be_used_each_has_a_worker(device, places):
    assert places_on({"a": node(CPU=7.0, GPU=2.0), "b": node(CPU=4.0)}, device) == places


def test_messages_come_as_they_were_sent_and_one_that_is_cut_off_is_the_end():
    stream = io.BytesIO()
    send(stream, Ended("a", None))
    send(stream, Counted(pictures=1))
    stream = io.BytesIO(stream.getvalue()[:-1])
    assert [receive(stream), receive(stream)] == [Ended("a", None), None]


@pytest.mark.parametrize("address", ["localhost", "ray://h:10001", "h:port", "h:6379/x", ":6379", "h:0", ""])
def test_what_cannot_be_a_cluster_is_refused(store, address):
    with pytest.raises(PipelineError, match="--ray-address wants HOST:PORT of a cluster") as caught:
        run_on_ray([shard_of("a.png")], address=address, tally=SharedTally(max_failures=0))
    assert caught.value.exit_status == 2
    assert repr(address) in str(caught.value)


def test_a_login_in_the_address_is_not_shown(store):
    with pytest.raises(PipelineError, match="found a login in it") as caught:
        run_on_ray([shard_of("a.png")], address="me:hunter2@host:6379", tally=SharedTally(max_failures=0))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("named_by", ["option", "environment"])
def test_a_cluster_that_is_not_there_is_told_at_once(bucket, run, monkeypatch, named_by):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    address = "127.0.0.1:9" if named_by == "option" else "auto"
    status, out, err = run("many", "--images", "luigi.jpg", "-m", "mosaic", "--runner", "ray", "--ray-address", address)
    assert (status, out) == (25, [])
    assert "no Ray cluster answers at 127.0.0.1:9 (Connection refused)" in err[-1]


@pytest.mark.slow
def test_what_listens_and_is_no_cluster_is_given_up_in_time(store, monkeypatch):
    monkeypatch.setattr(ray_process, "JOINING_S", 3.0)
    monkeypatch.setattr(ray_runner, "JOINING_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RayUnavailableError, match=f"the Ray cluster at {address} did not answer within 3 s"):
            run_on_ray([shard_of("a.png")], address=address, tally=SharedTally(max_failures=0))


def test_without_ray_the_sentence_says_what_to_install(store, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PipelineError, match=r"Ray is not installed: pip install 'neural-style-pipeline\[ray\]'"):
        run_on_ray([shard_of("a.png")], address=None, tally=SharedTally(max_failures=0))


def test_one_gpu_by_its_number_is_for_ray_to_choose(store, monkeypatch):
    monkeypatch.setenv("PIPELINE_DEVICE", "cuda:1")
    with pytest.raises(PipelineError, match="say --device cuda, and in CUDA_VISIBLE_DEVICES which ones"):
        run_on_ray([shard_of("a.png")], address=None, tally=SharedTally(max_failures=0))


def test_no_credentials_go_to_the_workers(store, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hunter2@127.0.0.1:9")
    terms = ray_runner._terms("host:6379")
    assert sorted(terms.s3_environment) == ["AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_REGION"]
    assert terms.local_root is None
    assert b"hunter2" not in pickle.dumps(Job(shards=(), terms=terms, address="host:6379", folder="/tmp"))


def test_ray_that_is_started_here_obeys_nobodys_settings_and_asks_for_a_word(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    monkeypatch.setenv("RAY_NAMESPACE", "mine")
    ours, other = ray_process._environment(None), ray_process._environment("elsewhere:6379")
    assert {name for name in ours if name.startswith("RAY_")} == {
        "RAY_USAGE_STATS_ENABLED",
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    }
    assert ours["RAY_AUTH_TOKEN"] != ray_process._environment(None)["RAY_AUTH_TOKEN"]
    assert other["RAY_NAMESPACE"] == "mine"
    assert "RAY_AUTH_TOKEN" not in other


@pytest.fixture
def terms(store, tmp_path) -> Terms:
    """As a cluster's workers get them, on a node that has its own local root."""
    return replace(ray_runner._terms("host:6379"), log_level=logging.INFO)


@pytest.fixture
def worker():
    """A worker in this process, which afterwards is as it was."""
    root, made = logging.getLogger(), ShardWorker()
    levels = {name: logging.getLogger(name).level for name in ("pipeline", "csci_utils", "neural_style")}
    yield made
    ray_worker._for_good.close()
    root.removeHandler(made._lines)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_worker_says_what_it_runs(worker):
    assert worker.greet() == {VERSION: f"{version('neural-style-pipeline')}, algorithm 1"}


@pytest.mark.slow
def test_a_worker_counts_what_it_did_of_the_shard_at_hand(bucket, worker, terms):
    bucket.put_bytes("images/broken.png", b"broken")
    shard = shard_of("broken.png", "luigi.jpg")
    outcome = worker.run(shard, terms, 1)
    failure, report = outcome.failure, outcome.report
    assert (failure, report.identity, report.counted.pictures, report.counted.failures) == (None, shard.identity, 2, 1)
    assert report.counted.num_bytes > 0
    assert any("styling 2 of 2 pictures" in line.text for line in report.lines)
    assert worker.report(stop=False).lines == ()
    again = worker.run(shard, terms, 1).report
    assert (again.counted.pictures, again.counted.failures) == (0, 0)  # which the manifest told of


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_ends_the_shard_at_hand_and_begins_no_other(bucket, worker, terms, monkeypatch):
    names = [f"{number:02}.png" for number in range(20)]
    for number, name in enumerate(names):
        bucket.put_image(name, seed=number)
    add = worker._counts.add

    def add_and_stop(**counts: int) -> None:
        add(**counts)
        worker.report(stop=bool(counts.get("pictures")))

    monkeypatch.setattr(worker._counts, "add", add_and_stop)
    for most in (10, 0):
        outcome = worker.run(shard_of(*names), terms, 1)
        assert outcome.failure is not None
        assert (outcome.failure.status, outcome.is_of_node) == (ExitStatus.TASK_FAILED, False)
        assert outcome.report.counted.pictures <= most


def test_a_worker_tells_why_a_shard_failed(bucket, worker, terms):
    outcome = worker.run(shard_of("luigi.jpg", model="missing.pth"), terms, 1)
    assert outcome.failure is not None
    assert (outcome.failure.status, outcome.is_of_node) == (ExitStatus.INPUT_MISSING, False)
    assert f"{ROOT}/saved_models/missing.pth" in outcome.failure.sentence


def test_a_worker_says_when_another_node_may_do_better(bucket, worker, terms, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    limits = replace(terms.s3_limits, connect_attempts=1)
    outcome = worker.run(shard_of("luigi.jpg"), replace(terms, s3_limits=limits), 1)
    assert outcome.failure is not None
    assert (outcome.failure.status, outcome.is_of_node) == (ExitStatus.STORE, True)


def test_a_worker_tells_of_a_defect_with_its_traceback(bucket, worker, terms, monkeypatch):
    def broken(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("pipeline.many.shard_run.run_shard", broken)
    outcome = worker.run(shard_of("luigi.jpg"), terms, 1)
    assert outcome.failure is not None
    assert (outcome.failure.status, outcome.is_of_node) == (ExitStatus.DEFECT, False)
    assert outcome.failure.sentence == "ZeroDivisionError: a mistake of ours"
    assert any("Traceback" in line.text for line in outcome.report.lines)


def test_a_node_keeps_its_own_local_root_and_its_own_way_to_the_store(store, worker, terms, monkeypatch, tmp_path):
    monkeypatch.setenv("PIPELINE_LOCAL_ROOT", str(tmp_path / "of the node"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:10")
    monkeypatch.delenv("AWS_REGION")
    ray_worker.put_in_force(terms, s3_root=ROOT)
    assert settings.current().local_root == tmp_path / "of the node"
    assert settings.current().engine == "torch"
    assert client().meta.endpoint_url == "http://127.0.0.1:10"
    assert client().meta.region_name == "us-east-1"


def test_a_node_that_knows_no_store_is_told(store, worker, terms, monkeypatch):
    endpoint = client().meta.endpoint_url
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    ray_worker.put_in_force(terms, s3_root=ROOT)
    assert client().meta.endpoint_url == endpoint
