"""What can be chosen of how and where pictures are styled, checked wherever it was chosen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from neural_style.byte_size import parse_memory
from neural_style.contract import ENGINES, PRECISIONS
from neural_style.errors import SettingError
from pipeline.errors import NotConfiguredError

RUNNERS = LOCAL, RAY = "local", "ray"
"""Where many pictures are styled."""

DEFAULT_MAX_FAILURES = 100
"""So many of many pictures may fail before the run is given up."""

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def checked_device(device: str) -> str:
    """Return a device's name, if it is one.

    Raises:
        NotConfiguredError: it is not.
    """
    if not _DEVICE.fullmatch(device):
        raise NotConfiguredError(f"device wants auto, cpu, cuda, cuda:1 or mps, found {device!r}")
    return device


def checked_engine(engine: str) -> str:
    """Return an engine's name, if it is one.

    Raises:
        NotConfiguredError: it is not.
    """
    return one_of(ENGINES, name="engine", found=engine)


def checked_precision(precision: str) -> str:
    """Return a precision's name, if it is one.

    Raises:
        NotConfiguredError: it is not.
    """
    return one_of(PRECISIONS, name="precision", found=precision)


def checked_memory(memory: str) -> str:
    """Return a size of memory as it was given, if it is one.

    Raises:
        NotConfiguredError: it is not.
    """
    try:
        parse_memory(memory)
    except SettingError as err:
        raise NotConfiguredError(str(err)) from err
    return memory


def one_of(wanted: tuple[str, ...], *, name: str, found: str) -> str:
    """Return what was found for a setting, if that is one of what it may be.

    Raises:
        NotConfiguredError: it is not.
    """
    if found not in wanted:
        raise NotConfiguredError(f"{name} wants {', '.join(wanted[:-1])} or {wanted[-1]}, found {found!r}")
    return found


CHECKS: Mapping[str, Callable[[str], str]] = {
    "device": checked_device,
    "engine": checked_engine,
    "precision": checked_precision,
    "memory": checked_memory,
}
"""The check of each, by the name of its setting."""
