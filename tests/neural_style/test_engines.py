"""Engines and devices: float32 and nothing less, and a sentence for what is not there."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neural_style.devices import available_devices, resolve_device
from neural_style.engines import open_engine, torch_engine
from neural_style.errors import DeviceError, EngineError, WeightsError
from neural_style.stylize import Stylizer

PICTURE = np.random.default_rng(0).integers(0, 256, (1, 3, 12, 16)).astype(np.float32)
TORCH_FREE = [
    "",
    ".images",
    ".errors",
    ".colour",
    ".model_file",
    ".stylize",
    ".engines",
    ".engines.onnx_engine",
    ".cli",
]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that the machine has these accelerators."""

    def pretend(*, num_cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: num_cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("machine", "asked", "found"),
    [
        ({}, "auto", "cpu"),
        ({}, "cpu", "cpu"),
        ({"mps": True}, "auto", "mps"),
        ({"num_cuda": 2, "mps": True}, "auto", "cuda:0"),
        ({"num_cuda": 2}, "cuda", "cuda:0"),
        ({"num_cuda": 2}, "cuda:1", "cuda:1"),
        ({"num_cuda": 2}, "cpu", "cpu"),
        ({"num_cuda": 1}, "accel", "cuda:0"),
        ({"mps": True}, "accel", "mps"),
    ],
)
def test_devices_are_found(devices: Callable[..., None], machine: dict, asked: str, found: str) -> None:
    devices(**machine)
    assert resolve_device(asked) == found


@pytest.mark.parametrize(
    ("machine", "asked", "sentence"),
    [
        ({}, "cuda", "the device 'cuda' is not there; this machine has: cpu$"),
        ({}, "mps", "the device 'mps' is not there; this machine has: cpu$"),
        ({}, "accel", r"an accelerator \(cuda or mps\) is not there; this machine has: cpu$"),
        ({"num_cuda": 2}, "cuda:2", "the device 'cuda:2' is not there; this machine has: cuda:0, cuda:1, cpu$"),
        ({"num_cuda": 1}, "mps", "'mps' is not there; this machine has: cuda:0, cpu$"),
        ({}, "gpu7", r"'gpu7' is no device; use auto, cpu, cuda, cuda:1 or mps \(this machine has: cpu\)"),
        ({}, "", "'' is no device"),
        ({}, "CUDA", "'CUDA' is no device"),
        ({}, "cuda:", "'cuda:' is no device"),
        ({}, "cuda:-1", "'cuda:-1' is no device"),
        ({}, "cpu\n", r"'cpu\\n' is no device"),
        ({}, "meta", "'meta' is no device"),
    ],
)
def test_a_device_that_is_not_there_is_named(
    devices: Callable[..., None], small_weights: Path, machine: dict, asked: str, sentence: str
) -> None:
    devices(**machine)
    with pytest.raises(DeviceError, match=sentence):
        open_engine(small_weights, device=asked)


def test_the_suffix_chooses_the_engine(small_weights: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such model file"):
        open_engine(small_weights.with_suffix(".onnx"))
    small_weights.rename(small_weights.with_suffix(".onnx"))
    with pytest.raises(WeightsError, match="not a model that onnxruntime can read"):
        open_engine(small_weights.with_suffix(".onnx"))


@pytest.mark.parametrize(("asked", "used"), [(3, 3), (None, 2), (0, 2)])
def test_so_many_threads_as_asked_for_style_a_picture(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, used: int
) -> None:
    torch.set_num_threads(2)
    engine = torch_engine.TorchEngine(small_weights, device="cpu", threads=asked)
    seen: list[int] = []
    style = engine._net.style

    def watched(*args: Any, **options: Any) -> None:
        seen.append(torch.get_num_threads())
        style(*args, **options)

    monkeypatch.setattr(engine._net, "style", watched)
    engine.run(PICTURE)
    assert (seen, engine.threads, torch.get_num_threads()) == ([used], used, 2)


@pytest.mark.parametrize("setting", ["tf32", "ieee", "none"])
def test_the_net_runs_in_full_float32_and_leaves_torch_as_it_was(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    engine: Any = open_engine(small_weights, device="cpu", engine="torch")
    seen = []

    def watched(*_: Any, **__: Any) -> None:
        seen.append((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
        seen.append(torch.is_inference_mode_enabled())

    monkeypatch.setattr(engine._net, "style", watched)
    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    original = conv.fp32_precision, matmul.fp32_precision
    try:
        conv.fp32_precision = matmul.fp32_precision = setting
        before = conv.fp32_precision, matmul.fp32_precision
        engine.run(PICTURE)
        assert seen == [("ieee", "ieee"), True]
        assert (conv.fp32_precision, matmul.fp32_precision) == before
    finally:
        conv.fp32_precision, matmul.fp32_precision = original


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
        MemoryError(),
    ],
    ids=["cuda", "mps", "cpu-linux", "cpu-windows", "python"],
)
def test_too_little_memory_is_one_sentence(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    engine: Any = open_engine(small_weights, device="cpu", engine="torch")

    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(engine._net, "style", fail)
    with pytest.raises(DeviceError, match="cpu has not enough memory for 16 x 12 pixels; use --max-side") as caught:
        engine.run(PICTURE)
    assert caught.value.__cause__ is fault


def test_a_defect_is_not_taken_for_too_little_memory(small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = open_engine(small_weights, device="cpu", engine="torch")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(engine._net, "style", fail)
    with pytest.raises(RuntimeError, match="shape mismatch") as caught:
        engine.run(PICTURE)
    assert not isinstance(caught.value, DeviceError)


@pytest.mark.parametrize(
    ("module", "suffix", "sentence"),
    [
        ("torch", ".pth", r"needs torch; pip install 'neural-style-pipeline\[torch\]'"),
        ("onnxruntime", ".onnx", r"needs onnxruntime; pip install 'neural-style-pipeline\[onnxruntime\]'"),
    ],
)
def test_an_engine_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, suffix: str, sentence: str
) -> None:
    plain_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=module)
        return plain_import(name, *args, **kwargs)

    for loaded in ("engines.torch_engine", "plain_net", "weights", "transformer_net"):
        monkeypatch.delitem(sys.modules, f"neural_style.{loaded}", raising=False)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / f"model{suffix}").write_bytes(b"a model")
    with pytest.raises(EngineError, match=sentence):
        open_engine(tmp_path / f"model{suffix}")


@pytest.mark.slow
@pytest.mark.parametrize("module", TORCH_FREE)
def test_modules_that_do_without_torch_import_none(module: str) -> None:
    code = (
        f"import sys, neural_style{module}\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'onnxruntime', 'luigi', 'boto3', 'botocore', 'click', 'tqdm'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def accelerator() -> str | None:
    best = available_devices()[0]
    return None if best == "cpu" else best


@pytest.mark.gpu
@pytest.mark.skipif(accelerator() is None, reason="neither CUDA nor MPS is there")
@pytest.mark.parametrize("size", [(61, 67), (5, 5), (1, 1), (333, 501)], ids=str)
def test_the_accelerator_agrees_with_the_cpu(small_weights: Path, rng: np.random.Generator, size: tuple) -> None:
    picture: NDArray[np.uint8] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    on_cpu = Stylizer(small_weights, device="cpu").style(picture).astype(int)
    stylizer = Stylizer(small_weights, device="accel")
    assert stylizer.device == accelerator()
    assert np.abs(stylizer.style(picture) - on_cpu).max() <= 1
