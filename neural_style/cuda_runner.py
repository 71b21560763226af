"""Whole pictures on CUDA: each caller's copies on a stream of its own, and one launch for a size that is known.

Axes: H height, W width; 3 is red, green, blue. Range ``_255``: 0-255.

A megapixel takes an H100 less than a millisecond, and some hundred kernels take as long to launch one by one. So a
size that is met again is recorded as a graph, and that picture and further ones are copied to where it reads, and
played. Pictures come and go through pinned memory while another thread's is computed.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger("neural_style")

_NUM_GRAPHS = 4
_SEEN_SIZES = 64
_GRAPH_SHARE = 32
"""Of the card's memory one part of so many may be a graph's; it keeps all its maps as long as it lives."""


@dataclass(eq=False)
class _Graph:
    graph: torch.cuda.CUDAGraph
    rgb_255_HW3: Tensor  # noqa: N815 - the axes
    styled_255_HW3: Tensor  # noqa: N815 - the axes
    is_free: torch.cuda.Event


class CudaRunner:
    """Runs one net on one card; threads may call it at once.

    Args:
        style: Styles a picture on the card: takes ``(H, W, 3)``, float32, returns ``(H', W', 3)``, float32, by
            operations of torch alone that wait for nothing.
        device: The card.
        bytes_per_pixel: What that takes.
    """

    def __init__(self, style: Callable[[Tensor], Tensor], *, device: str, bytes_per_pixel: int) -> None:
        self._style, self._device = style, torch.device(device)
        self._bytes_per_pixel = bytes_per_pixel
        self._graphs: OrderedDict[tuple[int, int], _Graph] = OrderedDict()
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._records = True
        self._lock = threading.Lock()
        self._of_thread = threading.local()
        torch.cuda.synchronize(self._device)  # the net was made on another stream than those that will read it

    def run(self, rgb_255_HW3: NDArray[np.float32]) -> NDArray[np.float32]:
        """Style a picture; returns an array of the caller's own."""
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream()):
            there = torch.empty(rgb_255_HW3.shape, dtype=torch.float32, pin_memory=True)
            there.numpy()[:] = rgb_255_HW3
            styled = self._styled(there.to(self._device, non_blocking=True))
            back = torch.empty(styled.shape, dtype=torch.float32, pin_memory=True)
            back.copy_(styled, non_blocking=True)
            self._stream().synchronize()
        return back.numpy()

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._of_thread, "stream"):
            self._of_thread.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._of_thread.stream
        return stream

    def _styled(self, rgb_255_HW3: Tensor) -> Tensor:
        size = (rgb_255_HW3.shape[0], rgb_255_HW3.shape[1])
        with self._lock:
            graph = self._graph(size)
            if graph is not None:
                self._stream().wait_event(graph.is_free)
                graph.rgb_255_HW3.copy_(rgb_255_HW3)
                graph.graph.replay()
                styled = graph.styled_255_HW3.clone()
                graph.is_free.record(self._stream())
                return styled
        return self._style(rgb_255_HW3)

    def _graph(self, size: tuple[int, int]) -> _Graph | None:
        """Return the graph of a size, recorded when the size is met for the second time; None if it has none."""
        if not self._records:
            return None
        if size in self._graphs:
            self._graphs.move_to_end(size)
            return self._graphs[size]
        if size not in self._seen:
            self._seen[size] = None
            if len(self._seen) > _SEEN_SIZES:
                self._seen.popitem(last=False)
            return None
        total_bytes = torch.cuda.get_device_properties(self._device).total_memory
        if self._bytes_per_pixel * size[0] * size[1] > total_bytes // _GRAPH_SHARE:
            return None
        if len(self._graphs) == _NUM_GRAPHS:
            _, oldest = self._graphs.popitem(last=False)
            oldest.is_free.synchronize()  # another thread's picture may be in its memory still
        try:
            self._graphs[size] = self._recorded(size)
        except torch.OutOfMemoryError:  # of the graph, which keeps its maps; the picture itself may fit
            del self._seen[size]
            return None
        except RuntimeError as err:  # of CUDA or its driver; without a graph it goes on as before
            self._records = False
            log.warning("%s: cannot record what it does (%s); styling takes longer there", self._device, err)
            return None
        return self._graphs[size]

    def _recorded(self, size: tuple[int, int]) -> _Graph:
        rgb_255_HW3 = torch.zeros((*size, 3), dtype=torch.float32, device=self._device)
        self._style(rgb_255_HW3)  # libraries set themselves up in each thread, which cannot be recorded
        self._stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads go on allocating and copying meanwhile: only what this one does may not be unsafe.
        with torch.cuda.graph(graph, stream=self._stream(), capture_error_mode="thread_local"):
            styled_255_HW3 = self._style(rgb_255_HW3)
        is_free = torch.cuda.Event()  # type: ignore[no-untyped-call]
        is_free.record(self._stream())
        return _Graph(graph, rgb_255_HW3, styled_255_HW3, is_free)
