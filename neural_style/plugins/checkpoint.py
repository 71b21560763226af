"""Runs that go on after a kill: the whole run saved every so many steps, and taken up again at the start."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..checkpoint_file import checkpoint_path, find_checkpoints, read_checkpoint, write_checkpoint
from ..errors import CheckpointError, NeuralStyleError, SettingError
from .base import Plugin
from .registry import register_plugin

log = logging.getLogger("neural_style")


@register_plugin
class CheckpointPlugin(Plugin):
    """Saves the run every ``every_steps`` steps and at its end, and goes on from the last whole checkpoint.

    Files are named after ``model.save_name``, written by process 0 alone, and appear whole or not at all. The hooks of
    the start that come after this plug-in's, the model's among them, find the run as it was saved.

    Args:
        folder: Where the checkpoints lie; made when it is missing.
        every_steps: How often one is written.
        fingerprint: Stands for all that the weights depend on, say `TrainConfig.digest`: a checkpoint of another one
            is refused.
        keep: How many of the newest stay.
        resume: Whether to go on from what lies there, rather than start anew.

    Raises:
        SettingError: a number is outside what it may be.
    """

    plugin_id = "checkpoint"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every_steps: int = 500,
        fingerprint: str = "",
        keep: int = 2,
        resume: bool = True,
    ) -> None:
        super().__init__(self.plugin_id)
        for name, value in (("every_steps", every_steps), ("keep", keep)):
            if value < 1:
                raise SettingError(f"{name} wants at least 1, found {value}")
        self.folder = Path(folder)
        self.every_steps, self.fingerprint, self.keep, self.resume = every_steps, fingerprint, keep, resume
        self._saved_step: int | None = None

    def on_training_start(self) -> None:
        """Take the run up again.

        Raises:
            CheckpointError: there are checkpoints, and none is whole; or they are another run's.
        """
        self._saved_step = None
        found = self._last_checkpoint() if self.resume else None
        if found is None:
            return
        path, checkpoint = found
        with _naming(path):
            self.trainer.load_state_dict(checkpoint["trainer"])
        self._saved_step = self.trainer.state.step
        if self.rank == 0:
            log.info("%s: going on after step %d", path, self._saved_step)

    def on_testing_start(self) -> None:
        """Give a model that this trainer has not trained the weights of the last checkpoint, or warn of its own.

        Raises:
            CheckpointError: as in `on_training_start`.
        """
        if not self.trainer.is_untrained:
            return
        found = self._last_checkpoint()
        if found is not None:
            path, checkpoint = found
            with _naming(path):
                self.trainer.model.load_state_dict(checkpoint["trainer"]["model"])
        elif self.rank == 0:
            name = self.trainer.model.save_name
            log.warning(
                "%s: no checkpoint of %r; its first weights are tested, which nothing has trained", self.folder, name
            )

    def between_steps(self) -> None:
        """Save the run if it is time, and remove older checkpoints once that has worked.

        Raises:
            OutputError: the file could not be written; the last good one is as it was.
        """
        step = self.trainer.state.step
        is_due = step % self.every_steps == 0 and step != self._saved_step
        if not (is_due or self.trainer.is_ending):
            return
        state = self.trainer.state_dict()
        if self.rank == 0:
            path = checkpoint_path(self.folder, self.trainer.model.save_name, step)
            write_checkpoint(path, fingerprint=self.fingerprint, trainer=state)
            self._remove_others(step)
        self._saved_step = step

    def _last_checkpoint(self) -> tuple[Path, dict[str, Any]] | None:
        """Read the last whole checkpoint by process 0, and hand it, or what went wrong, to every process."""
        group = self.trainer.group
        if group is None:
            return self._read_last()
        found: Any = None
        if self.rank == 0:
            try:
                found = self._read_last()
            except NeuralStyleError as err:
                found = err
        found = group.from_first(found)
        if isinstance(found, NeuralStyleError):
            raise found
        checkpoint: tuple[Path, dict[str, Any]] | None = found
        return checkpoint

    def _read_last(self) -> tuple[Path, dict[str, Any]] | None:
        save_name = self.trainer.model.save_name
        paths = [path for _, path in find_checkpoints(self.folder, save_name)]
        for path in paths:
            try:
                checkpoint = read_checkpoint(path)
            except CheckpointError as err:
                log.warning("%s; looking for the checkpoint before it", err)
                continue
            self._compare(path, checkpoint["fingerprint"])
            return path, checkpoint
        if paths:
            raise CheckpointError(
                f"{self.folder}: none of the {len(paths)} checkpoints of {save_name!r} can be read "
                "(cut short, damaged or none of ours); remove them to start anew"
            )
        return None

    def _compare(self, path: Path, fingerprint: str) -> None:
        if fingerprint != self.fingerprint:
            raise CheckpointError(
                f"{path}: a checkpoint of another configuration ({fingerprint or 'unnamed'}, this run is "
                f"{self.fingerprint or 'unnamed'}); use another folder, or remove it to start anew"
            )

    def _remove_others(self, step: int) -> None:
        """Keep the newest; what claims to be of a later step is of a run that was given up, or damaged."""
        found = find_checkpoints(self.folder, self.trainer.model.save_name)
        kept = [path for other, path in found if other <= step][: self.keep]
        for _, path in found:
            if path not in kept:
                with suppress(OSError):  # it costs space and no more
                    path.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say which checkpoint it was that does not fit."""
    try:
        yield
    except CheckpointError as err:
        raise CheckpointError(f"{path}: {err}") from err
    except (RuntimeError, KeyError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"{path}: does not fit this run's model and plug-ins ({type(err).__name__}: {err}); use another folder"
        ) from err
