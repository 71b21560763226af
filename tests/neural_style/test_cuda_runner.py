"""What is recorded, kept and waited for on a card, with a card that only notes what it is told."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from neural_style.cuda_runner import _NUM_GRAPHS, CudaRunner


class Card:
    """Stands for `torch.cuda`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fault: Exception | None = None
        self.num_styled = 0

    def style(self, rgb_255_HW3: torch.Tensor) -> torch.Tensor:
        self.num_styled += 1
        return 255 - rgb_255_HW3

    @contextlib.contextmanager
    def graph(self, *_: Any, **__: Any):
        self.told.append(f"record after {self.num_styled}")
        yield
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()

    def event() -> SimpleNamespace:
        return SimpleNamespace(record=lambda _: None, synchronize=lambda: card.told.append("wait"))

    stream = SimpleNamespace(synchronize=lambda: None, wait_event=lambda _: None)
    for name, stand_in in {
        "Stream": lambda _: stream,
        "Event": event,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: card.told.append("play")),
        "graph": card.graph,
        "synchronize": lambda _: card.told.append("all is made"),
        "get_device_properties": lambda _: SimpleNamespace(total_memory=1 << 30),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return card


@pytest.fixture
def runner(card: Card) -> CudaRunner:
    return CudaRunner(card.style, device="cpu", bytes_per_pixel=9)


def picture(width: int = 8) -> torch.Tensor:
    return torch.zeros(8, width, 3)


def test_nothing_is_read_before_the_net_is_made(card: Card, runner: CudaRunner) -> None:
    assert card.told == ["all is made"]


def test_a_size_that_is_met_again_is_warmed_up_by_its_thread_recorded_and_played(
    card: Card, runner: CudaRunner
) -> None:
    for _ in range(3):
        runner._styled(picture())
    assert card.told[1:] == ["record after 2", "play", "play"]


def test_a_graph_goes_when_nobody_uses_it_any_more(card: Card, runner: CudaRunner) -> None:
    for width in range(_NUM_GRAPHS + 1):
        for _ in range(2):
            runner._styled(picture(8 + width))
    assert card.told.count("wait") == 1
    assert card.told.index("wait") < len(card.told) - 2  # before the next is recorded
    assert len(runner._graphs) == _NUM_GRAPHS


def test_a_graph_that_does_not_fit_is_done_without(
    card: Card, runner: CudaRunner, caplog: pytest.LogCaptureFixture
) -> None:
    card.fault = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    for _ in range(3):
        assert runner._styled(picture()).unique().tolist() == [255]
    assert not caplog.records
    card.fault = None
    runner._styled(picture())
    assert card.told[-1] == "play"


def test_a_card_that_cannot_record_is_told_of_once(
    card: Card, runner: CudaRunner, caplog: pytest.LogCaptureFixture
) -> None:
    card.fault = RuntimeError("CUDA error: operation not permitted when stream is capturing")
    for width in (8, 8, 8, 9, 9):
        assert runner._styled(picture(width)).unique().tolist() == [255]
    assert len(caplog.records) == 1
    assert "cannot record what it does" in caplog.text
    assert len([each for each in card.told if "record" in each]) == 1
