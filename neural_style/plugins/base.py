"""What a plug-in is: a set of hooks, each called before the model's own, and a key in the trainer's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import PluginError
from ..trainer_part import TrainerPart

if TYPE_CHECKING:
    from ..model import Model
    from ..train import Trainer


@dataclass
class UniquePluginOverrides:
    """What only one plug-in of a trainer may do; each plug-in says for itself what it does."""

    training_batch: bool = False
    """It changes the batches of training, in `Plugin.process_training_batch`."""
    validation_batch: bool = False
    """Those of validation, in `Plugin.process_validation_batch`."""
    testing_batch: bool = False
    """Those of testing, in `Plugin.process_testing_batch`."""
    should_training_stop: bool = False
    """It ends training, in `Plugin.should_training_stop`."""


class Plugin(TrainerPart):
    """The base of every plug-in: all hooks, which do nothing until they are overridden.

    Args:
        plug_id: The plug-in's key in ``trainer.plugins``. Those that come with this package have it as the class
            attribute ``plugin_id`` too.

    Attributes:
        unique_overrides: To fill in by the constructor of a plug-in that does one of these things.

    Raises:
        PluginError: the key is empty.
    """

    def __init__(self, plug_id: str) -> None:
        if not plug_id:
            raise PluginError(f"{type(self).__name__} wants an id for the trainer's table, and got an empty one")
        self.plug_id = plug_id
        self.unique_overrides = UniquePluginOverrides()

    def configure_trainer(self, trainer: Trainer) -> None:
        """Prepare a trainer for this plug-in; as it stands, put it into the trainer's table."""
        self._register_in_trainer(trainer)

    def configure_model(self, model: Model) -> None:
        """Prepare a model for this plug-in: for who puts the run together to call, before training; no trainer does."""

    def _register_in_trainer(self, trainer: Trainer) -> None:
        """Put this plug-in into the trainer's table.

        Raises:
            PluginError: another has its key, or does what only one may do.
        """
        trainer.register_plugin(self)

    def setup(self) -> None:
        """Get ready; called once, before the model's own."""

    def teardown(self) -> None:
        """Close what is open; called however the run ends, and perhaps before it began."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to know of this plug-in, as tensors and plain data.

        Raise here what makes the run not worth keeping: then nothing is saved.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""

    def between_steps(self) -> None:
        """After every other hook of a step or an epoch, the model's included: the moment at which a run is whole.

        A step that ends the run has it after the end of the epoch and the validation that may follow. What is saved is
        saved here; ``trainer.is_ending`` says whether it is the last time.
        """

    def on_training_start(self) -> None:
        """Before the first epoch of a run or of its resumption."""

    def on_training_epoch_start(self) -> None:
        """Before the first batch of an epoch; again when a run goes on in the middle of one."""

    def process_training_batch(self, batch: Any) -> Any:
        """Return the batch that the next plug-in, and at last the model's step, will see."""
        return batch

    def on_training_batch_start(self) -> None:
        """Before the model's step."""

    def on_training_batch_end(self) -> None:
        """After the model's step, which ``trainer.state.step`` now counts."""

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

    def process_validation_batch(self, batch: Any) -> Any:
        """Return the batch that the next plug-in, and at last the model's step, will see."""
        return batch

    def on_validation_batch_start(self) -> None:
        """Before the model's step."""

    def on_validation_batch_end(self) -> None:
        """After the model's step."""

    def on_validation_end(self, validation_cycle: int) -> None:
        """After the last batch of a validation."""

    def on_testing_start(self) -> None:
        """Before the first batch of a test."""

    def process_testing_batch(self, batch: Any) -> Any:
        """Return the batch that the next plug-in, and at last the model's step, will see."""
        return batch

    def on_testing_batch_start(self) -> None:
        """Before the model's step."""

    def on_testing_batch_end(self) -> None:
        """After the model's step."""

    def on_testing_end(self) -> None:
        """After the last batch of a test."""


def refuse_conflicts(plugin: Plugin, table: Mapping[str, Plugin]) -> None:
    """Compare a plug-in with those that a trainer has.

    Raises:
        PluginError: one has its id, or does what only one may do.
    """
    name = type(plugin).__name__
    if plugin.plug_id in table:
        other_name = type(table[plugin.plug_id]).__name__
        raise PluginError(
            f"{name}: the trainer has a plug-in {plugin.plug_id!r} already ({other_name}); give one of them another id"
        )
    for other in table.values():
        theirs = asdict(other.unique_overrides)
        shared = [key for key, value in asdict(plugin.unique_overrides).items() if value and theirs[key]]
        if shared:
            raise PluginError(
                f"{name} and {type(other).__name__} both override {' and '.join(shared)}, which only one plug-in of a "
                "trainer may; leave one of them out, or make one plug-in of both"
            )
