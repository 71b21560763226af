"""Models that this process has loaded: a run styles picture after picture with one net."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csci_utils.copies import CopyRecord
from csci_utils.io import sha256_of
from pipeline.errors import InputChangedError

if TYPE_CHECKING:
    from neural_style.stylize import Stylizer

LOADED_MODELS = 4
"""A run rarely alternates between more nets than this."""


@functools.lru_cache(maxsize=LOADED_MODELS)
def loaded_stylizer(model: str, sha256: str, **options: Any) -> Stylizer:
    """The net of a model file, read once a process as long as its bytes are the same.

    Args:
        model: Its path.
        sha256: Of the bytes that were fetched.
        options: Of `Stylizer`.

    Raises:
        InputChangedError: the file's bytes are others than those that were fetched; the net is not kept.
    """
    from neural_style.stylize import Stylizer

    stylizer = Stylizer(model, **options)
    if sha256_of(model) != sha256:
        raise replaced(Path(model), sha256)
    return stylizer


def refuse_another(path: Path, copy: CopyRecord) -> None:
    """Raise if `path` is no longer the very file that was fetched: another process put a newer one there meanwhile.

    Raises:
        InputChangedError: it is so.
    """
    if not copy.holds(path):
        raise replaced(path, copy.sha256)


def replaced(path: Path, sha256: str) -> InputChangedError:
    """The error that says that a copy is another one now."""
    return InputChangedError(f"{path}: replaced while it was being read, wanted sha256 {sha256}; run it again")
