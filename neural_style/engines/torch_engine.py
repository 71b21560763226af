"""The net in PyTorch, in float32 and nothing less, on CUDA, MPS or the CPU."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DeviceError
from ..reproducible import full_float32
from ..transformer_net import TransformerNet
from ..weights import load_network

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class TorchEngine:
    """Published weights, loaded once; see `neural_style.engines.Engine`."""

    name = "torch"

    def __init__(self, model_path: str | os.PathLike[str], *, device: str = "auto", threads: int | None = None) -> None:
        self.device = resolve_device(device)
        with memory_faults(self.device, what="the model"):
            self._set(load_network(model_path).to(self.device), threads=threads)

    @classmethod
    def of_net(cls, net: TransformerNet, *, device: str) -> Self:
        """Run a net that is in memory, and on the device, already; it is not changed."""
        engine = cls.__new__(cls)
        engine.device = device
        engine._set(net, threads=None)
        return engine

    def _set(self, net: TransformerNet, *, threads: int | None) -> None:
        self._net, self._threads = net, threads or 0
        self.version = str(torch.__version__)

    @property
    def threads(self) -> int:
        """The number asked for, else as torch is set at this moment, which can change between runs."""
        return self._threads or torch.get_num_threads()

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Style one picture; see `neural_style.engines.Engine.run`."""
        height, width = rgb_255_13HW.shape[2:]
        what = f"{width} x {height} pixels"
        with (
            torch.inference_mode(),
            full_float32(),
            _num_threads(self._threads),
            memory_faults(self.device, what=what),
        ):
            styled: NDArray[np.float32] = self._net(torch.from_numpy(rgb_255_13HW).to(self.device)).cpu().numpy()
        return styled


def available_devices() -> list[str]:
    """Name the devices of this machine, the best first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a driver that does not fit is a machine without CUDA, no more
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)]
        if torch.backends.mps.is_available():
            devices.append("mps")
    return [*devices, "cpu"]


def resolve_device(device: str) -> str:
    """Turn ``auto``, ``accel`` or a device's name into the name of a device that is there.

    Raises:
        DeviceError: it is not there; the sentence says what is.
    """
    there = available_devices()
    if device == "auto":
        return there[0]
    if device == "accel" and there[0] != "cpu":
        return there[0]
    found = {"cuda": "cuda:0"}.get(device, device)
    if found in there:
        return found
    wanted = "an accelerator (cuda or mps)" if device == "accel" else f"the device {device!r}"
    raise DeviceError(f"{wanted} is not there; this machine has: {', '.join(there)}")


@contextmanager
def _num_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads in this block; 0 leaves it as it is."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads:
            torch.set_num_threads(before)


@contextmanager
def memory_faults(device: str, *, what: str, remedy: str = "use --max-side") -> Iterator[None]:
    """Say what did not fit where; every backend has its own error for it, most a plain RuntimeError.

    Args:
        device: where the block computes.
        what: it computes.
        remedy: what a user can do, besides taking another device.

    Raises:
        DeviceError: there was not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as err:
        if not isinstance(err, MemoryError) and not any(text in str(err).lower() for text in _OUT_OF_MEMORY):
            raise
        fault = DeviceError(f"{device} has not enough memory for {what}; {remedy}, or another device")
        fault.__cause__ = err.with_traceback(None)  # whose frames would keep the tensors alive
    else:
        return
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    raise fault
