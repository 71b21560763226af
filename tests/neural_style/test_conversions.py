"""Weights are converted once with torch; after that no run needs it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from csci_utils.io import sha256_of
from neural_style import conversions, model_cache
from neural_style.conversions import Conversion
from neural_style.errors import EngineError, WeightsError, WeightsNotFoundError
from tests.conftest import REPO
from tests.faults import fill_disk

STYLES_ONCE = """
import json, sys
import numpy as np
from neural_style.engines import open_engine
engine = open_engine(sys.argv[1], device="cpu", engine=sys.argv[3], precision=sys.argv[4], cache=sys.argv[2])
styled = engine.run(np.arange(3 * 16 * 24, dtype=np.float32).reshape(1, 3, 16, 24) % 256)
heavy = {"torch", "torchvision", "onnx"} & sys.modules.keys()
print(json.dumps([sorted(heavy), engine.name, engine.precision, float(styled.sum())]))
"""


@pytest.fixture(autouse=True)
def _forgetful() -> None:
    """Nothing that other tests left in memory."""
    model_cache._in_memory.clear()
    model_cache._warned.clear()


@pytest.fixture
def no_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(conversions, "_converter", none)


def test_a_conversion_holds_the_nets_numbers(small_weights: Path, small_state: dict[str, torch.Tensor]) -> None:
    weights = Conversion(small_weights).weights()
    assert weights.keys() == small_state.keys()
    assert all(np.array_equal(weights[key], tensor.numpy()) for key, tensor in small_state.items())
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}


def test_probes_are_what_plain_torch_makes(small_weights: Path, small_state: dict, reference) -> None:
    small, large = Conversion(small_weights).probes()
    assert (small.picture_13HW.shape, small.wanted_13HW.shape) == ((1, 3, 61, 67), (1, 3, 64, 68))
    assert large.picture_13HW.shape == (1, 3, 260, 320)
    wanted = reference(small_state, small.picture_13HW[0].transpose(1, 2, 0).astype(np.uint8))
    found = small.wanted_13HW[0, :, :61, :67].transpose(1, 2, 0).clip(0, 255)
    np.testing.assert_allclose(found, wanted, atol=0.01)
    assert 10 < small.picture_13HW.std() < 120
    assert 10 < found.std() < 120


def test_a_model_is_converted_once_for_each_content(
    small_weights: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = Conversion(small_weights, cache=tmp_path / "cache")
    first.weights()
    digest = sha256_of(small_weights)
    assert sorted(path.name for path in (tmp_path / "cache" / digest).iterdir()) == ["probes-1", "weights"]
    small_weights.rename(tmp_path / "other name.pth")
    request.getfixturevalue("no_converter")
    again = Conversion(tmp_path / "other name.pth", cache=tmp_path / "cache")
    assert np.array_equal(again.weights()["in1.bias"], first.weights()["in1.bias"])
    assert len(again.probes()) == 2
    (tmp_path / "other name.pth").write_bytes(b"other content")
    with pytest.raises(AssertionError, match="converted again"):
        Conversion(tmp_path / "other name.pth", cache=tmp_path / "cache").weights()


def test_without_a_folder_a_model_is_converted_once_in_a_process(
    small_weights: Path, request: pytest.FixtureRequest
) -> None:
    Conversion(small_weights).weights()
    request.getfixturevalue("no_converter")
    assert len(Conversion(small_weights).weights()) == 62


@pytest.mark.slow
def test_a_damaged_conversion_is_made_again(
    small_weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Conversion(small_weights, cache=tmp_path).weights()
    kept = tmp_path / sha256_of(small_weights) / "weights"
    sound = kept.read_bytes()
    kept.write_bytes(sound[:1000] + b"?" + sound[1001:])
    with caplog.at_level(logging.WARNING, "neural_style"):
        assert len(Conversion(small_weights, cache=tmp_path).weights()) == 62
    assert caplog.messages == [f"{kept}: damaged; it is thrown away and made again"]
    assert kept.read_bytes() == sound


def test_a_full_disk_leaves_the_conversion_in_memory(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    fill_disk(monkeypatch, "*")
    Conversion(small_weights, cache=tmp_path / "cache").weights()
    request.getfixturevalue("no_converter")
    assert len(Conversion(small_weights, cache=tmp_path / "cache").weights()) == 62
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_net_as_onnx_is_kept_too(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("onnx")
    made = Conversion(small_weights, cache=tmp_path).onnx()
    request.getfixturevalue("no_converter")
    monkeypatch.setattr(conversions, "_as_onnx", None)
    assert Conversion(small_weights, cache=tmp_path).onnx() == made


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes(small_weights: Path) -> None:
    onnx = pytest.importorskip("onnx")
    made = Conversion(small_weights).onnx()
    model_cache._in_memory.clear()
    assert Conversion(small_weights).onnx() == made
    onnx.checker.check_model(made, full_check=True)


def test_notes_are_kept(small_weights: Path, tmp_path: Path) -> None:
    assert Conversion(small_weights, cache=tmp_path).noted("proof-1") is None
    Conversion(small_weights, cache=tmp_path).note("proof-1", {"quality_db": 71.5})
    assert Conversion(small_weights, cache=tmp_path).noted("proof-1") == {"quality_db": 71.5}


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="there is no such model file"):
        Conversion(tmp_path / "none.pth")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="bad.pth: not a weight file, or a damaged one"):
        Conversion(tmp_path / "bad.pth", cache=tmp_path / "cache").weights()
    assert not (tmp_path / "cache").exists()


def test_a_file_that_changes_meanwhile_is_not_kept(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = conversions._converter()

    def slow(path: Path):
        read = converter(path)
        path.write_bytes(path.read_bytes() + b"more")
        return read

    monkeypatch.setattr(conversions, "_converter", lambda: slow)
    with pytest.raises(WeightsError, match="the file changed while it was read; run it again"):
        Conversion(small_weights, cache=tmp_path / "cache").weights()
    assert not (tmp_path / "cache").exists()


def test_a_converter_that_is_not_installed_is_named(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Conversion(small_weights, cache=tmp_path).weights()
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "neural_style.engines.onnx_graph", raising=False)
    with pytest.raises(ModuleNotFoundError):
        import onnx  # noqa: F401  # it is as if it were not there
    with pytest.raises(EngineError, match=r"needs onnx; pip install 'neural-style-pipeline\[onnxruntime\]'"):
        Conversion(small_weights, cache=tmp_path).onnx()


def style_once(weights: Path, cache: Path, *, engine: str = "auto", precision: str = "float32") -> subprocess.Popen:
    command = [sys.executable, "-c", STYLES_ONCE, str(weights), str(cache), engine, precision]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=REPO, stdout=pipe, stderr=pipe, text=True, env={**os.environ})


def answer_of(child: subprocess.Popen) -> list:
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "")
    found = json.loads(out)
    assert isinstance(found, list)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "module", "first"), [("openvino", "openvino", ["torch"]), ("onnxruntime", "onnx", ["onnx", "torch"])]
)
def test_the_second_run_imports_no_torch(
    small_weights: Path, tmp_path: Path, engine: str, module: str, first: list[str]
) -> None:
    pytest.importorskip(module)
    runs = [answer_of(style_once(small_weights, tmp_path / "cache", engine=engine)) for _ in range(2)]
    assert [run[0] for run in runs] == [first, []]
    assert runs[0][1:] == runs[1][1:]
    assert runs[0][1] == engine


@pytest.mark.slow
def test_the_default_engine_imports_no_torch_the_second_time(small_weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    runs = [answer_of(style_once(small_weights, tmp_path / "c", precision="fast"))[:2] for _ in range(2)]
    assert runs == [[["torch"], "openvino"], [[], "openvino"]]


@pytest.mark.slow
def test_processes_may_convert_the_same_model_at_once(small_weights: Path, tmp_path: Path) -> None:
    children = [style_once(small_weights, tmp_path / "cache") for _ in range(3)]
    answers = [answer_of(child)[1:] for child in children]
    assert answers[0] == answers[1] == answers[2]
    assert answer_of(style_once(small_weights, tmp_path / "cache"))[1:] == answers[0]
    names = [path.name for path in (tmp_path / "cache" / sha256_of(small_weights)).iterdir()]
    assert not [name for name in names if name.startswith(".")]
