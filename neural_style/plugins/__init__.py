"""Plug-ins of the training loop: what is optional in a run, each in a module of its own."""

from __future__ import annotations

from .base import Plugin, UniquePluginOverrides
from .checkpoint import CheckpointPlugin
from .cuda import CUDAPlugin
from .finite import FinitePlugin
from .progress import ProgressPlugin
from .registry import create_plugin, register_plugin, registered_plugins
from .schedule import SchedulePlugin

__all__ = [
    "CUDAPlugin",
    "CheckpointPlugin",
    "FinitePlugin",
    "Plugin",
    "ProgressPlugin",
    "SchedulePlugin",
    "UniquePluginOverrides",
    "create_plugin",
    "register_plugin",
    "registered_plugins",
]
