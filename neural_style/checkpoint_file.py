"""Checkpoint files: written whole, checked byte by byte, read without running what is in them."""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from csci_utils.io import atomic_path

from .errors import CheckpointError, output_error

FORMAT = 1
_STEP_DIGITS = 10
_KEYS = {"format", "fingerprint", "trainer"}


def checkpoint_path(folder: Path, save_name: str, step: int) -> Path:
    """Name the checkpoint of a step.

    Raises:
        CheckpointError: the run's name would leave the folder.
    """
    name = f"{save_name}.step-{step:0{_STEP_DIGITS}}.ckpt"
    if Path(name).name != name or not save_name or save_name.startswith(".") or "\0" in save_name:
        raise CheckpointError(
            f"{save_name!r} cannot name checkpoints: it wants to be a plain file name; change save_name"
        )
    return folder / name


def find_checkpoints(folder: Path, save_name: str) -> list[tuple[int, Path]]:
    """List the steps and paths of a run's checkpoints, the newest first.

    Raises:
        CheckpointError: the folder cannot be listed.
    """
    pattern = re.compile(re.escape(save_name) + rf"\.step-([0-9]{{{_STEP_DIGITS},}})\.ckpt")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as err:
        raise CheckpointError(f"{folder}: could not be listed for checkpoints: {err.strerror}") from err
    matches = (pattern.fullmatch(name) for name in names)
    return sorted(((int(match[1]), folder / match[0]) for match in matches if match), reverse=True)


def write_checkpoint(path: Path, *, fingerprint: str, trainer: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OutputError: the file could not be written.
    """
    # By way of memory: when a write fails, torch's own writer says so in a RuntimeError that hides the reason.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "fingerprint": fingerprint, "trainer": trainer}, buffer)
    try:
        with atomic_path(path) as scratch:
            scratch.write_bytes(buffer.getbuffer())
    except OSError as err:
        raise output_error(path, err) from err


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, its tensors onto the CPU.

    Returns:
        What `write_checkpoint` was given: ``fingerprint`` and ``trainer``.

    Raises:
        CheckpointError: it is not whole, or none of ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself reads changed bytes without a word
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as err:
        raise CheckpointError(f"{path}: not a whole checkpoint (cut short or damaged)") from err
    except OSError as err:
        raise CheckpointError(f"{path}: could not be read: {err.strerror or err}") from err
    if broken is not None:
        raise CheckpointError(f"{path}: not a whole checkpoint (damaged in {broken})")
    return _checked(_loaded(path), path)


def _loaded(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of old torch versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise CheckpointError(f"{path}: holds code or objects beside plain data, and was not run") from err
    except Exception as err:  # whatever an archive that is none of torch's makes it stumble over
        raise CheckpointError(f"{path}: not a checkpoint ({type(err).__name__})") from err


def _checked(found: Any, path: Path) -> dict[str, Any]:
    if not isinstance(found, dict) or not found.keys() >= _KEYS:
        raise CheckpointError(f"{path}: not a checkpoint of a training run")
    if found["format"] != FORMAT:
        raise CheckpointError(f"{path}: a checkpoint of format {found['format']!r}, this version reads {FORMAT}")
    return found
