"""Which engine runs a model: the one that was asked for, or the first that is there and keeps its promise."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ..contract import DEFAULT_PRECISION
from ..conversions import Conversion
from ..errors import DeviceError, DeviceMemoryError, EngineError
from ..model_cache import warn_once
from ..quick_import import garbage_kept
from . import Engine, Wanted
from .processor import may_have_accelerator
from .proof import prove

_Opener = Callable[[Conversion, Wanted], Engine]


def open_onnx(model_path: Path, engine: str, *, device: str, threads: int | None) -> Engine:
    """Open a user's own ``.onnx`` file, with which nothing can be compared.

    Raises:
        WeightsError, DeviceError, EngineError: as `open_engine`.
    """
    if engine not in ("auto", "onnxruntime"):
        raise EngineError(f"{model_path}: {engine} runs no .onnx files here; give the .pth file it was made from")
    from .onnx_engine import OnnxEngine

    return OnnxEngine(model_path, device=device, threads=threads)


def open_weights(
    model_path: str | os.PathLike[str], engine: str, wanted: Wanted, *, cache: str | os.PathLike[str] | None
) -> Engine:
    """Open weights of the published net.

    Raises:
        WeightsError, DeviceError, EngineError: as `open_engine`.
    """
    conversion = Conversion(model_path, cache=cache)
    if engine != "auto":
        return _proven(engine, conversion, wanted)
    candidates = list(_in_order(wanted))
    fault: EngineError | DeviceError | None = None
    for name, options in candidates:
        try:
            return _proven(name, conversion, options)
        except (EngineError, DeviceMemoryError) as err:
            fault, said = err, str(err)
        except ImportError as err:  # of an installation that is not whole
            said = f"{name} is installed and cannot be imported ({err})"
        if (name, options) != candidates[-1]:
            warn_once(f"{said}; the next engine is taken")
    raise fault or EngineError("styling with .pth weights needs torch; pip install 'neural-style-pipeline[torch]'")


def _in_order(wanted: Wanted) -> Iterator[tuple[str, Wanted]]:
    """Give the engines that could be taken and how they would run, the best first."""
    device = wanted.device
    if device == "auto":
        device = _best_device() if may_have_accelerator() else "cpu"
    if device != "cpu":
        on_card = replace(wanted, device=device)
        yield "torch", on_card
        if wanted.precision != DEFAULT_PRECISION:  # of which float32 keeps the promise, too
            yield "torch", replace(on_card, precision=DEFAULT_PRECISION)
        if wanted.device != "auto":
            return
    on_cpu = replace(wanted, device="cpu")
    for name, needed in (("openvino", ["openvino"]), ("onnxruntime", ["onnxruntime", "onnx"]), ("torch", ["torch"])):
        if any(importlib.util.find_spec(module) is None for module in needed):
            continue
        yield name, on_cpu
        if name == "openvino" and wanted.precision != DEFAULT_PRECISION:
            yield name, replace(on_cpu, precision=DEFAULT_PRECISION)


def _best_device() -> str:
    try:
        with garbage_kept():
            from ..devices import available_devices
    except ImportError:
        return "cpu"
    return available_devices()[0]


def _proven(name: str, conversion: Conversion, wanted: Wanted) -> Engine:
    engine = _OPENERS[name](conversion, wanted)
    # Plain torch is what the others are compared with.
    if (engine.name, engine.device, engine.precision) != ("torch", "cpu", DEFAULT_PRECISION):
        prove(engine, conversion)
    return engine


def _openvino(conversion: Conversion, wanted: Wanted) -> Engine:
    if wanted.device not in ("auto", "cpu"):
        raise DeviceError(f"openvino runs on the CPU alone, not on {wanted.device!r}; use cpu, or the engine torch")
    try:
        from .openvino_engine import OpenVinoEngine
    except ModuleNotFoundError as err:
        raise _missing("openvino", err) from err
    return OpenVinoEngine(conversion.weights(), threads=wanted.threads, precision=wanted.precision)


def _onnxruntime(conversion: Conversion, wanted: Wanted) -> Engine:
    from .onnx_engine import MadeOnnx, OnnxEngine, bytes_per_pixel

    for module in ("onnxruntime", "onnx"):  # before torch is imported to convert the model
        if importlib.util.find_spec(module) is None:
            install = "pip install 'neural-style-pipeline[onnxruntime]'"
            raise EngineError(f"styling with .pth weights by onnxruntime needs {module}; {install}")
    made = MadeOnnx(
        content=conversion.onnx(),
        plain_content=lambda: conversion.onnx(is_plain=True),
        bytes_per_pixel=bytes_per_pixel(conversion.weights()),
    )
    device = "cpu" if wanted.device == "auto" else wanted.device
    return OnnxEngine(conversion.path, device=device, threads=wanted.threads, made=made)


def _torch(conversion: Conversion, wanted: Wanted) -> Engine:
    try:
        with garbage_kept():
            from .torch_engine import TorchEngine
    except ModuleNotFoundError as err:
        raise _missing("torch", err) from err
    return TorchEngine(conversion.path, device=wanted.device, threads=wanted.threads, precision=wanted.precision)


def _missing(name: str, err: ModuleNotFoundError) -> Exception:
    """Return the sentence for a library that is not installed; if it lacks something itself, what Python said."""
    if err.name != name:
        return err
    what = "styling with .pth weights" if name == "torch" else "this engine"
    return EngineError(f"{what} needs {name}; pip install 'neural-style-pipeline[{name}]'")


_OPENERS: dict[str, _Opener] = {"openvino": _openvino, "onnxruntime": _onnxruntime, "torch": _torch}
