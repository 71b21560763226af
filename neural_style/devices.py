"""Devices of torch: which are there, what they can compute in, and what they say when their memory is full."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import DeviceError, DeviceMemoryError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


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


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype that a configuration asks for, or float32 where the device has no bfloat16 of its own."""
    has_bf16 = False
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        abilities = torch.cpu.get_capabilities()
        has_bf16 = any(abilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if precision == "bf16" and has_bf16 else torch.float32


@contextmanager
def memory_faults(device: str, *, what: str, remedy: str = "use --max-side") -> Iterator[None]:
    """Say what did not fit where; every backend has its own error for it, most a plain RuntimeError.

    Args:
        device: where the block computes.
        what: it computes.
        remedy: what a user can do, besides taking another device.

    Raises:
        DeviceMemoryError: there was not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as err:
        is_ours = isinstance(err, DeviceError)
        if is_ours or not isinstance(err, MemoryError) and not any(text in str(err).lower() for text in _OUT_OF_MEMORY):
            raise
        fault = DeviceMemoryError(f"{device} has not enough memory for {what}; {remedy}, or another device")
        fault.__cause__ = err.with_traceback(None)  # whose frames would keep the tensors alive
    else:
        return
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    raise fault
