"""Samples are made in their time, and leave no trace in the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neural_style.errors import SettingError
from neural_style.plugins import Plugin, SamplesPlugin
from neural_style.train import Model
from tests.neural_style.training import ListData, RecordingModel, ShuffledData, TinyModel, trainer_with


def test_samples_are_made_every_so_many_steps_and_at_the_end() -> None:
    steps: list[int] = []
    plugin = SamplesPlugin(lambda model, step: steps.append(step), every_steps=3)
    trainer_with(plugin, max_steps=8).fit(Model(), ListData("x" * 6))
    assert steps == [3, 6, 8]
    trainer_with(plugin, max_steps=3).fit(Model(), ListData("x" * 6))
    assert steps == [3, 6, 8, 3]


def test_the_model_is_in_evaluation_mode_meanwhile() -> None:
    model = RecordingModel([])
    plugin = SamplesPlugin(
        lambda model, step: model.calls.append(f"gradients={torch.is_grad_enabled()}"), every_steps=9
    )
    trainer_with(plugin, max_steps=1).fit(model, ListData("x"))
    assert model.calls[-5:-1] == ["model.on_training_epoch_end()", "model.eval()", "gradients=False", "model.train()"]


def test_the_weights_are_those_of_a_run_without_samples() -> None:
    def weights(*plugins: Plugin) -> dict[str, torch.Tensor]:
        model = TinyModel()
        trainer_with(*plugins, max_steps=9).fit(model, ShuffledData())
        return model.net.state_dict()

    drawn: list[Any] = []
    plain = weights()
    sampled = weights(SamplesPlugin(lambda model, step: drawn.append(float(torch.rand(()))), every_steps=2))
    assert all(torch.equal(sampled[key], plain[key]) for key in plain)
    assert len(set(drawn)) == 5


def test_training_goes_on_in_training_mode_when_making_fails() -> None:
    def fail(model: Model, step: int) -> None:
        raise ValueError("no paint")

    model = RecordingModel([])
    with pytest.raises(ValueError, match="no paint"):
        trainer_with(SamplesPlugin(fail, every_steps=1), max_steps=1).fit(model, ListData("x"))
    assert model.calls[-1] == "model.train()"


def test_it_asks_for_at_least_one_step() -> None:
    with pytest.raises(SettingError, match="every_steps wants at least 1, found 0"):
        SamplesPlugin(print, every_steps=0)
