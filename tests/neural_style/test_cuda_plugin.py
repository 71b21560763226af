"""Tensors of a batch are moved, whatever else is in it stays as it is."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest
import torch

from neural_style.errors import DeviceError
from neural_style.plugins import CUDAPlugin, create_plugin
from neural_style.train import Model, Trainer
from tests.neural_style.training import ListData, TinyModel, trainer_with

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not there")
META = torch.device("meta")


class Pair(NamedTuple):
    picture: Any
    label: Any


class Row(tuple):  # type: ignore[type-arg]
    pass


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> CUDAPlugin:
    """The plug-in with torch's device without memory in the place of a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(CUDAPlugin, "device", META)
    return CUDAPlugin()


def devices(batch: Any) -> Any:
    """The batch with each tensor replaced by its device."""
    if isinstance(batch, torch.Tensor):
        return batch.device.type
    if isinstance(batch, dict):
        return {key: devices(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [devices(value) for value in batch]
    return batch


@pytest.mark.parametrize("phase", ["training", "validation", "testing"])
@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (torch.zeros(2), "meta"),
        ([torch.zeros(2), torch.zeros(1)], ["meta", "meta"]),
        ((torch.zeros(2), torch.zeros(1)), ["meta", "meta"]),
        (Pair(torch.zeros(2), 3), ["meta", 3]),
        (Row([torch.zeros(2), "x"]), ["meta", "x"]),
        ({"a": torch.zeros(2), "b": "text", "c": None}, {"a": "meta", "b": "text", "c": None}),
        (OrderedDict(a=torch.zeros(2)), {"a": "meta"}),
        (defaultdict(list, a=torch.zeros(2)), {"a": "meta"}),
        ([torch.zeros(2), 1, "x", [torch.zeros(1)]], ["meta", 1, "x", ["cpu"]]),
        ({"a": {"b": torch.zeros(1)}, "c": (torch.zeros(1),)}, {"a": {"b": "cpu"}, "c": ["cpu"]}),
        ([], []),
        ("text", "text"),
        (5, 5),
    ],
    ids=[
        *("tensor", "list", "tuple", "namedtuple", "own-tuple", "dict", "ordered", "defaultdict", "mixed", "nested"),
        *("empty", "text", "number"),
    ],
)
def test_the_tensors_of_a_batch_are_moved(plugin: CUDAPlugin, phase: str, batch: Any, expected: Any) -> None:
    before = devices(batch)
    moved = getattr(plugin, f"process_{phase}_batch")(batch)
    assert devices(moved) == expected
    assert type(moved) is type(batch)
    assert devices(batch) == before


def test_it_alone_changes_the_batches(plugin: CUDAPlugin) -> None:
    overrides = plugin.unique_overrides
    assert (overrides.training_batch, overrides.validation_batch, overrides.testing_batch) == (True, True, True)
    assert not overrides.should_training_stop
    assert plugin.plug_id == CUDAPlugin.plugin_id == "cuda"
    assert type(create_plugin("CUDAPlugin")) is CUDAPlugin


def test_the_trainer_has_to_be_on_cuda_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(DeviceError, match="needs a trainer on CUDA, this one is on cpu; use device='cuda'"):
        trainer_with(CUDAPlugin(), max_steps=1).fit(Model(), ListData([torch.zeros(1)]))


def test_errors_of_devices_are_runtime_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="CUDAPlugin needs CUDA, and there is none here; leave it out"):
        create_plugin("cuda")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("pinned", [False, True], ids=["plain", "pinned"])
def test_batches_reach_the_gpu(pinned: bool) -> None:
    class Looks(Model):
        def train_step(self, batch: Any) -> None:
            seen.append((batch[0].device, self.device, batch[1], batch[0].sum().item()))

    seen: list[Any] = []
    picture = torch.arange(10.0)
    trainer = Trainer(max_steps=1, device="cuda")
    CUDAPlugin().configure_trainer(trainer)
    trainer.fit(Looks(), ListData([(picture.pin_memory() if pinned else picture, "name")]))
    assert seen == [(trainer.device, trainer.device, "name", 45.0)]
    assert trainer.device.type == "cuda"


@pytest.mark.gpu
@needs_cuda
def test_the_loop_never_waits_for_the_gpu() -> None:
    from neural_style.plugins import FinitePlugin, ProgressPlugin, SchedulePlugin

    class Careful(TinyModel):
        def on_training_batch_start(self) -> None:
            torch.cuda.set_sync_debug_mode("error")

        def on_training_epoch_end(self) -> None:
            torch.cuda.set_sync_debug_mode("default")

    trainer = Trainer(max_epochs=1, device="cuda")
    for plugin in (CUDAPlugin(), FinitePlugin(every_steps=1), SchedulePlugin(total_steps=20), ProgressPlugin()):
        plugin.configure_trainer(trainer)
    batches = [torch.randn(4, 4).pin_memory() for _ in range(20)]
    try:
        trainer.fit(Careful(), ListData(batches))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.state.step == 20
