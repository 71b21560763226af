"""Models leave as ONNX with free height and width, and come back through onnxruntime."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neural_style import onnx_export
from neural_style.engines import open_engine
from neural_style.engines.onnx_engine import _providers
from neural_style.errors import DeviceError, EngineError, OutputError, SettingError, WeightsError
from neural_style.onnx_export import export_onnx
from neural_style.stylize import Stylizer
from tests.conftest import REPO

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model that adds one to every number, with the input it is told to have."""

    def make(*shape: Any, kind: int = onnx.TensorProto.FLOAT, num_inputs: int = 1) -> Path:
        inputs = [onnx.helper.make_tensor_value_info(f"in{n}", kind, shape) for n in range(num_inputs)]
        outputs = [onnx.helper.make_tensor_value_info("out", kind, shape)]
        one = onnx.helper.make_tensor("one", kind, [], [1])
        nodes = [onnx.helper.make_node("Add", ["in0", "one"], ["out"])]
        graph = onnx.helper.make_graph(nodes, "plus-one", inputs, outputs, [one])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, tmp_path / "plus.onnx")
        return tmp_path / "plus.onnx"

    return make


@pytest.mark.parametrize("shape", [(1, 3, "h", "w"), ("n", 3, "h", "w"), (1, 3, None, None)], ids=str)
def test_a_model_with_free_sides_styles_any_size(make_model: Callable[..., Path], shape: tuple) -> None:
    stylizer = Stylizer(make_model(*shape), device="cpu")
    picture = np.full((9, 20, 3), 7, np.uint8)
    assert np.array_equal(stylizer.style(picture), picture + 1)
    assert stylizer.description()["engine"] == "onnxruntime"
    assert (stylizer.device, stylizer.description()["precision"]) == ("cpu", "float32")


def test_a_model_with_fixed_sides_says_which(make_model: Callable[..., Path]) -> None:
    stylizer = Stylizer(make_model(1, 3, 24, 32))
    assert stylizer.style(np.zeros((24, 32, 3), np.uint8)).max() == 1
    with pytest.raises(EngineError, match=r"takes pictures of 32 x 24 pixels \(width x height\) only, not 24 x 32"):
        stylizer.style(np.zeros((32, 24, 3), np.uint8))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 4, "h", "w"), {}),
        ((3, "h", "w"), {}),
        ((1, 3, "h", "w"), {"kind": onnx.TensorProto.DOUBLE}),
        ((1, 3, "h", "w"), {"num_inputs": 2}),
    ],
    ids=["channels", "rank", "float64", "two-inputs"],
)
def test_models_of_something_else_are_refused(make_model: Callable[..., Path], shape: tuple, options: dict) -> None:
    with pytest.raises(WeightsError, match=r"wanted a model with one float input \(1, 3, height, width\), found"):
        open_engine(make_model(*shape, **options))


def test_a_model_that_fails_on_a_picture_is_one_sentence(make_model: Callable[..., Path]) -> None:
    engine = open_engine(make_model(2, 3, "h", "w"))
    with pytest.raises(EngineError, match=r"plus\.onnx: onnxruntime could not style 9 x 8 pixels") as caught:
        engine.run(np.zeros((1, 3, 8, 9), np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no model at all", "not a model that onnxruntime can read"),
        (b"", "the model file is empty"),
        (b"<html>", "looks like a web page"),
    ],
    ids=["text", "empty", "web-page"],
)
def test_files_that_are_no_onnx_models_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes, sentence: str
) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"bad\.onnx: .*{sentence}") as caught:
        open_engine(tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("device", "available", "chosen"),
    [
        ("auto", [CPU], [CPU]),
        ("cpu", [CUDA, CPU], [CPU]),
        ("auto", [CUDA, CPU], [(CUDA, {"device_id": 0, "use_tf32": 0}), CPU]),
        ("accel", [CUDA, CPU], [(CUDA, {"device_id": 0, "use_tf32": 0}), CPU]),
        ("cuda:1", [CUDA, CPU], [(CUDA, {"device_id": 1, "use_tf32": 0}), CPU]),
    ],
)
def test_onnxruntime_runs_where_it_is_told(device: str, available: list[str], chosen: list) -> None:
    assert _providers(device, available=available) == chosen


