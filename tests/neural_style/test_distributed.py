"""Two processes train as one does: the same weights, one that writes, and a queue to tell the others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from neural_style.distributed import Place, Process, Queue, refuse_shared_device, unwrapped, wrapped
from neural_style.errors import DeviceError, LostProcessError, MeetingError, PluginError
from neural_style.train import DataModule, Model, Trainer
from neural_style.train_config import config_for
from neural_style.train_style import train_style
from tests.neural_style import distributed_child
from tests.neural_style.children import run_at_once, said_by_torchrun

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


def run_two(folder: Path, *, max_steps: int, kind: str = "plain", interface: str = "lo") -> list[dict[str, Any]]:
    """Start two processes as torchrun would, and return what each came to."""
    outs = [folder.parent / f"{folder.name}-{max_steps}-{kind}-{rank}" for rank in range(2)]
    calls = [
        (distributed_child.train_in_child, (folder, out, max_steps, kind), place)
        for out, place in zip(outs, said_by_torchrun(interface=interface), strict=True)
    ]
    assert run_at_once(calls) == [0, 0]
    return [torch.load(out, weights_only=True) for out in outs]


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, tolerance: float) -> None:
    assert list(found) == list(expected)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Seven steps without a break."""
    return run_two(tmp_path_factory.mktemp("two") / "run", max_steps=7)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_whole_batch(two: list[dict[str, Any]], tmp_path: Path) -> None:
    alone = distributed_child.train(tmp_path, max_steps=7)
    assert [result["kind"] for result in (alone, *two)] == ["Sequential"] + ["DistributedDataParallel"] * 2
    assert_same(two[1]["weights"], two[0]["weights"], tolerance=0)
    assert_same(two[0]["weights"], alone["weights"], tolerance=1e-5)


@pytest.mark.slow
def test_each_process_knows_its_place(two: list[dict[str, Any]]) -> None:
    assert [result["place"] for result in two] == [(0, 0, 2, True), (1, 1, 2, True)]


@pytest.mark.slow
def test_the_first_alone_writes(two: list[dict[str, Any]]) -> None:
    names = [f"model.step-{step:010}.ckpt" for step in (2, 4, 6, 7)]
    assert [result["written"] for result in two] == [names, []]
    assert [result["sampled"] for result in two] == [[2, 4, 6, 7], []]


@pytest.mark.slow
def test_every_process_reads_what_the_first_put(two: list[dict[str, Any]]) -> None:
    for result in two:
        first, second, is_empty = result["told"]
        assert first["accuracy"] == 0.75
        assert torch.equal(first["loss"], two[0]["told"][0]["loss"])
        assert (second, is_empty) == ("second", True)


@pytest.mark.slow
def test_two_processes_go_on_from_a_checkpoint(two: list[dict[str, Any]], tmp_path: Path) -> None:
    run_two(tmp_path / "run", max_steps=3)
    resumed = run_two(tmp_path / "run", max_steps=7)
    for result in resumed:
        assert_same(result["weights"], two[0]["weights"], tolerance=0)
    assert resumed[0]["written"][0] == "model.step-0000000004.ckpt"


@pytest.mark.slow
def test_what_is_wrong_with_a_checkpoint_every_process_hears(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.step-0000000002.ckpt").write_bytes(b"cut")
    results = run_two(tmp_path / "run", max_steps=3)
    assert [result["error"] for result in results] == ["CheckpointError"] * 2
    assert "none of the 1 checkpoints of 'model' can be read" in results[1]["text"]


@pytest.mark.slow
def test_when_one_diverges_all_fail_and_nothing_is_saved(tmp_path: Path) -> None:
    results = run_two(tmp_path / "run", max_steps=7, kind="diverges")
    assert [result["error"] for result in results] == ["DivergedError"] * 2
    assert all("not finite after step 4" in result["text"] for result in results)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model.step-0000000002.ckpt"]


@pytest.mark.slow
def test_an_interface_that_is_not_there_is_told_by_every_process(tmp_path: Path) -> None:
    results = run_two(tmp_path / "run", max_steps=1, interface="nope0")
    assert [result["error"] for result in results] == ["MeetingError"] * 2
    assert all("did not find each other" in result["text"] for result in results), results


def test_a_process_without_torchrun_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert Place.from_environment() == Place(rank=0, local_rank=0, world_size=1)
    assert Trainer(max_steps=1, device="cpu").queue is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("2", "0", "2"), "there is no process 2 of 2; let torchrun set RANK and WORLD_SIZE"),
        (("-1", "0", "2"), "there is no process -1 of 2"),
        (("x", "0", "2"), "want whole numbers: .*'x'; use torchrun"),
    ],
)
def test_an_environment_that_contradicts_itself_is_refused(
    values: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match=words):
        Trainer(max_steps=1, device="cpu")


