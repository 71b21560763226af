"""A bar on the terminal while a run trains."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .base import Plugin
from .readback import MetricsReadback
from .registry import register_plugin

if TYPE_CHECKING:
    from typing import TextIO

    from tqdm import tqdm


@register_plugin
class ProgressPlugin(Plugin):
    """Shows steps and metrics of process 0 on standard error, if that is a terminal; it never waits for the device.

    Args:
        total_steps: Length of the run; the trainer's ``max_steps`` where it is not given.
        metrics: Which of ``model.metrics`` to show beside the bar.
        refresh_s: How often these are brought up to date.
        file: Another stream; then it is written to whether it is a terminal or not.
    """

    plugin_id = "progress"

    def __init__(
        self,
        *,
        total_steps: int | None = None,
        metrics: tuple[str, ...] = ("loss",),
        refresh_s: float = 0.5,
        file: TextIO | None = None,
    ) -> None:
        super().__init__(self.plugin_id)
        self.total_steps, self.metrics, self.refresh_s, self.file = total_steps, metrics, refresh_s, file
        self._bar: tqdm[Any] | None = None
        self._readback = MetricsReadback()
        self._sent_at_s = -float("inf")

    def on_training_batch_end(self) -> None:
        """Move the bar, and show the metrics that have arrived."""
        if self.rank != 0:
            return
        if self._bar is None:  # not at the start: a plug-in after this one may take up a run there
            self._bar = self._new_bar()
        self._bar.update()
        self._show(self._readback.take())
        if self._readback.is_free and time.monotonic() - self._sent_at_s >= self.refresh_s:
            self._send()

    def on_training_end(self) -> None:
        """Show the last metrics."""
        if self._bar is not None:
            self._send()
            self._show(self._readback.take(wait=True))

    def teardown(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._readback, self._sent_at_s = None, MetricsReadback(), -float("inf")

    def _new_bar(self) -> tqdm[Any]:
        from tqdm import tqdm

        return tqdm(
            total=self.total_steps or self.trainer.max_steps,
            initial=self.trainer.state.step - 1,
            desc=self.trainer.model.save_name,
            unit="step",
            file=self.file,
            disable=False if self.file is not None else None,
        )

    def _send(self) -> None:
        found = self.trainer.model.metrics
        self._readback.send({name: found[name] for name in self.metrics if name in found}, step=self.trainer.state.step)
        self._sent_at_s = time.monotonic()

    def _show(self, arrived: tuple[int, dict[str, float]] | None) -> None:
        if arrived is not None and self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in arrived[1].items()}, refresh=False)
