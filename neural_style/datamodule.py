"""What a run learns from: loaders of batches, to derive from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .trainer_part import TrainerPart


class DataModule(TrainerPart):
    """Gives the trainer its loaders; whatever can be iterated over serves, a ``DataLoader`` among them."""

    def setup(self) -> None:
        """Open what the loaders need; called once, before plug-ins and model are set up."""

    def set_epoch(self, epoch: int, start_step: int) -> int | None:
        """Say which epoch comes next, just before `train_loader` is asked for it.

        Args:
            epoch: Counts the epochs before it.
            start_step: How many of its batches were seen before: 0, unless a run goes on in the middle of an epoch.

        Returns:
            How many batches the trainer has to draw and drop to arrive there: all ``start_step`` of them as it stands.
            Override this where the loader can begin at ``start_step`` by itself, and return nothing.
        """
        return start_step

    def train_loader(self) -> Iterable[Any]:
        """Return the batches of the epoch that `set_epoch` named.

        The random numbers that it draws up to its first batch come from the seed and the epoch, so that a
        ``DataLoader`` shuffles a resumed epoch as it did before.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no batches to train on: it needs a train_loader()")

    def valid_loader(self) -> Iterable[Any] | None:
        """Return the batches to validate on, if there are any; asked for once a run, gone through once a cycle."""
        return None

    def test_loader(self) -> Iterable[Any] | None:
        """Return the batches to test on, if there are any."""
        return None

    def teardown(self) -> None:
        """Close what `setup` opened; called however the run ends."""
