"""Each snippet of the plug-in document runs with only its import lines changed, and its ellipses filled."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import torch

from neural_style.errors import DeviceError, PluginError
from neural_style.plugins import CUDAPlugin, Plugin
from neural_style.train import Model, Trainer
from tests.neural_style.training import ListData, trainer_with

IMPORTS = {
    "import helios.plugins as hlp": "import neural_style.plugins as hlp",
    "import helios.trainer as hlt": "import neural_style.train as hlt",
}

ACCESS = """
def train_step(...):
   model.trainer.plugins["foo"] # <- Access plug-in with name "foo"
"""

PROCESS = """
def process_training_batch(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
    return batch[:2] # <- Take the first two elements of the batch.
"""

REGISTER = """
import helios.plugins as hlp
import helios.trainer as hlt

class MyPlugin(hlp.Plugin):
    def __init__(self):
        super().__init__("my_plugin")

    def configure_trainer(self, trainer: hlt.Trainer) -> None:
        self._register_in_trainer(trainer) # <- Automatically registers the plug-in.
"""

CUDA = """
import helios.plugins as hlp
import helios.trainer as hlt

trainer = hlt.Trainer(...)
plugin = hlp.CUDAPlugin()
plugin.configure_trainer(trainer)
trainer.plugins[hlp.CUDAPlugin.plugin_id] # <- Access the plug-in like this.
"""

UNIQUE = """
import helios.plugins as hlp

class MyPlugin(hlp.Plugin):
    def __init__(self):
        super().__init__("my_plugin")

        self.unique_overrides.training_batch = True
        self.unique_overrides.should_training_stop = True

    def process_training_batch(...):
        ...

    def should_training_stop(...):
        ...
"""

NESTED = """
import helios.plugins as hlp
import torch

class MyCUDAPlugin(hlp.CUDAPlugin):
    # Only need to override this function. Everything else will work automatically.
    def _move_collection_to_device(
        self, batch: dict[str, list[torch.Tensor]]
    ) -> dict[str, list[torch.Tensor]]:
        for key, value in batch.items():
            for i in range(len(value)):
                value[i] = value[i].to(self.device)
            batch[key] = value

        return batch
"""

ON_CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not there")],
)


def run(snippet: str, *fillings: str, **names: Any) -> dict[str, Any]:
    """Run a snippet with each of its ellipses filled in turn, and return what it defined."""
    for old, new in IMPORTS.items():
        snippet = snippet.replace(old, new)
    for filling in fillings:
        assert "..." in snippet
        snippet = snippet.replace("...", filling, 1)
    assert "..." not in snippet
    space: dict[str, Any] = {"torch": torch, **names}
    exec(compile(textwrap.dedent(snippet), "snippet", "exec"), space)
    return space


@pytest.fixture(params=["meta", ON_CUDA])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A GPU; without one torch's device without memory stands in for it."""
    if request.param == "meta":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(CUDAPlugin, "device", torch.device("meta"))
        monkeypatch.setattr(CUDAPlugin, "setup", lambda self: None)
    name: str = request.param
    return name


def trained_on(trainer: Trainer, batches: list[Any]) -> list[Any]:
    """Return the batches that the steps of a model saw."""

    class Looks(Model):
        def train_step(self, batch: Any) -> None:
            seen.append(batch)

    seen: list[Any] = []
    trainer.fit(Looks(), ListData(batches))
    return seen


def test_a_model_finds_a_plugin_by_its_name() -> None:
    plugin = Plugin("foo")
    model = Model()
    model.trainer = trainer_with(plugin, max_steps=1)
    returning = ACCESS.replace("model.trainer", "return model.trainer")  # so that what it finds can be seen
    assert run(returning, "batch", model=model)["train_step"]("batch") is plugin


def test_a_batch_is_shortened() -> None:
    plugin = type("Shortens", (Plugin,), {"process_training_batch": run(PROCESS)["process_training_batch"]})("shortens")
    batch = [torch.full((1,), value) for value in (1.0, 2.0, 3.0)]
    assert trained_on(trainer_with(plugin, max_steps=1), [batch]) == [batch[:2]]


def test_a_plugin_registers_itself() -> None:
    plugin = run(REGISTER)["MyPlugin"]()
    trainer = Trainer(max_steps=1, device="cpu")
    plugin.configure_trainer(trainer)
    assert trainer.plugins == {"my_plugin": plugin}
    assert plugin.trainer is trainer


def test_the_cuda_plugin_is_found_by_its_id(device: str) -> None:
    space = run(CUDA, f"max_steps=1, device={'cuda' if device == 'cuda' else 'cpu'!r}")
    assert space["trainer"].plugins == {CUDAPlugin.plugin_id: space["plugin"]}
    (moved,) = trained_on(space["trainer"], [torch.zeros(2)])
    assert moved.device.type == device


def test_unique_overrides_are_refused_twice() -> None:
    filled = ("self, batch", "return batch * 2", "self", "return self.trainer.state.step == 2")
    first, second = (run(UNIQUE, *filled)["MyPlugin"]() for _ in range(2))
    trainer = trainer_with(first, max_epochs=9)
    assert trained_on(trainer, [1, 2, 3]) == [2, 4]
    second.plug_id = "another"
    with pytest.raises(PluginError, match="both override training_batch and should_training_stop"):
        second.configure_trainer(trainer)


def test_nested_containers_are_moved_by_a_plugin_of_ones_own(device: str) -> None:
    plugin = run(NESTED)["MyCUDAPlugin"]()
    trainer = trainer_with(plugin, max_steps=1, device="cuda" if device == "cuda" else "cpu")
    (batch,) = trained_on(trainer, [{"a": [torch.zeros(1), torch.zeros(2)], "b": [torch.zeros(3)]}])
    assert {key: [tensor.device.type for tensor in value] for key, value in batch.items()} == {
        "a": [device, device],
        "b": [device],
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_the_cuda_plugin_wants_cuda() -> None:
    with pytest.raises(DeviceError, match="CUDAPlugin needs CUDA, and there is none here; leave it out to train"):
        run(CUDA, "max_steps=1")
