"""Checkpoints of trainings that are not done: where they lie, and when they go."""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path

CHECKPOINTS = ".training"
"""Folder below the local root with a folder for each model, and in that one for each run."""
KEPT_DAYS = 28
"""A run that has saved nothing for so long has been given up."""

_SHORT = 40
_DAY_S = 86_400


def short_name(model: str) -> str:
    """Name a model as a file may be named, with room for more."""
    return model.removesuffix(".pth").replace("/", "-")[:_SHORT]


def checkpoints_of(local_root: str | Path, model: str) -> Path:
    """The folder for all runs of a model, whatever it is called below ``saved_models/``."""
    return Path(local_root, CHECKPOINTS, f"{short_name(model)}-{hashlib.sha256(model.encode()).hexdigest()[:12]}")


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a model or of one run of it, and folders that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # until one is not empty
        for parent in folder.parents:
            parent.rmdir()
            if parent.name == CHECKPOINTS:
                return


def sweep_checkpoints(local_root: str | Path) -> list[Path]:
    """Remove the checkpoints of runs that have been given up; return their folders."""
    oldest_s = time.time() - KEPT_DAYS * _DAY_S
    given_up = [run for run in Path(local_root, CHECKPOINTS).glob("*/*") if _last_change_s(run) < oldest_s]
    for run in given_up:
        remove_checkpoints(run)
    return given_up


def _last_change_s(run: Path) -> float:
    """When a run saved something last; at the end of time where that cannot be told."""
    try:
        return max(path.stat().st_mtime for path in (run, *run.iterdir()))
    except OSError:
        return float("inf")
