"""Plug-ins of the training loop: what is optional in a run, each in a module of its own."""

from __future__ import annotations

from .base import Plugin, UniquePluginOverrides
from .checkpoint import CheckpointPlugin
from .cuda import CUDAPlugin
from .curve import CurvePlugin
from .finite import FinitePlugin
from .progress import ProgressPlugin
from .registry import create_plugin, register_plugin, registered_plugins
from .samples import SamplesPlugin
from .schedule import SchedulePlugin
from .tensorboard import TensorBoardPlugin

__all__ = [
    "CUDAPlugin",
    "CheckpointPlugin",
    "CurvePlugin",
    "FinitePlugin",
    "Plugin",
    "ProgressPlugin",
    "SamplesPlugin",
    "SchedulePlugin",
    "TensorBoardPlugin",
    "UniquePluginOverrides",
    "create_plugin",
    "register_plugin",
    "registered_plugins",
]
