"""A run's metrics as TensorBoard shows them."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PluginError, SettingError, one_line, output_error
from .base import Plugin
from .readback import MetricsReadback
from .registry import register_plugin

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_DIGITS = 16  # of a fingerprint, in the names of files

log = logging.getLogger("neural_style")


@register_plugin
class TensorBoardPlugin(Plugin):
    """Writes those of ``model.metrics`` that are one number, every so many steps, without waiting for the device.

    A run that is taken up again hides from the curves what came after its checkpoint the first time. Process 0 writes.

    Args:
        folder: Of the event files; a run has a folder below it, named after ``model.save_name``, with a number where
            another run has that.
        every_steps: How often.
        fingerprint: As in `CheckpointPlugin`: a run that is taken up again goes on in the last folder of its own.

    Raises:
        PluginError: the package ``tensorboard`` is not installed.
        SettingError: a number is outside what it may be.
    """

    plugin_id = "tensorboard"

    def __init__(self, folder: str | os.PathLike[str], *, every_steps: int = 10, fingerprint: str = "") -> None:
        super().__init__(self.plugin_id)
        if every_steps < 1:
            raise SettingError(f"every_steps wants at least 1, found {every_steps}")
        try:
            import torch.utils.tensorboard  # noqa: F401 -- whether it is there
        except ImportError as err:
            raise PluginError(
                "TensorBoardPlugin needs the package tensorboard, which is not installed; install the extra "
                "'tensorboard' of this project, or leave the plug-in out"
            ) from err
        self.folder, self.every_steps = Path(folder), every_steps
        self._suffix = f".{hashlib.sha256(fingerprint.encode()).hexdigest()[:_DIGITS]}"
        self._is_resumed: bool | None = None
        self._writer: SummaryWriter | None = None
        self._under_way: deque[MetricsReadback] = deque()

    def on_training_start(self) -> None:
        """Forget an earlier run."""
        self._is_resumed = None

    def on_training_epoch_start(self) -> None:
        """See whether the run is a new one, now that every plug-in had its turn to take it up."""
        if self._is_resumed is None:
            self._is_resumed = self.trainer.state.step > 0

    def between_steps(self) -> None:
        """Write what has arrived, and send for more if it is time: after a validation too."""
        if self.rank != 0:
            return
        self._write(wait=False)
        state = self.trainer.state
        if state.step % self.every_steps == 0 or state.epoch_step == 0 or self.trainer.is_ending:
            readback = MetricsReadback()
            readback.send(self.trainer.model.metrics, step=state.step)
            self._under_way.append(readback)

    def teardown(self) -> None:
        """Write the last, and close the file; no run fails for its curves at this moment."""
        try:
            self._write(wait=True)
            if self._writer is not None:
                self._writer.close()
        except (OSError, RuntimeError) as err:
            log.warning("%s: the last metrics could not be written: %s", self.folder, one_line(str(err)))
        self._writer = None
        self._under_way.clear()

    def _write(self, *, wait: bool) -> None:
        """Write what has arrived, in order."""
        try:
            while self._under_way and (arrived := self._under_way[0].take(wait=wait)) is not None:
                self._under_way.popleft()
                step, values = arrived
                for name, value in values.items():
                    self._open_writer(step).add_scalar(name, value, step)
        except OSError as err:
            raise output_error(self.folder, err) from err

    def _open_writer(self, step: int) -> SummaryWriter:
        """Make the file at the first step that is written, since a run may be taken up after this plug-in started."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._own_folder()), purge_step=step, filename_suffix=self._suffix)
        return self._writer

    def _own_folder(self) -> Path:
        """Return the first folder that no run has, or the last one of this run where it goes on."""
        name, own = self.trainer.model.save_name, None
        for number in count(1):
            folder = self.folder / (name if number == 1 else f"{name}-{number}")
            names = [path.name for path in folder.glob("*tfevents*")]
            if not names:
                break
            if any(each.endswith(self._suffix) for each in names):
                own = folder
        return own if own is not None and self._is_resumed else folder
