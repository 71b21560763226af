"""The learning rate follows from the number of the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from neural_style.errors import PluginError, SettingError
from neural_style.plugins import SchedulePlugin
from neural_style.train import Model
from tests.neural_style.training import ListData, trainer_with


class Rates(Model):
    """Writes down the rates of its two optimisers."""

    def __init__(self, rate: Any = 0.5) -> None:
        super().__init__()
        self.rate, self.rates = rate, []

    def setup(self, fast_init: bool = False) -> None:
        weight = torch.nn.Parameter(torch.zeros(1))
        self.first = torch.optim.Adam([weight], lr=self.rate)
        self.second = torch.optim.SGD([weight], lr=4.0)

    def train_step(self, batch: Any) -> None:
        self.rates.append((float(self.first.param_groups[0]["lr"]), self.second.param_groups[0]["lr"]))


def rates(plugin: SchedulePlugin, *, rate: Any = 0.5, max_steps: int = 9) -> list[float]:
    model = Rates(rate)
    trainer_with(plugin, max_steps=max_steps).fit(model, ListData("x" * max_steps))
    assert [second / 4.0 for _, second in model.rates] == pytest.approx([first / 0.5 for first, _ in model.rates])
    return [first / 0.5 for first, _ in model.rates]


def test_a_cosine_goes_down_to_its_last_share() -> None:
    expected = [0.1 + 0.9 * math.cos(math.pi * step / 16) ** 2 for step in range(9)]  # half a wave, as a square
    assert rates(SchedulePlugin("cosine", final=0.1)) == pytest.approx(expected)


def test_warming_up_comes_first() -> None:
    found = rates(SchedulePlugin("cosine", warmup_steps=4))
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert found[-1] == pytest.approx(0.0)


def test_a_constant_rate_stays_after_warming_up() -> None:
    assert rates(SchedulePlugin("constant", warmup_steps=2), max_steps=5) == pytest.approx([0.5, 1, 1, 1, 1])


def test_after_its_end_the_rate_stays() -> None:
    assert rates(SchedulePlugin(total_steps=3, final=0.2))[2:] == pytest.approx([0.2] * 7)


def test_a_rate_that_is_a_tensor_is_changed_where_it_is() -> None:
    rate = torch.tensor(0.5)
    assert rates(SchedulePlugin(), rate=rate) == pytest.approx(rates(SchedulePlugin()))
    assert float(rate) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "sine"}, "kind of schedule wants one of constant, cosine, found 'sine'"),
        ({"warmup_steps": -1}, "warmup_steps wants at least 0 and total_steps at least 1, found -1 and None"),
        ({"total_steps": 0}, "total_steps at least 1, found 0 and 0"),
        ({"final": 1.5}, "final wants a share from 0 to 1, found 1.5"),
        ({"final": float("nan")}, "final wants a share from 0 to 1, found nan"),
    ],
    ids=str,
)
def test_arguments_are_checked(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        SchedulePlugin(**arguments)


def test_a_cosine_wants_an_end() -> None:
    with pytest.raises(
        SettingError, match="a cosine schedule wants an end: give it total_steps, or the trainer max_st"
    ):
        trainer_with(SchedulePlugin(), max_epochs=1).fit(Rates(), ListData("x"))
    trainer_with(SchedulePlugin("constant"), max_epochs=1).fit(Rates(), ListData("x"))


def test_a_model_without_optimisers_is_named() -> None:
    with pytest.raises(PluginError, match=r"found no optimiser: the model's optimizers\(\) wants to return them"):
        trainer_with(SchedulePlugin(), max_steps=1).fit(Model(), ListData("x"))