@pytest.mark.parametrize(
    ("device", "available", "has"), [("cuda", [CPU], "cpu"), ("accel", [CPU], "cpu"), ("mps", [CUDA, CPU], "cuda, cpu")]
)
def test_a_device_onnxruntime_does_not_have_is_named(device: str, available: list[str], has: str) -> None:
    with pytest.raises(DeviceError, match=f"'{device}' is not there for .onnx models; onnxruntime has: {has}$"):
        _providers(device, available=available)


def test_the_exported_name_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"m\.pb: the name of an exported model ends with \.onnx"):
        export_onnx(tmp_path / "no.pth", tmp_path / "m.pb")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_an_exporter_that_is_not_installed_names_its_extra(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(EngineError, match=rf"needs {missing}; pip install 'neural-style-pipeline\[onnx\]'"):
        export_onnx(small_weights, tmp_path / "m.onnx")


def test_an_exporter_that_fails_is_one_sentence(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no\nway")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(EngineError, match=r"small\.pth: torch could not export it: no way$"):
        export_onnx(small_weights, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("runtime", "side", "reason"),
    [
        (True, 61, r"it makes \(1, 3, 61, 61\) at 61 x 61 pixels, wanted \(1, 3, 64, 64\)"),
        (True, 12, "it differs from torch by [0-9.]+ of 255 at 12 x 12 pixels"),
        (False, 12, "it is not a valid ONNX model"),
    ],
    ids=["other-shape", "other-numbers", "without-onnxruntime"],
)
def test_a_model_that_is_not_right_is_not_kept(
    tmp_path: Path,
    small_weights: Path,
    make_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    runtime: bool,
    side: int,
    reason: str,
) -> None:
    wrong = make_model(1, 3, "h", "w").read_bytes() if runtime else b"nothing"
    (tmp_path / "plus.onnx").unlink(missing_ok=True)
    (tmp_path / "m.onnx").write_bytes(b"old")
    monkeypatch.setattr(onnx_export, "_exported", lambda net, name: wrong)
    monkeypatch.setattr(onnx_export, "_CHECKED_SIZES_HW", ((side, side),))
    if not runtime:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(EngineError, match=rf"m\.onnx: .* is not right, so nothing was kept: {reason}"):
        export_onnx(small_weights, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "small.pth"]


def test_a_full_disk_is_one_sentence(tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "_exported", lambda net, name: b"model")

    def full(path: Path, net: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx_export, "_check_against_torch", full)
    with pytest.raises(OutputError, match=r"m\.onnx: could not be written: No space left on device"):
        export_onnx(small_weights, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["small.pth"]


@pytest.mark.slow
def test_an_exported_model_gives_the_same_pixels_at_every_size(
    tmp_path: Path, small_weights: Path, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(small_weights, tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "small.pth"]  # no data beside it
    content = (tmp_path / "m.onnx").read_bytes()
    assert b"neural_style" not in content  # no path of this machine
    graph = onnx.load_from_string(content).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["input", "output"]
    there, back = Stylizer(small_weights, device="cpu"), Stylizer(tmp_path / "m.onnx", device="cpu")
    for size in [(61, 67), (40, 33), (8, 8), (1, 1), (5, 5), (9, 200), (128, 64)]:
        picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        assert np.abs(there.style(picture).astype(int) - back.style(picture)).max() <= 1, size
    export_onnx(small_weights, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == content


def test_onnxruntime_is_told_how_many_threads_to_use(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    asked, session = [], onnxruntime.InferenceSession

    def noting(path: str, options: Any, **more: Any) -> Any:
        asked.append(options.intra_op_num_threads)
        return session(path, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noting)
    model = make_model(1, 3, "h", "w")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: range(5), raising=False)
    assert [Stylizer(model, device="cpu", threads=number).description()["threads"] for number in (2, None)] == [2, 5]
    assert asked == [2, 5]


@pytest.mark.slow
def test_nobody_is_told_of_the_models_that_are_run(tmp_path: Path, make_model: Callable[..., Path]) -> None:
    """Left to itself onnxruntime sends what it sees of them, and begins by noting in files who sends it."""
    home = tmp_path / "home"
    home.mkdir()
    program = "import sys; from neural_style.engines import open_engine; open_engine(sys.argv[1], device='cpu')"
    model = make_model(1, 3, "h", "w")
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment = kept | {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    subprocess.run([sys.executable, "-c", program, str(model)], env=environment, cwd=REPO, check=True)
    assert list(home.iterdir()) == []
