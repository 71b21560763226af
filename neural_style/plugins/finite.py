"""A run that leaves the finite numbers fails, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

from ..errors import DivergedError, PluginError, SettingError
from .base import Plugin
from .readback import Readback
from .registry import register_plugin

_NEVER = 2**62


@register_plugin
class FinitePlugin(Plugin):
    """Ends the run with an error when the loss is infinite or no number.

    The losses are looked at on the device, and what was found is fetched without waiting for it: the error may come
    some steps later. Before the run is saved, and at its end, it waits and looks at the state itself too, so that
    nothing which is not finite is ever saved or left as a result.

    Args:
        metric: The entry of ``model.metrics`` to look at after every step.
        every_steps: How often what was found is fetched.

    Raises:
        SettingError: a number is outside what it may be.
    """

    plugin_id = "finite"

    def __init__(self, metric: str = "loss", *, every_steps: int = 10) -> None:
        super().__init__(self.plugin_id)
        if every_steps < 1:
            raise SettingError(f"every_steps wants at least 1, found {every_steps}")
        self.metric, self.every_steps = metric, every_steps
        self._readback = Readback()
        self._first_bad_step: torch.Tensor | None = None

    def on_training_start(self) -> None:
        """Forget what an earlier run left."""
        self._readback = Readback()
        self._first_bad_step = None

    def on_training_batch_end(self) -> None:
        """Note on the device whether the loss is finite, and look at what was noted and has arrived by now.

        Raises:
            DivergedError: it was not, in one of the last steps.
            PluginError: the model has no such metric.
        """
        first_bad_step = self._note(self._loss())
        if self.trainer.state.step % self.every_steps == 0:
            self._readback.send(self._earliest(first_bad_step))
        self._raise_if_bad(self._readback.take())

    def state_dict(self) -> dict[str, Any]:
        """Return nothing, but of a run that is finite in all its parts alone.

        Raises:
            DivergedError: the loss of a step, or the model's state, is not.
        """
        self._look()
        return {}

    def on_training_end(self) -> None:
        """Look once more, so that nobody takes what was left for a result.

        Raises:
            DivergedError: as in `state_dict`.
        """
        self._look()

    def _look(self) -> None:
        """Wait for the device, and look at the losses up to now and at the model's state."""
        is_bad = torch.zeros((), dtype=torch.bool, device=self.device)
        for tensor in _tensors(self.trainer.model.state_dict()):
            if tensor.is_floating_point():
                is_bad |= ~torch.isfinite(tensor).all().to(self.device)
        step = self._step_where(is_bad)
        if self._first_bad_step is not None:
            step = torch.minimum(step, self._first_bad_step)
        self._raise_if_bad(self._earliest(step))

    def _loss(self) -> Any:
        try:
            return self.trainer.model.metrics[self.metric]
        except KeyError:
            raise PluginError(
                f"FinitePlugin looks at metrics[{self.metric!r}], which the model has not set; name one that it sets"
            ) from None

    def _note(self, loss: Any) -> torch.Tensor:
        """Keep, on the device, the number of the first step whose loss is not finite."""
        if isinstance(loss, torch.Tensor):
            loss = loss.detach().to(self.device, non_blocking=True)
        else:
            loss = torch.full((), float(loss), device=self.device)
        step = self._step_where(~torch.isfinite(loss).all())
        found = step if self._first_bad_step is None else torch.minimum(self._first_bad_step, step)
        self._first_bad_step = found
        return found

    def _step_where(self, is_bad: torch.Tensor) -> torch.Tensor:
        # Of tensors that are filled on the device: a plain number here would be copied there, and waited for.
        present, never = (
            torch.full((), value, dtype=torch.int64, device=self.device) for value in (self.trainer.state.step, _NEVER)
        )
        return torch.where(is_bad, present, never)

    def _earliest(self, step: torch.Tensor) -> torch.Tensor:
        """Agree with the other processes: all fail, or none, since one that went on would wait for the others."""
        if not self.is_distributed:
            return step
        step = step.clone()
        dist.all_reduce(step, op=dist.ReduceOp.MIN)
        return step

    def _raise_if_bad(self, first_bad_step: torch.Tensor | None) -> None:
        if first_bad_step is not None and int(first_bad_step) < _NEVER:
            raise DivergedError(
                f"the {self.metric} is not finite after step {int(first_bad_step)}: training has diverged, and nothing "
                "of it is kept; use a lower learning rate"
            )


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    """Find the tensors in nested plain data."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)
