"""What can go wrong with pictures, weights, devices and engines, as one line a person can act on."""

from __future__ import annotations

import errno
import os
import re

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNPRINTABLE_RUN = re.compile(" *\0[ \0]*")


def one_line(text: str) -> str:
    """Put text that others wrote (a file name, a library's message) on one line, without control characters."""
    printable = "".join(character if character.isprintable() else "\0" for character in text)
    return _UNPRINTABLE_RUN.sub(" ", printable).strip()


class NeuralStyleError(Exception):
    """The base of everything this package raises on purpose; its text is always one line.

    Attributes:
        exit_status: what a program that ends because of it exits with.
    """

    exit_status = 30

    def __str__(self) -> str:
        return one_line(" ".join(str(argument) for argument in self.args))


class SettingError(NeuralStyleError, ValueError):
    """A number or an option is outside what it may be."""


class PictureError(NeuralStyleError, ValueError):
    """A file is not a picture that can be read, or cannot be written as one."""


class PictureNotFoundError(PictureError, FileNotFoundError):
    """There is no file of that name."""


class PictureTooLargeError(PictureError):
    """A picture declares more pixels than the limit; it was not decoded."""


class OutputError(NeuralStyleError, OSError):
    """A file could not be written: a full disk, no permission, a folder of that name."""


class WeightsError(NeuralStyleError, ValueError):
    """A file does not hold the weights of the published net."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """There is no weight file of that name."""


class FeaturesError(NeuralStyleError, ValueError):
    """The weights of the network that judges are not there, or are another network's."""


class DatasetError(NeuralStyleError, ValueError):
    """A folder does not hold the pictures to train on."""


class PluginError(NeuralStyleError, ValueError):
    """A plug-in, a model or their trainer were put together in a way that cannot work."""


class CheckpointError(NeuralStyleError, ValueError):
    """A checkpoint cannot be read, or belongs to another run."""


class DivergedError(NeuralStyleError, ArithmeticError):
    """Training left the finite numbers: what it made is worth nothing."""


class DeviceError(NeuralStyleError, RuntimeError):
    """A device is not there, or has too little memory."""


class DeviceMemoryError(DeviceError):
    """A device has too little memory for what was asked of it just now."""


class MeetingError(NeuralStyleError, ConnectionError):
    """The processes that are to train together did not find each other."""


class LostProcessError(NeuralStyleError, RuntimeError):
    """Another of the processes that train together has ended before its time."""


class EngineError(NeuralStyleError, RuntimeError):
    """An engine is not installed, or its output cannot be used."""


def output_error(path: str | os.PathLike[str], err: OSError) -> OutputError:
    """Put what the operating system said about a file that could not be written into one sentence."""
    remedy = "; free some and run it again" if err.errno in _FULL else ""
    fault = OutputError(f"{path}: could not be written: {err.strerror}{remedy}" if err.strerror else str(err))
    fault.errno = err.errno
    return fault
