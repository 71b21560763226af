"""A run's metrics as TensorBoard shows them."""

from __future__ import annotations

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

log = logging.getLogger("neural_style")


@register_plugin
class TensorBoardPlugin(Plugin):
    """Writes those of ``model.metrics`` that are one number, every so many steps, without waiting for the device.

    A run that is taken up again hides from the curves what came after its checkpoint the first time. Process 0 writes.

    Args:
        folder: Of the event files; a run has a folder below it, named after ``model.save_name``, with a number where
            another run has that.
        every_steps: How often.

    Raises:
        PluginError: the package ``tensorboard`` is not installed.
        SettingError: a number is outside what it may be.
    """

    plugin_id = "tensorboard"

    def __init__(self, folder: str | os.PathLike[str], *, every_steps: int = 10) -> None:
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
        self._writer: SummaryWriter | None = None
        self._under_way: deque[MetricsReadback] = deque()

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

            suffix = f".{self.trainer.state.run_id}"
            self._writer = SummaryWriter(str(self._own_folder(suffix)), purge_step=step, filename_suffix=suffix)
        return self._writer

    def _own_folder(self, suffix: str) -> Path:
        """Find where this run has written before, or else the first folder that no run has."""
        name = self.trainer.model.save_name
        for number in count(1):
            folder = self.folder / (name if number == 1 else f"{name}-{number}")
            names = [path.name for path in folder.glob("*tfevents*")]
            if not names or any(each.endswith(suffix) for each in names):
                break
        return folder
