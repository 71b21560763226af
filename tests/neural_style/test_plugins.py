"""Plug-ins find their place in the trainer's table, or a sentence says why not; the registry makes them by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from neural_style import plugins
from neural_style.errors import PluginError
from neural_style.plugins import Plugin, UniquePluginOverrides, create_plugin, register_plugin, registered_plugins
from neural_style.plugins import registry as registry_module
from neural_style.train import Model
from tests.neural_style.training import ListData, trainer_with

OVERRIDES = ("training_batch", "validation_batch", "testing_batch", "should_training_stop")


class Unique(Plugin):
    def __init__(self, plug_id: str, override: str) -> None:
        super().__init__(plug_id)
        setattr(self.unique_overrides, override, True)


@pytest.fixture(autouse=True)
def _registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_registered", dict(registry_module._registered))


def test_plugins_lie_in_the_table_by_their_ids_in_order() -> None:
    plugins = [Plugin("b"), Plugin("a"), Plugin("c")]
    assert trainer_with(*plugins, max_steps=1).plugins == {"b": plugins[0], "a": plugins[1], "c": plugins[2]}


def test_an_id_may_be_taken_once() -> None:
    trainer = trainer_with(Unique("x", "training_batch"), max_steps=1)
    with pytest.raises(
        PluginError, match=r"Plugin: the trainer has a plug-in 'x' already \(Unique\); give one of them"
    ):
        Plugin("x").configure_trainer(trainer)
    assert list(trainer.plugins) == ["x"]


def test_an_id_is_wanted() -> None:
    with pytest.raises(PluginError, match="Plugin wants an id for the trainer's table, and got an empty one"):
        Plugin("")


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override_may_be_there_once(override: str) -> None:
    trainer = trainer_with(Plugin("before"), Unique("x", override), max_steps=1)
    with pytest.raises(PluginError, match=f"Unique and Unique both override {override}, which only one.*leave one"):
        Unique("y", override).configure_trainer(trainer)
    assert list(trainer.plugins) == ["before", "x"]


def test_different_overrides_go_together() -> None:
    plugins = [Unique(override, override) for override in OVERRIDES]
    assert list(trainer_with(*plugins, max_steps=1).plugins) == list(OVERRIDES)
    assert UniquePluginOverrides() == UniquePluginOverrides(False, False, False, False)


def test_errors_of_plugins_are_value_errors() -> None:
    assert issubclass(PluginError, ValueError)


def test_only_exceptions_may_end_training() -> None:
    with pytest.raises(PluginError, match="wanted a kind of Exception that may end training, found <class 'int'>"):
        trainer_with(max_steps=1).register_exception(int)  # type: ignore[arg-type]


def test_a_plugin_is_made_by_the_name_of_its_class_or_by_its_id() -> None:
    @register_plugin
    class Shrinks(Plugin):
        plugin_id = "shrinks"

        def __init__(self, size: int, *, loudly: bool = False) -> None:
            super().__init__(self.plugin_id)
            self.arguments = size, loudly

    for name in ("Shrinks", "shrinks"):
        plugin = create_plugin(name, 3, loudly=True)
        assert isinstance(plugin, Shrinks)
        assert plugin.arguments == (3, True)


def test_the_builtin_plugins_are_registered() -> None:
    assert {"CUDAPlugin", "cuda", "CheckpointPlugin", "FinitePlugin", "ProgressPlugin", "SchedulePlugin"} <= set(
        registered_plugins()
    )


def test_an_unknown_plugin_is_answered_with_those_there_are() -> None:
    with pytest.raises(PluginError, match="there is no plug-in 'CUDAPlugn'; there are: CUDAPlugin, CheckpointPlugin, "):
        create_plugin("CUDAPlugn")


def test_a_name_is_registered_once() -> None:
    class CUDAPlugin(Plugin):
        pass

    with pytest.raises(PluginError, match=r"two plug-ins named 'CUDAPlugin': neural_style\.plugins\.cuda\.CUDAPlugin"):
        register_plugin(CUDAPlugin)
    kind = register_plugin(type("Other", (Plugin,), {}))
    assert register_plugin(kind) is kind


def test_a_derived_plugin_does_not_take_its_parents_id() -> None:
    parent = register_plugin(type("Parent", (Plugin,), {"plugin_id": "family"}))
    register_plugin(type("Child", (parent,), {}))
    assert registry_module._registered["family"] is parent


def test_only_plugins_are_registered() -> None:
    with pytest.raises(PluginError, match="wanted a class derived from Plugin to register, found <class 'int'>"):
        register_plugin(int)  # type: ignore[type-var]


def test_the_step_sees_the_batch_that_the_hook_returned() -> None:
    class Shortens(Plugin):
        def process_training_batch(self, batch: list[int]) -> list[int]:
            return batch[:2]

    class Looks(Model):
        def train_step(self, batch: Any) -> None:
            seen.append(batch)

    seen: list[Any] = []
    trainer_with(Shortens("shortens"), max_steps=1).fit(Looks(), ListData([[1, 2, 3, 4]]))
    assert seen == [[1, 2]]


def test_a_plugin_names_the_run_before_it_starts() -> None:
    class Names(Plugin):
        def configure_model(self, model: Model) -> None:
            model.save_name += "_trial-3"

    model = Model("mosaic")
    Names("names").configure_model(model)
    assert model.save_name == "mosaic_trial-3"


def test_every_plugin_of_the_package_is_there_once_the_package_is_imported() -> None:
    """What the package itself names it has imported; other tests may have imported more by now."""
    found = [
        name
        for path in Path(plugins.__file__).parent.glob("*.py")
        for name in re.findall(r"@register_plugin\nclass (\w+)", path.read_text())
    ]
    assert len(found) > 5
    assert set(found) <= set(plugins.__all__) & set(registered_plugins())
