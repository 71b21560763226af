"""What options of the command lines take, checked where they are read."""

from __future__ import annotations

import argparse

from .byte_size import parse_memory
from .errors import SettingError


def positive(text: str) -> int:
    """Read a whole number from 1 up."""
    return _from(1, text)


def not_negative(text: str) -> int:
    """Read a whole number from 0 up."""
    return _from(0, text)


def memory(text: str) -> int | None:
    """Read a size of memory; None for ``auto``."""
    try:
        return parse_memory(text)
    except SettingError as err:
        raise argparse.ArgumentTypeError(str(err)) from err


def three_widths(text: str) -> tuple[int, ...]:
    """Read three numbers of channels."""
    try:
        widths = tuple(int(number) for number in text.split(","))
    except ValueError:
        widths = ()
    if len(widths) != 3:
        raise argparse.ArgumentTypeError(f"wanted three whole numbers such as 16,32,64, found {text!r}")
    return widths


def _from(least: int, text: str) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"wanted at least {least}, found {text!r}")
    return number
