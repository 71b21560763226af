"""The learning rate over the steps of a run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import Optimizer

from ..errors import PluginError, SettingError
from .base import Plugin
from .registry import register_plugin

KINDS = ("constant", "cosine")


@register_plugin
class SchedulePlugin(Plugin):
    """Sets the learning rate of the model's optimisers before each step, as a share of what they were made with.

    It follows from the number of the step alone, so a resumed run needs nothing more.

    Args:
        kind: ``constant``, or ``cosine``: half a wave down to ``final`` at the last step.
        warmup_steps: Over so many first steps the rate rises from nearly nothing in equal parts.
        total_steps: Length of the run; the trainer's ``max_steps`` where it is not given.
        final: The share that is left at the end of a cosine, 0 to 1.

    Raises:
        SettingError: an argument is outside what it may be.
    """

    plugin_id = "schedule"

    def __init__(
        self, kind: str = "cosine", *, warmup_steps: int = 0, total_steps: int | None = None, final: float = 0.0
    ) -> None:
        super().__init__(self.plugin_id)
        if kind not in KINDS:
            raise SettingError(f"kind of schedule wants one of {', '.join(KINDS)}, found {kind!r}")
        if warmup_steps < 0 or (total_steps is not None and total_steps < 1):
            raise SettingError(
                f"warmup_steps wants at least 0 and total_steps at least 1, found {warmup_steps} and {total_steps}"
            )
        if not 0 <= final <= 1:
            raise SettingError(f"final wants a share from 0 to 1, found {final}")
        self.kind, self.warmup_steps, self.total_steps, self.final = kind, warmup_steps, total_steps, final
        self._optimizers: list[Optimizer] = []

    def on_training_start(self) -> None:
        """Find the optimisers, and what their rates are shares of.

        Raises:
            SettingError: a cosine has no end.
            PluginError: the model has no optimiser.
        """
        if self._last_step() is None and self.kind != "constant":
            raise SettingError(f"a {self.kind} schedule wants an end: give it total_steps, or the trainer max_steps")
        self._optimizers = self.trainer.model.optimizers()
        if not self._optimizers:
            raise PluginError("SchedulePlugin found no optimiser: the model's optimizers() wants to return them")
        for group in self._groups():
            rate = group["lr"]
            group.setdefault("initial_lr", rate.clone() if isinstance(rate, torch.Tensor) else rate)

    def on_training_batch_start(self) -> None:
        """Set the rates of the step that comes."""
        share = self.share(self.trainer.state.step)
        for group in self._groups():
            if isinstance(group["lr"], torch.Tensor):  # what a captured or compiled step reads must stay where it is
                group["lr"].copy_(group["initial_lr"] * share)
            else:
                group["lr"] = group["initial_lr"] * share

    def share(self, step: int) -> float:
        """Return the share of the full rate for a step, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        last_step = self._last_step()
        if self.kind == "constant" or last_step is None:
            return 1.0
        progress = min(1.0, (step - self.warmup_steps) / max(1, last_step - self.warmup_steps))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2

    def _last_step(self) -> int | None:
        total = self.total_steps or self.trainer.max_steps
        return None if total is None else total - 1

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]
