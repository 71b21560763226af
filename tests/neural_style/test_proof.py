"""An engine that does not keep its promise with a model is found out, and one that does is asked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neural_style import model_cache
from neural_style.conversions import Conversion
from neural_style.engines import proof
from neural_style.engines.proof import PROMISED_DB, prove, quality_db
from neural_style.errors import EngineError

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class FakeEngine:
    """Knows the right answers, and changes them as it is told to."""

    name, version, device, threads, bytes_per_pixel = "fake", "1", "cpu", 1, 100

    def __init__(self, conversion: Conversion, change: Answer = lambda styled: styled, precision: str = "float32"):
        self._probes, self._change = conversion.probes(), change
        self.precision = precision
        self.arithmetic = "float32" if precision == "float32" else "bfloat16"
        self.num_runs = 0

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        self.num_runs += 1
        for probe in self._probes:
            if np.array_equal(probe.picture_13HW, rgb_255_13HW):
                return self._change(probe.wanted_13HW.copy())
        raise AssertionError("not a probe")


@pytest.fixture
def conversion(small_weights: Path, tmp_path: Path) -> Conversion:
    model_cache._in_memory.clear()
    return Conversion(small_weights, cache=tmp_path / "cache")


def noise(deviation: float) -> Answer:
    """Such noise on numbers of 0-255, where none are clamped, is 20 log10(255 / deviation) dB."""
    rng = np.random.default_rng(3)
    return lambda styled: styled.clip(20, 235) + rng.normal(scale=deviation, size=styled.shape).astype(np.float32)


def only_first(change: Answer) -> Answer:
    return lambda styled: change(styled) if styled.shape[2] < 100 else styled


def only_second(change: Answer) -> Answer:
    return lambda styled: change(styled) if styled.shape[2] > 100 else styled


def not_a_number(styled: NDArray[np.float32]) -> NDArray[np.float32]:
    styled[0, 1, 5, 6] = np.nan
    return styled


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "fast"])
@pytest.mark.parametrize(
    "change",
    [
        only_first(lambda styled: np.roll(styled, 1, axis=3)),
        only_second(lambda styled: np.roll(styled, 1, axis=3)),
        only_second(lambda styled: styled[:, ::-1]),
        only_first(lambda styled: styled + 4),
        lambda styled: styled[..., :61, :67],
        lambda styled: np.zeros_like(styled),
        not_a_number,
    ],
    ids=["shift-small", "shift-large", "bgr", "lighter", "shape", "black", "nan"],
)
def test_a_wrong_engine_is_refused(conversion: Conversion, change: Answer, precision: str) -> None:
    promised = PROMISED_DB[precision]
    sentence = rf"fake 1 is not used with .*small\.pth: in \w+ it comes within [0-9.]+ dB of .* wanted {promised:.0f}"
    with pytest.raises(EngineError, match=sentence):
        prove(FakeEngine(conversion, change, precision), conversion)


@pytest.mark.parametrize(
    ("precision", "deviation", "holds"), [("float32", 0.06, True), ("float32", 0.1, False), ("fast", 1.5, True)]
)
def test_noise_is_borne_up_to_the_promise(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, precision: str, deviation: float, holds: bool
) -> None:
    engine = FakeEngine(conversion, noise(deviation), precision)
    for probe in engine._probes:  # nothing of them is clamped
        probe.wanted_13HW[:] = probe.wanted_13HW.clip(20, 235)
    monkeypatch.setattr(conversion, "probes", lambda: engine._probes)
    if holds:
        prove(engine, conversion)
    else:
        with pytest.raises(EngineError, match=r"within 6[78]\.[0-9] dB"):
            prove(engine, conversion)


def test_an_engine_that_has_proved_itself_is_not_asked_again(conversion: Conversion) -> None:
    prove(FakeEngine(conversion), conversion)
    again = FakeEngine(conversion)
    prove(again, Conversion(conversion.path, cache=conversion._cache._folder))
    assert again.num_runs == 0


def test_an_engine_that_has_failed_is_refused_without_a_run(conversion: Conversion) -> None:
    for num_runs in (2, 0):
        engine = FakeEngine(conversion, lambda styled: styled * 0)
        with pytest.raises(EngineError, match="it comes within"):
            prove(engine, conversion)
        assert engine.num_runs == num_runs


@pytest.mark.slow
@pytest.mark.parametrize("what", ["version", "name", "arithmetic", "device", "rewriting", "processor"])
def test_another_engine_has_to_prove_itself_too(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    prove(FakeEngine(conversion), conversion)
    other = FakeEngine(conversion)
    if what == "rewriting":
        monkeypatch.setattr(proof, "REWRITING", 99)
    elif what == "processor":
        monkeypatch.setattr(proof, "processor", lambda: "another")
    else:
        setattr(other, what, "another")
    prove(other, conversion)
    assert other.num_runs == 2


@pytest.mark.slow
def test_a_proof_is_of_one_model(conversion: Conversion, small_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    prove(FakeEngine(conversion), conversion)
    torch.save({**small_state, "in1.bias": small_state["in1.bias"] + 1}, tmp_path / "other.pth")
    other = Conversion(tmp_path / "other.pth", cache=tmp_path / "cache")
    engine = FakeEngine(other)
    prove(engine, other)
    assert engine.num_runs == 2


@pytest.mark.slow
def test_threads_are_no_part_of_a_proof(conversion: Conversion) -> None:
    prove(FakeEngine(conversion), conversion)
    other = FakeEngine(conversion)
    other.threads = 64
    prove(other, conversion)
    assert other.num_runs == 0


def test_quality_is_of_clamped_numbers() -> None:
    wanted = np.array([-50.0, 0, 100, 255, 300], np.float32)
    assert quality_db(wanted.clip(0, 255), wanted) == 200
    assert quality_db(wanted + np.array([9, -9, 0, 9, -9], np.float32), wanted) == 200
    assert quality_db(wanted + np.array([0, 0, 5, 0, 0], np.float32), wanted) == pytest.approx(41.14, abs=0.01)
