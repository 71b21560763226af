"""A run that leaves the finite numbers, or whose loss grows out of all measure, fails: nothing of it is kept."""

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
_NEW_SHARE = 0.1
"""Of a step's loss in the smoothed one: that of a single step has to be a hundred times higher to raise it tenfold."""


@register_plugin
class FinitePlugin(Plugin):
    """Ends the run with an error when the loss is infinite or no number, or has grown too much.

    The losses are looked at on the device, and what was found is fetched without waiting for it: the error may come
    some steps later. Before the run is saved, and at its end, it waits and looks at the state itself too, so that
    nothing which is not finite is ever saved or left as a result.

    Normalised nets stay finite at any learning rate, and paint one colour in the end; their loss tells. It is smoothed
    over some ten steps and compared with that of the first step, or the first since `Model.loss_changes_at`.

    Args:
        metric: The entry of ``model.metrics`` to look at after every step.
        every_steps: How often what was found is fetched.
        most_growth: How many times as high as the first the smoothed loss may be, for losses that are above 0 and fall
            where a run is sound; None does not compare them.

    Raises:
        SettingError: a number is outside what it may be.
    """

    plugin_id = "finite"

    def __init__(self, metric: str = "loss", *, every_steps: int = 10, most_growth: float | None = None) -> None:
        super().__init__(self.plugin_id)
        if every_steps < 1:
            raise SettingError(f"every_steps wants at least 1, found {every_steps}")
        if most_growth is not None and not most_growth > 1:
            raise SettingError(f"most_growth wants more than 1, found {most_growth}")
        self.metric, self.every_steps, self.most_growth = metric, every_steps, most_growth
        self._readback = Readback()
        self._bad_steps: torch.Tensor | None = None
        self._losses: torch.Tensor | None = None
        self._kind = 0

    def on_training_start(self) -> None:
        """Forget an earlier run; a checkpoint that is loaded before or after this brings its own losses."""
        self._readback = Readback()
        self._bad_steps = None
        if self.trainer.state.step == 0:
            self._losses = None

    def on_training_batch_end(self) -> None:
        """Note on the device how the loss is, and look at what was noted and has arrived by now.

        Raises:
            DivergedError: it was not finite, or too high, in one of the last steps.
            PluginError: the model has no such metric.
        """
        loss = self._loss()
        if self.most_growth is not None:
            self._smooth(loss.float().mean())
        self._note(~torch.isfinite(loss).all())
        if self.trainer.state.step % self.every_steps == 0:
            self._readback.send(self._earliest())
        self._raise_if_bad(self._readback.take())

    def state_dict(self) -> dict[str, Any]:
        """Return the first and the smoothed loss of every process, but of a run that has not diverged alone.

        Raises:
            DivergedError: the loss of a step, or the model's state, is not finite; or the loss has grown too much.
        """
        self._look()
        if self._losses is None:
            return {}
        own, group = self._losses.cpu(), self.trainer.group
        return {"losses": [own] if group is None else group.gathered(own), "kind": self._kind}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on comparing where the run stood."""
        self._losses, self._kind = state["losses"][self.rank].to(self.device), state["kind"]

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
        self._note(is_bad)
        self._raise_if_bad(self._earliest())

    def _loss(self) -> torch.Tensor:
        try:
            loss = self.trainer.model.metrics[self.metric]
        except KeyError:
            raise PluginError(
                f"FinitePlugin looks at metrics[{self.metric!r}], which the model has not set; name one that it sets"
            ) from None
        if isinstance(loss, torch.Tensor):
            return loss.detach().to(self.device, non_blocking=True)
        return torch.full((), float(loss), device=self.device)

    def _smooth(self, loss: torch.Tensor) -> None:
        """Keep, on the device, the first loss of its kind and the smoothed one."""
        step, changes = self.trainer.state.step, self.trainer.model.loss_changes_at
        kind = sum(step > change for change in changes)
        if self._losses is None or kind != self._kind:
            self._losses, self._kind = torch.stack([loss, loss]), kind
        else:
            first, smoothed = self._losses
            self._losses = torch.stack([first, torch.lerp(smoothed, loss, _NEW_SHARE)])

    def _note(self, is_bad: torch.Tensor) -> None:
        """Keep, on the device, the number of the first step that is not finite, and of the first that is too high."""
        found = torch.stack([is_bad, self._has_grown()])
        # Of tensors that are filled on the device: a plain number here would be copied there, and waited for.
        present, never = (
            torch.full((), value, dtype=torch.int64, device=self.device) for value in (self.trainer.state.step, _NEVER)
        )
        steps = torch.where(found, present, never)
        self._bad_steps = steps if self._bad_steps is None else torch.minimum(self._bad_steps, steps)

    def _has_grown(self) -> torch.Tensor:
        if self.most_growth is None or self._losses is None:
            return torch.zeros((), dtype=torch.bool, device=self.device)
        first, smoothed = self._losses
        has_grown: torch.Tensor = (smoothed > first * self.most_growth) & (first > 0)
        return has_grown

    def _earliest(self) -> torch.Tensor:
        """Agree with the other processes: all fail, or none, since one that went on would wait for the others."""
        assert self._bad_steps is not None
        if not self.is_distributed:
            return self._bad_steps
        steps = self._bad_steps.clone()
        dist.all_reduce(steps, op=dist.ReduceOp.MIN)
        return steps

    def _raise_if_bad(self, bad_steps: torch.Tensor | None) -> None:
        if bad_steps is None:
            return
        infinite, grown = bad_steps.tolist()
        if infinite < _NEVER:
            found = f"the {self.metric} is not finite after step {infinite}"
        elif grown < _NEVER:
            found = f"after step {grown} the {self.metric} is more than {self.most_growth:g} times as high as at first"
        else:
            return
        raise DivergedError(f"{found}: training has diverged, and nothing of it is kept; use a lower learning rate")


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
