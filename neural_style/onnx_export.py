"""Published weights as an ONNX model with free height and width.

Axes: B batch, H height, W width; 3 is red, green, blue. Range ``_255``: 0-255.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from csci_utils.io import atomic_path

from .engines.onnx_engine import OnnxEngine
from .errors import EngineError, NeuralStyleError, SettingError, output_error
from .transformer_net import TransformerNet
from .weights import load_network

_CHECKED_SIZES_HW = ((61, 67), (40, 33))
_TOLERANCE_255 = 1.0


def export_onnx(model_path: str | os.PathLike[str], onnx_path: str | os.PathLike[str]) -> None:
    """Write a model that any ONNX runtime can run, one file, whole or not at all.

    It is run once by onnxruntime at two sizes and compared with torch before it is moved into place; without
    onnxruntime only its structure is checked. Nothing is printed.

    Args:
        model_path: weights of the published net.
        onnx_path: ends with ``.onnx``. The model's input and output are called ``input`` and ``output``.

    Raises:
        WeightsError: ``model_path`` does not hold such weights.
        SettingError: ``onnx_path`` has another suffix.
        EngineError: the exporter is not installed, failed, or made a model with other results.
        OutputError: the file could not be written.
    """
    target = Path(onnx_path)
    if target.suffix != ".onnx":
        raise SettingError(f"{target}: the name of an exported model ends with .onnx; change it")
    refuse_without_exporter()
    net = load_network(model_path)
    exported = _exported(net, name=str(model_path))
    try:
        with atomic_path(target, check=lambda scratch: _check_against_torch(scratch, net)) as scratch:
            scratch.write_bytes(exported)
    except NeuralStyleError as err:
        raise EngineError(f"{target}: the exported model is not right, so nothing was kept: {err}") from err
    except OSError as err:
        raise output_error(target, err) from err


def refuse_without_exporter() -> None:
    """Say, before any work, that the exporter is not installed.

    Raises:
        EngineError: it is not; the sentence says how to install it.
    """
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        wanted = " and ".join(missing)
        raise EngineError(f"exporting .onnx models needs {wanted}; pip install 'neural-style-pipeline[onnx]'")


def _exported(net: TransformerNet, *, name: str) -> bytes:
    free_sides = {2: torch.export.Dim("height", min=8), 3: torch.export.Dim("width", min=8)}
    try:
        with _quiet():
            program = torch.onnx.export(
                net,
                (torch.zeros(1, 3, *_CHECKED_SIZES_HW[0]),),
                dynamo=True,
                dynamic_shapes={"rgb_255_B3HW": free_sides},
                input_names=["input"],
                output_names=["output"],
                verbose=False,
            )
            assert program is not None  # only the exporter before `dynamo=True` returns nothing
            model = program.model_proto
    except Exception as err:  # the exporter has a chain of errors of its own, none of them public
        raise EngineError(f"{name}: torch could not export it: {err}") from err
    _forget_origin(model)
    encoded: bytes = model.SerializeToString()
    return encoded


def _forget_origin(model: Any) -> None:
    """Remove the exporter's notes: stack traces with this machine's paths, which change from run to run."""
    for entry in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]
    for entry in (*model.graph.value_info, *model.graph.initializer):
        del entry.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from warning about packages and opsets that nobody asked about."""
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter_log.setLevel(level)


def _check_structure(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as err:  # ValidationError and the errors of shape inference have no base in common
        raise EngineError(f"it is not a valid ONNX model: {err}") from err


def _check_against_torch(path: Path, net: TransformerNet) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        _check_structure(path)
        return
    engine = OnnxEngine(path, device="cpu")
    rng = np.random.default_rng(0)
    for height, width in _CHECKED_SIZES_HW:
        picture_255 = rng.uniform(0, 255, (1, 3, height, width)).astype(np.float32)
        with torch.inference_mode():
            wanted_255 = net(torch.from_numpy(picture_255)).clamp(0, 255).numpy()
        found_255 = engine.run(picture_255).clip(0, 255)
        if found_255.shape != wanted_255.shape:
            raise EngineError(f"it makes {found_255.shape} at {width} x {height} pixels, wanted {wanted_255.shape}")
        worst_255 = float(np.abs(found_255 - wanted_255).max())
        if not worst_255 <= _TOLERANCE_255:
            raise EngineError(f"it differs from torch by {worst_255:.3g} of 255 at {width} x {height} pixels")
