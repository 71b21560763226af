"""The net in PyTorch, on CUDA, MPS or the CPU: whole pictures, and any picture in bands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..banded_net import BandedNet
from ..contract import DEFAULT_PRECISION
from ..cuda_runner import CudaRunner
from ..devices import arithmetic, memory_faults, resolve_device
from ..errors import DeviceMemoryError
from ..memory_plan import BandPlan, band_plan, whole_bytes_per_pixel
from ..pixels import ArraySource, PixelSink, PixelSource, is_flat
from ..reproducible import full_float32
from ..transformer_net import TransformerNet
from ..weights import load_network

# On the CPU a band and what is made of it fit into the processor's cache; a GPU wants as much at once as there is.
_CPU_BAND_BYTES = 64 << 20
_GPU_BAND_BYTES = 1 << 40


class TorchEngine:
    """Published weights, loaded once; see `neural_style.engines.Engine`."""

    name = "torch"

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: str = DEFAULT_PRECISION,
    ) -> None:
        self.device = resolve_device(device)
        with memory_faults(self.device, what="the model"):
            self._set(load_network(model_path).to(self.device), threads=threads, precision=precision)

    @classmethod
    def of_net(cls, net: TransformerNet, *, device: str) -> Self:
        """Run a net that is in memory, and on the device, already; it is not changed."""
        engine = cls.__new__(cls)
        engine.device = device
        engine._set(net, threads=None, precision=DEFAULT_PRECISION)
        return engine

    def _set(self, net: TransformerNet, *, threads: int | None, precision: str) -> None:
        self._threads = threads or 0
        self.version = str(torch.__version__)
        front, rest = _dtypes(precision, torch.device(self.device))
        self.arithmetic = str(rest).removeprefix("torch.")
        self.precision = "float32" if rest == torch.float32 else "fast"
        self._published = net
        with torch.inference_mode():
            self._net = BandedNet(net, front=front, rest=rest)
        self._plain: BandedNet | None = None
        self.bytes_per_pixel = whole_bytes_per_pixel(self._net.channels)
        self._cuda: CudaRunner | None = None
        if self.device.startswith("cuda"):
            self._cuda = CudaRunner(
                lambda rgb_HW3: self._styled_whole(self._net, rgb_HW3),
                device=self.device,
                bytes_per_pixel=self.bytes_per_pixel,
            )

    @property
    def threads(self) -> int:
        """The number asked for, else as torch is set at this moment, which can change between runs."""
        return self._threads or torch.get_num_threads()

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Style one picture; see `neural_style.engines.Engine.run`."""
        rgb_HW3 = rgb_255_13HW[0].transpose(1, 2, 0)
        height, width = rgb_HW3.shape[:2]
        with self._settings(what=f"{width} x {height} pixels"):
            net = self._net_for(ArraySource(rgb_HW3))
            if self._cuda is not None and net is self._net:
                out_HW3 = self._cuda.run(rgb_HW3)
            else:
                out_HW3 = self._styled_whole(net, torch.from_numpy(rgb_HW3).to(self.device)).cpu().numpy()
        return out_HW3.transpose(2, 0, 1)[np.newaxis]

    def _styled_whole(self, net: BandedNet, rgb_HW3: Tensor) -> Tensor:
        """Style a picture that is on the device, without waiting for it."""
        height, width = rgb_HW3.shape[:2]
        out_HW3 = rgb_HW3.new_empty(-(-height // 4) * 4, -(-width // 4) * 4, 3)

        def put(top: int, rows_HW3: Tensor) -> None:
            out_HW3[top : top + len(rows_HW3)] = rows_HW3

        plan = self._plan(height, width, memory_bytes=None)
        assert plan is not None
        net.style(ArraySource(rgb_HW3), put, plan)
        return out_HW3

    def stream(
        self,
        source: PixelSource,
        sink: PixelSink,
        *,
        memory_bytes: int | None,
        folder: Path,
        on_progress: Callable[[float], None] | None = None,
    ) -> BandPlan:
        """Style one picture in a given memory, with the numbers that `run` gives.

        Args:
            source: At least 8 pixels a side.
            sink: Gets the result.
            memory_bytes: What may be taken on the device besides the net, about; None: no limit.
            folder: For files that the memory does not hold.
            on_progress: Is told what part is done, 0 to 1.

        Returns:
            What was kept where, and how tall the bands were.

        Raises:
            DeviceMemoryError: not even one row fits.
            OutputError: the disk has not enough space.
            EngineError: the output holds numbers that are not finite.
        """
        plan = self._plan(source.height, source.width, memory_bytes=memory_bytes)
        if plan is None:
            raise DeviceMemoryError(
                f"{source.width} x {source.height} pixels: not even one band fits into {memory_bytes} bytes; "
                "give more memory (--memory), or turn or shrink the picture"
            )
        with self._settings(what=f"{source.width} x {source.height} pixels"):
            self._net_for(source).style(
                source,
                lambda top, rows_HW3: sink.put(top, rows_HW3.cpu().numpy()),
                plan,
                folder=folder,
                on_progress=on_progress,
            )
        return plan

    def _plan(self, height: int, width: int, *, memory_bytes: int | None) -> BandPlan | None:
        wanted = _CPU_BAND_BYTES if self.device == "cpu" else _GPU_BAND_BYTES
        return band_plan(
            height, width, channels=self._net.channels, memory_bytes=memory_bytes, wanted_band_bytes=wanted
        )

    @contextmanager
    def _settings(self, *, what: str) -> Iterator[None]:
        with (
            torch.inference_mode(),
            full_float32(),
            _num_threads(self._threads),
            memory_faults(self.device, what=what),
        ):
            yield

    def _net_for(self, source: PixelSource) -> BandedNet:
        return self._plain_net() if is_flat(source) else self._net

    def _plain_net(self) -> BandedNet:
        if self._plain is None:
            self._plain = BandedNet(self._published, plain=True)
        return self._plain


def _dtypes(precision: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """Return the dtypes of the first two layers and of the others.

    float16 has eight times bfloat16's exactness, so on CUDA it does for the first layers, too.
    """
    if precision == DEFAULT_PRECISION:
        return torch.float32, torch.float32
    if device.type == "cuda":
        return torch.float16, torch.float16
    return torch.float32, arithmetic("bf16", device)


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