@pytest.mark.parametrize(("device", "expected"), [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cpu", "cpu")])
def test_each_process_has_its_own_gpu(device: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ("3", "1", "4"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Trainer(max_steps=1, device=device).device == torch.device(expected)


def test_an_epoch_of_several_processes_leaves_out_what_is_no_whole_batch(
    pictures: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the learning rate falls over as many steps as there are."""

    class EndedError(Exception):
        pass

    def fit(trainer: Trainer, model: Model, datamodule: DataModule) -> None:
        schedules.append(trainer.plugins["schedule"].total_steps)
        raise EndedError

    schedules: list[int] = []
    config = config_for({"features": "random", "crop": "center", "epochs": 5, "batch_size": 3})
    monkeypatch.setattr(Trainer, "fit", fit)
    monkeypatch.setenv("RANK", "0")
    for world_size in ("1", "3"):
        monkeypatch.setenv("WORLD_SIZE", world_size)
        with pytest.raises(EndedError):
            train_style(config, style=painting, dataset=pictures, output=tmp_path / "style.pth")
    assert schedules == [10, 5]  # of four pictures


def test_only_what_says_that_a_process_is_gone_is_taken_for_that() -> None:
    process = Process("cpu")
    with pytest.raises(RuntimeError, match="^gloo/tcp/pair: alone$"), process.told_of_loss():
        raise RuntimeError("gloo/tcp/pair: alone")
    process._group = SimpleNamespace(is_broken=False)  # type: ignore[assignment]
    for fault in (RuntimeError("[x/gloo/tcp/pair.cc:1] reset\nby a peer"), dist.DistBackendError("NCCL error")):
        words = r"this training has ended \((NCCL error|\[x/gloo/tcp/pair.cc:1\] reset)\); .* start all"
        with pytest.raises(LostProcessError, match=words), process.told_of_loss():
            raise fault
    with pytest.raises(RuntimeError, match="^size mismatch$"), process.told_of_loss():
        raise RuntimeError("size mismatch")
    assert process._group.is_broken


def torchrun_says(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Be process 0 of 2 on this machine."""
    for name, value in {**said_by_torchrun()[0], **variables}.items():
        monkeypatch.setenv(name, value)


def test_processes_that_do_not_find_each_other_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun_says(monkeypatch)
    monkeypatch.delenv("MASTER_PORT")
    process = Process("cpu")
    with pytest.raises(MeetingError, match=r"did not find each other \(.*MASTER_PORT.*\); see that all of them"):
        _ = process.group
    assert process._group is None


@pytest.mark.parametrize("fault", ["[x/gloo/device.cc:1] Unable to find address for: nope", "NCCL error: twice"])
def test_what_goes_wrong_before_they_have_met_is_no_loss(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Whether at the first word or in making the group."""

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise dist.DistBackendError(fault) if "NCCL" in fault else RuntimeError(fault)

    torchrun_says(monkeypatch)
    monkeypatch.setattr(dist, "init_process_group", fail if "gloo" in fault else lambda _backend: None)
    monkeypatch.setattr(dist, "all_reduce", fail)
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", dist.HashStore)
    trainer = Trainer(max_steps=1, device="cpu")
    with pytest.raises(MeetingError, match="did not find each other .*(nope|twice).*GLOO_SOCKET_IFNAME"):
        trainer.fit(distributed_child.PlainModel(), distributed_child.SlicedData())


@pytest.mark.parametrize("rank", [0, 1])
def test_one_gpu_for_two_processes_is_refused_by_both(rank: int) -> None:
    store, names = dist.HashStore(), ["here GPU-1", "here GPU-1", "there GPU-2"]
    for other in {0, 1, 2} - {rank}:
        store.set(f"neural_style/device/{other}", names[other])
    place = Place(rank=rank, local_rank=rank, world_size=3)
    with pytest.raises(DeviceError, match="^processes 0 and 1 would both compute on cuda:0, .* start one process for"):
        refuse_shared_device(store, place, name="cuda:0", identity=names[rank])
    store.set(f"neural_style/device/{1 - rank}", "here GPU-3")
    refuse_shared_device(store, place, name="cuda:0", identity=names[rank])


@pytest.fixture
def queue() -> Queue:
    return Queue(dist.HashStore())


def test_a_queue_gives_in_order_what_was_put(queue: Queue) -> None:
    items = [{"a": 1, "b": [2.5, None, "x"]}, torch.arange(3), ("last",)]
    for item in items:
        queue.put(item)
    assert queue.get() == items[0]
    assert torch.equal(queue.get(), torch.arange(3))
    assert not queue.empty()
    assert queue.get() == ("last",)
    assert queue.empty()


def test_a_queue_takes_plain_data_only(queue: Queue) -> None:
    with pytest.raises(PluginError, match="the queue takes plain data and tensors, not 'PosixPath'"):
        queue.put(Path("x"))
    with pytest.raises(PluginError, match="not 'function'"):
        queue.put(lambda: None)
    assert queue.empty()


def test_a_queue_into_which_nothing_is_put_says_so(queue: Queue) -> None:
    with pytest.raises(TimeoutError, match="nothing was put into the trainer's queue within 0.01 s"):
        queue.get(timeout_s=timedelta(milliseconds=10).total_seconds())


def test_a_net_that_nothing_trains_is_left_as_it_is() -> None:
    net = nn.Linear(1, 1).requires_grad_(False)
    assert wrapped(net, torch.device("cpu")) is net


@pytest.mark.slow  # for what torch.compile imports
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own parts, which its compiler imports (2.11)
def test_a_compiled_net_has_the_keys_of_its_file() -> None:
    net = nn.Linear(1, 1)
    assert unwrapped(torch.compile(net)) is net
