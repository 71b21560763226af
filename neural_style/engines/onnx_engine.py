"""Models in the ONNX format, by onnxruntime, on CUDA or the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, DeviceMemoryError, EngineError, WeightsError
from ..memory_plan import full_size_channels
from ..model_file import refuse_what_is_no_model
from ..pixels import ArraySource, is_flat
from ..quick_import import garbage_kept
from .processor import num_cores

_ONLY_FATAL = 4
_UNKNOWN_BYTES_PER_PIXEL = 1600
"""That of the published net with 32 channels."""

_LARGE_PX = 4_000_000

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class MadeOnnx:
    """Published weights as ONNX models.

    Attributes:
        content: of the one for most pictures.
        plain_content: returns that of the one for large pictures and those of one colour.
        bytes_per_pixel: what a run takes over idle.
    """

    content: bytes
    plain_content: Callable[[], bytes]
    bytes_per_pixel: int


class OnnxEngine:
    """An ONNX model, loaded once; see `neural_style.engines.Engine`.

    Args:
        model_path: an ``.onnx`` file, or the file that ``content`` was made from.
        device: ``auto``, ``accel``, ``cpu``, ``cuda`` or ``cuda:1``.
        threads: of the CPU; None or 0 means all cores.
        made: what was made of published weights at ``model_path``, where that is no ``.onnx`` file.

    Raises:
        WeightsError: it is no such model.
        DeviceError: the device is not there.
        EngineError: onnxruntime is not installed.
    """

    name = "onnxruntime"
    precision = arithmetic = "float32"

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        device: str = "auto",
        threads: int | None = None,
        made: MadeOnnx | None = None,
    ) -> None:
        runtime = _onnxruntime()
        self.bytes_per_pixel = _UNKNOWN_BYTES_PER_PIXEL if made is None else made.bytes_per_pixel
        self.threads = threads or num_cores()  # said aloud, so that a record can hold it
        self._path = Path(model_path)
        self.version = str(runtime.__version__)
        providers = _providers(device, available=runtime.get_available_providers())
        refuse_what_is_no_model(self._path)
        open_session = partial(_opened, runtime, self._path, providers, threads=self.threads)
        self._session = open_session(None if made is None else made.content)
        on_cuda = self._session.get_providers()[0] == _CUDA
        if not on_cuda and device not in ("auto", "cpu"):
            raise DeviceError(f"the device {device!r} could not be opened by onnxruntime; check its CUDA libraries")
        self.device = ("cuda:0" if device in ("auto", "accel", "cuda") else device) if on_cuda else "cpu"
        self._input, self._fixed_hw = _checked_input(self._session.get_inputs(), self._path)
        self._open_plain = None if made is None else cache(lambda: open_session(made.plain_content()))

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Style one picture; see `neural_style.engines.Engine.run`."""
        height, width = rgb_255_13HW.shape[2:]
        if any(fixed not in (None, found) for fixed, found in zip(self._fixed_hw, (height, width), strict=True)):
            wanted = " x ".join("any" if side is None else str(side) for side in reversed(self._fixed_hw))
            raise EngineError(
                f"{self._path}: this model takes pictures of {wanted} pixels (width x height) only, not "
                f"{width} x {height}; resize the picture, or export the model with free height and width"
            )
        session = self._session
        if self._open_plain is not None and (
            height * width > _LARGE_PX or is_flat(ArraySource(rgb_255_13HW[0].transpose(1, 2, 0)))
        ):
            session = self._open_plain()
        try:
            styled: NDArray[np.float32] = session.run(None, {self._input: rgb_255_13HW})[0]
        except Exception as err:  # onnxruntime's errors derive from nothing but Exception
            if "allocate memory" in str(err):
                raise DeviceMemoryError(
                    f"{self.device} has not enough memory for {width} x {height} pixels; use --max-side, or another "
                    "device"
                ) from err
            raise EngineError(f"{self._path}: onnxruntime could not style {width} x {height} pixels: {err}") from err
        return styled


def bytes_per_pixel(weights: Mapping[str, NDArray[np.float32]]) -> int:
    """Return what a run of published weights takes over idle for each pixel of the picture.

    Measured with 1.31 at 4, 8, 16 and 32 channels: 150, 323, 600 and 1227, and up to a third more for large pictures.
    """
    return 120 + 46 * full_size_channels(weights)


def _onnxruntime() -> Any:
    # By itself it sends its makers what it sees of machine and models; the name is read once, as it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        with garbage_kept():
            import onnxruntime
    except ModuleNotFoundError as err:
        raise EngineError(
            "running .onnx models needs onnxruntime; pip install 'neural-style-pipeline[onnxruntime]'"
        ) from err
    onnxruntime.set_default_logger_severity(_ONLY_FATAL)
    return onnxruntime


def _providers(device: str, *, available: list[str]) -> list[Any]:
    """Choose onnxruntime's back ends for a device.

    Raises:
        DeviceError: this onnxruntime cannot use it.
    """
    if device == "cpu" or (device == "auto" and _CUDA not in available):
        return [_CPU]
    if device == "mps" or _CUDA not in available:
        there = ["cuda"] * (_CUDA in available) + ["cpu"]
        raise DeviceError(f"the device {device!r} is not there for .onnx models; onnxruntime has: {', '.join(there)}")
    index = int(device.partition(":")[2] or 0)
    return [(_CUDA, {"device_id": index, "use_tf32": 0}), _CPU]


def _opened(runtime: Any, path: Path, providers: list[Any], content: bytes | None, *, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread that waits leaves its core
    options.log_severity_level = _ONLY_FATAL
    try:
        return runtime.InferenceSession(str(path) if content is None else content, options, providers=providers)
    except Exception as err:  # InvalidProtobuf, InvalidGraph, Fail...: none has a base of its own
        raise WeightsError(f"{path}: not a model that onnxruntime can read (damaged, or no ONNX file): {err}") from err


def _checked_input(inputs: list[Any], path: Path) -> tuple[str, tuple[int | None, int | None]]:
    """Return the input's name and the height and width that the model insists on, if it does."""
    found = [f"{entry.type} {entry.shape}" for entry in inputs]
    shape = inputs[0].shape if len(inputs) == 1 else []
    if len(shape) != 4 or inputs[0].type != "tensor(float)" or shape[1] not in (3, None) or shape[0] == 0:
        raise WeightsError(f"{path}: wanted a model with one float input (1, 3, height, width), found {found}")
    height, width = (side if isinstance(side, int) else None for side in shape[2:])
    return inputs[0].name, (height, width)
