"""What models, data modules and plug-ins have in common: the trainer they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PluginError

if TYPE_CHECKING:
    import torch

    from .train import Trainer


class TrainerPart:
    """Something that a `Trainer` works with, and that reaches the rest of the run through it."""

    _trainer: Trainer | None = None

    @property
    def trainer(self) -> Trainer:
        """The trainer of this run.

        Raises:
            PluginError: it belongs to none yet.
        """
        if self._trainer is None:
            raise PluginError(
                f"{type(self).__name__} belongs to no trainer yet: a plug-in gets its own from configure_trainer(), "
                "a model and its data from fit() or test()"
            )
        return self._trainer

    @trainer.setter
    def trainer(self, trainer: Trainer) -> None:
        self._trainer = trainer

    @property
    def device(self) -> torch.device:
        """Where the run computes."""
        return self.trainer.device

    @property
    def is_distributed(self) -> bool:
        """Whether several processes train together."""
        return self.trainer.is_distributed

    @property
    def rank(self) -> int:
        """The number of this process among them; 0 when it is alone, and for the one that writes."""
        return self.trainer.rank
