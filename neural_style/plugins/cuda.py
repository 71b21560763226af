"""Batches moved to the GPU before the model sees them."""

from __future__ import annotations

import copy
from typing import Any

import torch

from ..errors import DeviceError
from .base import Plugin
from .registry import register_plugin


@register_plugin
class CUDAPlugin(Plugin):
    """Moves the tensors of a batch to the GPU of this process: the trainer's, by local rank when distributed.

    A batch is a tensor, or a list, tuple or dictionary of tensors and whatever else, which is left as it is. So are
    containers in containers: derive, and override `_move_collection_to_device`, to have those moved.

    Raises:
        DeviceError: there is no CUDA here.
    """

    plugin_id = "cuda"

    def __init__(self) -> None:
        super().__init__(self.plugin_id)
        if not torch.cuda.is_available():
            raise DeviceError("CUDAPlugin needs CUDA, and there is none here; leave it out to train on another device")
        for name in ("training_batch", "validation_batch", "testing_batch"):
            setattr(self.unique_overrides, name, True)

    def setup(self) -> None:
        """Look at the trainer's device, which `device` is.

        Raises:
            DeviceError: it is none of CUDA's.
        """
        if self.device.type != "cuda":
            raise DeviceError(f"CUDAPlugin needs a trainer on CUDA, this one is on {self.device}; use device='cuda'")

    def process_training_batch(self, batch: Any) -> Any:
        """Move a batch of training."""
        return self._move_collection_to_device(batch)

    def process_validation_batch(self, batch: Any) -> Any:
        """Move a batch of validation."""
        return self._move_collection_to_device(batch)

    def process_testing_batch(self, batch: Any) -> Any:
        """Move a batch of testing."""
        return self._move_collection_to_device(batch)

    def _move_collection_to_device(self, batch: Any) -> Any:
        """Return the batch with its tensors on the device, in containers of the same type; the batch is not changed."""
        if isinstance(batch, tuple):
            moved = [self._moved(value) for value in batch]
            return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
        if isinstance(batch, list | dict):
            keys = list(batch) if isinstance(batch, dict) else range(len(batch))
            container: Any = copy.copy(batch)
            for key in keys:
                container[key] = self._moved(container[key])
            return container
        return self._moved(batch)

    def _moved(self, value: Any) -> Any:
        # From pinned memory the copy runs beside the program; from other memory torch waits by itself.
        return value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
