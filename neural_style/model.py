"""What is trained: the hooks and the steps of which the trainer's loop is made, to derive from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .distributed import unwrapped
from .trainer_part import TrainerPart

_STATEFUL = (nn.Module, Optimizer, LRScheduler, GradScaler)


class Model(TrainerPart):
    """Nets, optimisers and what a step does with them; every hook may be left as it is.

    The loop never waits for the device, so nor should a step: what `metrics` holds may be tensors of one number.
    Whatever is random in a step comes best from the seed and ``trainer.state.step``; then a resumed run, or one of
    several processes, draws the same.

    Args:
        save_name: Names the files of this run, checkpoints among them.

    Attributes:
        metrics: What the run measures, by name: numbers, or tensors of one.
        save_name: As given; plug-ins may change it before training starts.
        loss_changes_at: Steps after which ``metrics["loss"]`` is made of other parts, and says nothing beside those
            before it.
    """

    loss_changes_at: tuple[int, ...] = ()

    def __init__(self, save_name: str = "model") -> None:
        self.save_name = save_name
        self.metrics: dict[str, Any] = {}

    def setup(self, fast_init: bool = False) -> None:
        """Make nets and optimisers, on `device`; called once, before any other hook.

        Args:
            fast_init: Only what testing needs: no optimiser, say.
        """

    def teardown(self) -> None:
        """Close what is open; called however a run ends, and perhaps before `setup`. The model may be tested after."""

    def train(self) -> None:
        """Put the nets into training mode, but those that nothing trains."""
        for _, net in self._nets():
            net.train(any(parameter.requires_grad for parameter in net.parameters()))

    def eval(self) -> None:
        """Put the nets into evaluation mode."""
        for _, net in self._nets():
            net.eval()

    def optimizers(self) -> list[Optimizer]:
        """The optimisers among this model's attributes, for plug-ins that set their learning rate."""
        return [value for value in vars(self).values() if isinstance(value, Optimizer)]

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as tensors and plain data.

        As it stands: the state of every net, optimiser, schedule and gradient scaler among the attributes. Override
        both this and `load_state_dict` where that is too much (nets that stay as they were) or too little.
        """
        return {name: unwrapped(value).state_dict() for name, value in self._stateful()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; what `setup` did not make (``fast_init``) is passed over.

        Raises:
            KeyError, RuntimeError: it is another model's.
        """
        for name, value in self._stateful():
            unwrapped(value).load_state_dict(state[name])

    def on_training_start(self) -> None:
        """Before the first epoch of a run or of its resumption."""

    def on_training_epoch_start(self) -> None:
        """Before the first batch of an epoch; again when a run goes on in the middle of one."""

    def on_training_batch_start(self) -> None:
        """Before `train_step`."""

    def train_step(self, batch: Any) -> None:
        """Learn from one batch, as the plug-ins left it; ``trainer.state.step`` counts the steps before this one."""

    def on_training_batch_end(self) -> None:
        """After `train_step`, which ``trainer.state.step`` now counts."""

    def on_training_epoch_end(self) -> None:
        """After the last batch of an epoch."""

    def on_training_end(self) -> None:
        """When training is over; not after an exception, unless it was registered as a way to end."""

    def should_training_stop(self) -> bool:
        """Whether training ends after this step or this validation; the same on every process.

        A run that was ended so stays ended when it is taken up again.
        """
        return False

    def on_validation_start(self, validation_cycle: int) -> None:
        """Before the first batch of a validation; ``validation_cycle`` counts those before it."""

    def on_validation_batch_start(self) -> None:
        """Before `valid_step`."""

    def valid_step(self, batch: Any) -> None:
        """Measure one batch; no gradients are kept."""

    def on_validation_batch_end(self) -> None:
        """After `valid_step`."""

    def on_validation_end(self, validation_cycle: int) -> None:
        """After the last batch of a validation."""

    def on_testing_start(self) -> None:
        """Before the first batch of a test."""

    def on_testing_batch_start(self) -> None:
        """Before `test_step`."""

    def test_step(self, batch: Any) -> None:
        """Measure one batch; no gradients are kept."""

    def on_testing_batch_end(self) -> None:
        """After `test_step`."""

    def on_testing_end(self) -> None:
        """After the last batch of a test."""

    def _nets(self) -> Iterator[tuple[str, nn.Module]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, nn.Module))

    def _stateful(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, _STATEFUL))
