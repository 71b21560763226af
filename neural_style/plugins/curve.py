"""How a run went: its metrics every so many steps, kept with the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import SettingError
from .base import Plugin
from .readback import MetricsReadback, is_number
from .registry import register_plugin

Told = Callable[[int, Mapping[str, float]], None]


@register_plugin
class CurvePlugin(Plugin):
    """Notes the model's metrics every ``every_steps`` steps and at the end, without waiting for the device meanwhile.

    A resumed run has the notes of its beginning. Of several processes, each of which learns from its share of a batch,
    the means are noted: all of them have to set the same metrics.

    Args:
        every_steps: How often.
        tell: Called on process 0 with the step and its metrics, when they have arrived.

    Attributes:
        notes: One for each of those steps: ``step`` and the metrics by name, in order.

    Raises:
        SettingError: ``every_steps`` is less than 1.
    """

    plugin_id = "curve"

    def __init__(self, *, every_steps: int = 100, tell: Told | None = None) -> None:
        super().__init__(self.plugin_id)
        if every_steps < 1:
            raise SettingError(f"every_steps wants at least 1, found {every_steps}")
        self.every_steps, self.tell = every_steps, tell
        self.notes: list[dict[str, float]] = []
        self._readback = MetricsReadback()

    def on_training_start(self) -> None:
        """Forget an earlier run; a checkpoint that is loaded before or after this brings its own notes."""
        self._readback = MetricsReadback()
        if self.trainer.state.step == 0:
            self.notes = []

    def between_steps(self) -> None:
        """Take what has arrived, and send for more where it is time."""
        step = self.trainer.state.step
        is_due = step % self.every_steps == 0 or self.trainer.is_ending
        self._take(wait=is_due)
        if is_due and (not self.notes or self.notes[-1]["step"] != step):
            self._readback.send(self._metrics(), step=step)
            self._take(wait=self.trainer.is_ending)

    def state_dict(self) -> dict[str, Any]:
        """Return the notes so far."""
        self._take(wait=True)
        return {"notes": [dict(note) for note in self.notes]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the notes of the run that was saved."""
        self.notes = [dict(note) for note in state["notes"]]

    def _metrics(self) -> Mapping[str, Any]:
        metrics, group = self.trainer.model.metrics, self.trainer.group
        if group is None:
            return metrics
        single = {name: value for name, value in metrics.items() if is_number(value)}
        if not single:
            return {}
        each = [torch.as_tensor(value, device=self.device).detach().reshape(()).float() for value in single.values()]
        return dict(zip(single, group.mean(torch.stack(each)), strict=True))

    def _take(self, *, wait: bool) -> None:
        taken = self._readback.take(wait=wait)
        if taken is not None:
            step, metrics = taken
            self.notes.append({"step": step, **metrics})
            if self.tell is not None and self.rank == 0:
                self.tell(step, metrics)
