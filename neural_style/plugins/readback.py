"""Numbers read from the device without waiting for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class Readback:
    """Brings small tensors to the host one after the other, while the device goes on.

    On CUDA a copy into pinned memory runs behind the work that is queued already, and `take` looks whether it has
    arrived. Elsewhere the value is there at once; on MPS reading it waits for the device.
    """

    def __init__(self) -> None:
        self._host: torch.Tensor | None = None
        self._event: torch.Event | None = None

    def send(self, value: torch.Tensor) -> None:
        """Start bringing a tensor of few numbers; what was sent before and not taken is forgotten."""
        value = value.detach()
        if value.device.type != "cuda":
            self._host, self._event = value.to("cpu", copy=True), None
            return
        self._host = torch.empty_like(value, device="cpu", pin_memory=True).copy_(value, non_blocking=True)
        self._event = torch.Event(value.device)
        self._event.record(torch.cuda.current_stream(value.device))

    def take(self, *, wait: bool = False) -> torch.Tensor | None:
        """Return what was sent, on the CPU, once it has arrived; else None.

        Args:
            wait: Until it has.
        """
        if self._event is not None:
            if wait:
                self._event.synchronize()
            elif not self._event.query():
                return None
        found, self._host, self._event = self._host, None, None
        return found


class MetricsReadback:
    """Brings a model's metrics to the host in the same way: one copy for all of them."""

    def __init__(self) -> None:
        self._readback = Readback()
        self._names: list[str] = []
        self._known: dict[str, float] = {}
        self._step: int | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing is under way or waits to be taken."""
        return self._step is None

    def send(self, metrics: Mapping[str, Any], *, step: int) -> None:
        """Start bringing those that are one number; what was sent before and not taken is forgotten."""
        single = {name: value for name, value in metrics.items() if is_number(value)}
        there = {name: value for name, value in single.items() if isinstance(value, torch.Tensor) and not value.is_cpu}
        self._known = {name: float(value) for name, value in single.items() if name not in there}
        self._names, self._step = list(there), step
        if there:
            self._readback.send(torch.stack([value.detach().reshape(()).float() for value in there.values()]))

    def take(self, *, wait: bool = False) -> tuple[int, dict[str, float]] | None:
        """Return the step and the numbers that were sent for it, once they have arrived; else None."""
        if self._step is None:
            return None
        values = self._readback.take(wait=wait) if self._names else torch.empty(0)
        if values is None:
            return None
        found = self._step, {**self._known, **dict(zip(self._names, values.tolist(), strict=True))}
        self._step = None
        return found


def is_number(value: Any) -> bool:
    """Tell whether a metric is one number, or a tensor of one."""
    return value.numel() == 1 if isinstance(value, torch.Tensor) else isinstance(value, int | float)
