"""What runs the net, behind one small interface on numpy arrays.

Axes: H height, W width; 1 picture, 3 channels. Range ``_255``: 0-255.
Nothing here imports an engine before it is asked for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..contract import DEFAULT_PRECISION, ENGINES, PRECISIONS
from ..errors import DeviceError, SettingError
from ..quick_import import garbage_kept

_DEVICE = re.compile(r"auto|accel|cpu|mps|cuda(:[0-9]{1,4})?")


class Engine(Protocol):
    """A model that is loaded and ready.

    Attributes:
        name: the library, as `Stylizer.description` gives it.
        version: of the library.
        device: where it runs, such as ``cpu`` or ``cuda:1``; never ``auto``.
        threads: on the CPU; 0 means that the library decides.
        precision: the promise that results keep: ``float32`` or ``fast``.
        arithmetic: of most of the work, such as ``float32`` or ``bfloat16``.
        bytes_per_pixel: what a picture takes on the device while it is styled, for each of its pixels.
    """

    name: str
    version: str
    device: str
    precision: str
    arithmetic: str
    bytes_per_pixel: int

    @property
    def threads(self) -> int:
        """How many threads of the CPU a run may use."""
        ...

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Style one picture.

        Args:
            rgb_255_13HW: 0-255, contiguous.

        Returns:
            Shape ``(1, 3, H', W')``, about 0-255, not clamped; H' and W' as the net gives them.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a model is to be run; see `open_engine`."""

    device: str
    threads: int | None
    precision: str


def open_engine(
    model_path: str | os.PathLike[str],
    *,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    precision: str = DEFAULT_PRECISION,
    cache: str | os.PathLike[str] | None = None,
) -> Engine:
    """Load a model: ``.onnx`` with onnxruntime, anything else as weights of the published net.

    Weights are run by torch on an accelerator; on the CPU by the first of OpenVINO, onnxruntime and torch that is
    installed and proves that it keeps its promise with this model. One that does not is a warning.

    Args:
        model_path: a local file.
        device: ``auto`` (the best there is), ``accel`` (the best accelerator there is), ``cpu``, ``cuda``, ``cuda:1``
            or ``mps``.
        threads: of the CPU, for one picture; None or 0 leaves that to the library. With 1, as many pictures as there
            are cores may be styled at once.
        engine: one of `neural_style.contract.ENGINES`.
        precision: one of `neural_style.contract.PRECISIONS`. ``fast`` is float32 where there is nothing faster.
        cache: folder for what is made of weights for OpenVINO and onnxruntime, which takes torch; None: it is made
            once in each process.

    Raises:
        WeightsError: the file is not such a model.
        DeviceError: the device is not there.
        EngineError: the library is not installed, cannot run such a model, or does not keep its promise with it.
        SettingError: there is no such engine or precision.
    """
    if engine not in ENGINES:
        raise SettingError(f"{engine!r} is no engine; use one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise SettingError(f"{precision!r} is no precision; use one of {', '.join(PRECISIONS)}")
    if not _DEVICE.fullmatch(device):
        raise DeviceError(f"{device!r} is no device; use auto, cpu, cuda, cuda:1 or mps ({_what_there_is()})")
    from .opening import open_onnx, open_weights

    if Path(model_path).suffix.lower() == ".onnx":
        return open_onnx(Path(model_path), engine, device=device, threads=threads)
    wanted = Wanted(device=device, threads=threads, precision=precision)
    return open_weights(model_path, engine, wanted, cache=cache)


def _what_there_is() -> str:
    try:
        with garbage_kept():
            from ..devices import available_devices
    except ModuleNotFoundError:
        return "this machine has: cpu"
    return "this machine has: " + ", ".join(available_devices())
