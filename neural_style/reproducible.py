"""Settings of torch under which the same seed gives the same weights, for the length of a run."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils import deterministic as _filling

filling: Any = _filling  # whose one setting its type does not tell of

_float32_lock = threading.Lock()
_float32_before: list[list[str]] = []
"""The settings before each block of `full_float32` that has not ended; the first ones are the program's own."""


@contextmanager
def run_settings(*, threads: int | None, deterministic: bool) -> Iterator[None]:
    """Set the number of threads and the choice of algorithms for the block, and put both back after it.

    What is float32 is computed in float32: CUDA's convolutions would take TF32 unasked.

    Args:
        threads: For the arithmetic on the CPU; None leaves it as it is. Another number gives other roundings.
        deterministic: Take algorithms that give the same bits each time, where torch has them. Else CUDA tries which
            are the fastest, which costs the first steps of each shape.
    """
    with ExitStack() as stack:
        if threads:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        stack.enter_context(_algorithms(deterministic))
        stack.enter_context(full_float32())
        yield


@contextmanager
def full_float32() -> Iterator[None]:
    """Switch TF32 off for this block: with its 10-bit mantissa CUDA's results differ from the CPU's by whole levels.

    Threads may be in such blocks at once: the settings are the process's, and the last to leave puts them back.

    By the settings of single operations: `cudnn.flags(allow_tf32=False)` does not override a
    `torch.backends.fp32_precision` of "tf32", and raises on leaving (torch 2.15).
    """
    settings: tuple[Any, ...] = (
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]  # torch puts it there at import
        torch.backends.cuda.matmul,
    )
    with _float32_lock:
        _float32_before.append([setting.fp32_precision for setting in settings])
        for setting in settings:
            setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _float32_lock:
            for setting, precision in zip(settings, _float32_before.pop(), strict=True):
                setting.fp32_precision = precision


@contextmanager
def _algorithms(deterministic: bool) -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    before_cudnn = cudnn.benchmark, cudnn.deterministic
    before_filling = filling.fill_uninitialized_memory
    try:
        cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
        if deterministic:
            # Some have no such algorithm on CUDA (reflection padding backwards): those run as they are, unsaid.
            torch.use_deterministic_algorithms(True, warn_only=True)
            filling.fill_uninitialized_memory = False  # it writes NaN into all new memory: a guard for debugging only
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            warnings.filterwarnings("ignore", message="Deterministic behavior was enabled")  # of cuBLAS
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, cudnn.deterministic = before_cudnn
        filling.fill_uninitialized_memory = before_filling
