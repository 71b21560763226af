"""The engine that was asked for, or the first that is there and keeps its promise."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neural_style import devices, model_cache
from neural_style.engines import open_engine, opening, processor
from neural_style.errors import DeviceError, DeviceMemoryError, EngineError, SettingError, WeightsError

PICTURE = np.random.default_rng(5).integers(0, 256, (1, 3, 12, 16)).astype(np.float32)
CPU_ENGINES = ("openvino", "onnxruntime", "torch")

for needed in ("openvino", "onnxruntime", "onnx"):
    pytest.importorskip(needed)


@pytest.fixture(autouse=True)
def _cpu_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, and nothing that other tests left in memory."""
    monkeypatch.setattr(opening, "may_have_accelerator", lambda: False)
    model_cache._in_memory.clear()
    model_cache._warned.clear()


def uninstall(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else find(name))
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)  # makes its import a ModuleNotFoundError
    for ours in ("engines.openvino_engine", "engines.openvino_graph", "engines.onnx_graph", "engines.torch_engine"):
        monkeypatch.delitem(sys.modules, f"neural_style.{ours}", raising=False)


def break_engine(monkeypatch: pytest.MonkeyPatch, name: str, change: Any) -> None:
    plain = opening._OPENERS[name]

    def broken(*arguments: Any) -> Any:
        engine = plain(*arguments)
        run = engine.run
        engine.run = lambda picture: change(run(picture))  # type: ignore[method-assign]
        return engine

    monkeypatch.setitem(opening._OPENERS, name, broken)


def shifted(styled: np.ndarray) -> np.ndarray:
    return np.roll(styled, 1, axis=3)


@pytest.mark.slow
@pytest.mark.parametrize("asked", CPU_ENGINES)
def test_the_engine_that_is_asked_for_is_taken(small_weights: Path, tmp_path: Path, asked: str) -> None:
    engine = open_engine(small_weights, engine=asked, cache=tmp_path)
    assert (engine.name, engine.device, engine.precision, engine.arithmetic) == (asked, "cpu", "float32", "float32")
    assert engine.bytes_per_pixel > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "taken"),
    [((), "openvino"), (("openvino",), "onnxruntime"), (("openvino", "onnx"), "torch"), (CPU_ENGINES[:2], "torch")],
    ids=str,
)
def test_the_first_installed_one_is_taken(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: tuple, taken: str
) -> None:
    uninstall(monkeypatch, *missing)
    assert open_engine(small_weights).name == taken
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("asked", "missing", "sentence"),
    [
        ("openvino", "openvino", r"needs openvino; pip install 'neural-style-pipeline\[openvino\]'"),
        ("onnxruntime", "onnxruntime", r"needs onnxruntime; pip install 'neural-style-pipeline\[onnxruntime\]'"),
        ("onnxruntime", "onnx", r"needs onnx; pip install 'neural-style-pipeline\[onnxruntime\]'"),
    ],
)
def test_an_engine_that_is_asked_for_and_not_installed_names_its_extra(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, asked: str, missing: str, sentence: str
) -> None:
    uninstall(monkeypatch, missing)
    with pytest.raises(EngineError, match=sentence):
        open_engine(small_weights, engine=asked)


