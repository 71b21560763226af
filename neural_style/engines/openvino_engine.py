"""The net in OpenVINO, on the CPU, without torch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceMemoryError, EngineError
from ..memory_plan import full_size_channels
from ..pixels import ArraySource, is_flat
from ..quick_import import garbage_kept, give_late, without
from .processor import num_cores

with garbage_kept(), without("openvino.tools.ovc"):
    import openvino as ov

    from .openvino_graph import NORMS_OF_BODY, GraphBuilder
    from .openvino_precision import check_precisions, kept_in_float32, version

give_late(ov, "convert_model", source="openvino.tools.ovc")

Weights = Mapping[str, NDArray[np.float32]]

_OUT_OF_MEMORY = ("bad_alloc", "out of memory", "not enough memory", "cannot allocate", "failed to allocate")
_LARGE_PX = 4_000_000
"""In a larger picture sums are to be exact whatever the precision. What it took is given back after it, which costs the
next one a twentieth of its time."""


class OpenVinoEngine:
    """Published weights, loaded once; see `neural_style.engines.Engine`.

    Args:
        weights: the 62 arrays of the published net, at any width.
        threads: for one picture; None or 0 means all cores. With 1, as many pictures as there are cores may be under
            way at once, in threads of the caller.
        precision: ``float32`` or ``fast``, which is float32 where the processor has no bfloat16.

    Raises:
        EngineError: OpenVINO cannot build the net, or not as it was told to.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, weights: Weights, *, threads: int | None = None, precision: str = "float32") -> None:
        self.version = version()
        self.threads = threads or num_cores()
        self._weights = weights
        self._core = ov.Core()
        self.precision = "fast" if precision == "fast" and _has_bfloat16(self._core) else "float32"
        self.arithmetic = "bfloat16" if self.precision == "fast" else "float32"
        self.bytes_per_pixel = bytes_per_pixel(weights)
        self._num_streams = num_cores() if self.threads == 1 else 1
        self._lock = threading.Lock()
        self._runners: dict[str, _Runner] = {}
        self._runner("usual")

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Style one picture; see `neural_style.engines.Engine.run`."""
        height, width = rgb_255_13HW.shape[2:]
        kind = "usual"
        if is_flat(ArraySource(rgb_255_13HW[0].transpose(1, 2, 0))):
            kind = "flat"
        elif self.precision == "fast" and height * width > _LARGE_PX:
            kind = "large"
        return self._runner(kind).run(rgb_255_13HW)

    def _runner(self, kind: str) -> _Runner:
        """Return what runs a kind of picture, compiled when it is first wanted."""
        with self._lock:
            if kind not in self._runners:
                self._runners[kind] = self._compiled(kind)
            return self._runners[kind]

    def _compiled(self, kind: str) -> _Runner:
        open_runner = partial(
            _Runner, self._core, threads=self.threads, num_streams=self._num_streams if kind == "usual" else 1
        )
        if self.precision == "fast" and kind != "flat":
            try:
                runner = open_runner(partial(self._reduced, kind), hint="bf16")
                check_precisions(runner.compiled)
            except EngineError:
                if kind == "usual":
                    raise
            else:
                return runner
        return open_runner(partial(self._full, kind), hint="f32")

    def _full(self, kind: str) -> Any:
        return GraphBuilder(self._weights, is_plain=kind == "flat").build()

    def _reduced(self, kind: str) -> Any:
        """Build the net with its first two layers kept in float32.

        They see differences of a level or less between neighbours, which bfloat16 rounds away: 30 to 37 dB instead of
        44 to 50 on a smooth picture. Of large pictures the norms at half and full size near the end are kept, too:
        at 4000 x 6000 they make 46 dB of 32.
        """
        by_mvn = [name for name in NORMS_OF_BODY if kind == "usual" or name not in ("in4", "in5")]
        return kept_in_float32(self._core, GraphBuilder(self._weights, by_mvn=by_mvn).build())


class _Runner:
    """A graph, compiled, and as many requests as may be under way at once.

    Args:
        core: an `openvino.Core`.
        build: returns the graph.
        threads: for each request.
        num_streams: how many requests may run at once.
        hint: ``f32`` or ``bf16``.

    Raises:
        EngineError: OpenVINO cannot build or compile it.
    """

    def __init__(
        self, core: Any, build: Callable[[], Any], *, threads: int, num_streams: int, hint: str = "f32"
    ) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads * num_streams,
            "NUM_STREAMS": num_streams,
            "ENABLE_CPU_PINNING": False,  # whoever else is pinned to the same core would wait
        }
        try:
            self.compiled = core.compile_model(build(), "CPU", settings)
        except (RuntimeError, OSError) as err:
            raise EngineError(f"OpenVINO could not build the net: {err}") from err
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(num_streams):
            self._idle.put(self.compiled.create_infer_request())

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `neural_style.engines.Engine.run`."""
        height, width = rgb_255_13HW.shape[2:]
        try:
            with self._request() as request:
                styled: NDArray[np.float32] = request.infer({0: rgb_255_13HW}, share_inputs=True)[0]
        except (RuntimeError, MemoryError) as err:
            if isinstance(err, MemoryError) or any(text in str(err).lower() for text in _OUT_OF_MEMORY):
                raise DeviceMemoryError(
                    f"cpu has not enough memory for {width} x {height} pixels; use --max-side, or another device"
                ) from err
            raise EngineError(f"OpenVINO could not style {width} x {height} pixels: {err}") from err
        finally:
            if height * width > _LARGE_PX:
                with suppress(RuntimeError):  # while other pictures are under way
                    self.compiled.release_memory()
        return styled

    @contextmanager
    def _request(self) -> Iterator[Any]:
        """Have a request to oneself; where all are taken, wait: more at once would only take memory."""
        request = self._idle.get()
        try:
            yield request
        finally:
            self._idle.put(request)


def bytes_per_pixel(weights: Weights) -> int:
    """Return what a run takes over idle for each pixel of the picture, at either precision.

    Measured with 2026.4 at 8, 16 and 32 channels: 110, 184 and 330; and the picture's own floats.
    """
    return 60 + 10 * full_size_channels(weights)


def _has_bfloat16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
