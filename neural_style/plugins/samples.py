"""Sample pictures while a run trains."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import SettingError
from ..model import Model
from ..random_state import seeded
from .base import Plugin
from .registry import register_plugin


@register_plugin
class SamplesPlugin(Plugin):
    """Has a function make samples every ``every_steps`` steps and at the end, in process 0.

    The model is in evaluation mode meanwhile and keeps no gradients, and the function's random numbers are of its own:
    whether samples are made does not change the weights. With several processes it must use the net inside what
    `Trainer.wrap` gave (see `unwrapped`), as the others take no part.

    Args:
        make: Called with the model and the number of steps done.
        every_steps: How often.

    Raises:
        SettingError: a number is outside what it may be.
    """

    plugin_id = "samples"

    def __init__(self, make: Callable[[Model, int], object], *, every_steps: int = 500) -> None:
        super().__init__(self.plugin_id)
        if every_steps < 1:
            raise SettingError(f"every_steps wants at least 1, found {every_steps}")
        self.make, self.every_steps = make, every_steps
        self._made_at: int | None = None

    def on_training_start(self) -> None:
        """Forget what an earlier run made."""
        self._made_at = None

    def between_steps(self) -> None:
        """Have samples made if it is time."""
        step = self.trainer.state.step
        is_due = step % self.every_steps == 0 or self.trainer.is_ending
        if self.rank != 0 or step == self._made_at or not is_due:
            return
        self._made_at = step
        model = self.trainer.model
        model.eval()
        try:
            with torch.no_grad(), seeded(self.device, self.trainer.seed, step):
                self.make(model, step)
        finally:
            model.train()