@pytest.mark.slow
def test_an_installation_that_is_not_whole_is_a_warning(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setitem(opening._OPENERS, "openvino", broken)
    for _ in range(2):
        assert open_engine(small_weights).name == "onnxruntime"
    assert caplog.messages == [
        "openvino is installed and cannot be imported (libtbb.so.12: cannot open shared object file); the next "
        "engine is taken"
    ]


@pytest.mark.slow
def test_an_engine_that_breaks_its_promise_is_a_warning_and_the_next_is_taken(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_engine(monkeypatch, "openvino", shifted)
    for _ in range(2):
        with caplog.at_level(logging.WARNING, "neural_style"):
            engine = open_engine(small_weights, cache=tmp_path / "cache")
        assert engine.name == "onnxruntime"
    assert len(caplog.messages) == 1
    assert "is not used with" in caplog.text
    assert caplog.messages[0].endswith("wanted 70; the next engine is taken")
    with pytest.raises(EngineError, match="openvino .* is not used with"):
        open_engine(small_weights, engine="openvino", cache=tmp_path / "cache")


@pytest.mark.slow
def test_fast_that_breaks_its_promise_gives_way_to_float32(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = opening._OPENERS["openvino"]

    def broken(conversion: Any, wanted: Any) -> Any:
        if wanted.precision == "fast":
            raise EngineError("OpenVINO runs 3 of 9 layers in bfloat16 that are to be float32")
        return plain(conversion, wanted)

    monkeypatch.setitem(opening._OPENERS, "openvino", broken)
    engine = open_engine(small_weights, precision="fast")
    assert (engine.name, engine.precision) == ("openvino", "float32")
    assert len(caplog.messages) == 1


def test_weights_that_nobody_has_converted_need_torch(small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "torch")
    with pytest.raises(EngineError, match="needs torch; pip install"):
        open_engine(small_weights)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "fast"])
def test_onnxruntime_and_torch_agree_with_openvino(small_weights: Path, precision: str) -> None:
    styled = [open_engine(small_weights, engine=name, precision=precision).run(PICTURE) for name in CPU_ENGINES]
    for other in styled[1:]:
        np.testing.assert_allclose(
            styled[0].clip(0, 255), other.clip(0, 255), atol=0.1 if precision == "float32" else 30
        )


@pytest.mark.slow
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_pictures_of_one_colour_stay_so(small_weights: Path, engine: str) -> None:
    picture = np.full((1, 3, 61, 67), 77, np.float32)
    for _ in range(2):
        styled = open_engine(small_weights, engine=engine).run(picture)
        assert np.ptp(styled, axis=(2, 3)).max() < 0.01


@pytest.mark.slow
def test_onnxruntime_is_float32_whatever_is_asked_for(small_weights: Path) -> None:
    engine = open_engine(small_weights, engine="onnxruntime", precision="fast")
    assert (engine.precision, engine.arithmetic) == ("float32", "float32")


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_models_of_others_are_onnxruntimes(tmp_path: Path, engine: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"a model")
    with pytest.raises(EngineError, match=rf"m\.onnx: {engine} runs no \.onnx files here; give the \.pth file"):
        open_engine(tmp_path / "m.onnx", engine=engine)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        (
            {"engine": "tensorrt"},
            SettingError,
            "'tensorrt' is no engine; use one of auto, torch, openvino, onnxruntime$",
        ),
        ({"precision": "half"}, SettingError, "'half' is no precision; use one of float32, fast$"),
        (
            {"engine": "openvino", "device": "cuda"},
            DeviceError,
            "openvino runs on the CPU alone, not on 'cuda'; use cpu",
        ),
        ({"engine": "onnxruntime", "device": "mps"}, DeviceError, "the device 'mps' is not there for .onnx models"),
    ],
    ids=["engine", "precision", "openvino-cuda", "onnxruntime-mps"],
)
def test_what_there_is_not_is_one_sentence(
    small_weights: Path, options: dict[str, str], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        open_engine(small_weights, **options)  # type: ignore[arg-type]  # all of them are texts


def test_a_file_that_is_no_model_is_found_before_any_engine_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"bad\.pth: not a weight file"):
        open_engine(tmp_path / "bad.pth", cache=tmp_path / "cache")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("plausible", "there", "taken"),
    [(False, ["cuda:0", "cpu"], "cpu"), (True, ["cpu"], "cpu"), (True, ["cuda:0", "cpu"], "cuda:0")],
)
def test_torch_is_asked_for_an_accelerator_only_where_there_may_be_one(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, plausible: bool, there: list[str], taken: str
) -> None:
    asked = []
    monkeypatch.setattr(opening, "may_have_accelerator", lambda: plausible)
    monkeypatch.setattr(devices, "available_devices", lambda: there)
    monkeypatch.setitem(opening._OPENERS, "torch", lambda _, wanted: asked.append(wanted.device))
    monkeypatch.setitem(opening._OPENERS, "openvino", lambda _, wanted: asked.append(wanted.device))
    monkeypatch.setattr(opening, "_proven", lambda name, conversion, wanted: opening._OPENERS[name](conversion, wanted))
    open_engine(small_weights)
    assert asked == [taken]


@pytest.mark.parametrize(
    ("system", "nodes", "found"),
    [
        ("Linux", [], False),
        ("Linux", ["nvidia0"], True),
        ("Linux", ["nvidiactl"], True),
        ("Darwin", [], True),
        ("Windows", [], False),
    ],
)
def test_an_accelerator_is_looked_for_without_any_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, nodes: list[str], found: bool
) -> None:
    for node in nodes:
        (tmp_path / node).touch()
    monkeypatch.setattr(processor, "_DEVICES", tmp_path)
    monkeypatch.setattr(processor.platform, "system", lambda: system)
    assert processor.may_have_accelerator() is found


@pytest.mark.slow
def test_an_engine_without_memory_is_not_the_end_of_auto(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> Any:
        raise DeviceMemoryError("cpu has not enough memory for the model")

    monkeypatch.setitem(opening._OPENERS, "openvino", full)
    assert open_engine(small_weights).name == "onnxruntime"
    assert caplog.messages == ["cpu has not enough memory for the model; the next engine is taken"]


def test_fast_that_breaks_its_promise_on_a_card_stays_there_in_float32(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opened(_: Any, wanted: Any) -> Any:
        asked.append((wanted.device, wanted.precision))
        if wanted.precision == "fast":
            raise EngineError("below its promise")
        return SimpleNamespace(name="torch", device="cpu", precision="float32")

    monkeypatch.setattr(opening, "may_have_accelerator", lambda: True)
    monkeypatch.setattr(opening, "_best_device", lambda: "cuda:0")
    monkeypatch.setitem(opening._OPENERS, "torch", opened)
    open_engine(small_weights, precision="fast")
    assert asked == [("cuda:0", "fast"), ("cuda:0", "float32")]


def test_the_last_engine_that_fails_is_told_once(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: Any) -> Any:
        raise EngineError("it does not run here")

    for name in CPU_ENGINES:
        monkeypatch.setitem(opening._OPENERS, name, failing)
    monkeypatch.setattr(opening, "_in_order", lambda wanted: iter([("torch", wanted)]))
    with pytest.raises(EngineError, match="it does not run here"):
        open_engine(small_weights)
    assert caplog.messages == []


@pytest.mark.slow
def test_onnxruntime_keeps_its_promise_with_little_contrast(small_weights: Path) -> None:
    rgb_255_13HW = np.full((1, 3, 260, 320), 128, np.float32)
    rgb_255_13HW[..., 160:] = 133
    wanted = open_engine(small_weights, engine="torch").run(rgb_255_13HW)
    found = open_engine(small_weights, engine="onnxruntime").run(rgb_255_13HW)
    assert 10 * np.log10(255**2 / np.square(found.clip(0, 255) - wanted.clip(0, 255)).mean()) > 75
