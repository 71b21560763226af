"""Faults that tests inject."""

from __future__ import annotations

import errno
import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

import csci_utils.io


def fill_disk(monkeypatch: pytest.MonkeyPatch, pattern: str, *, good_writes: int = 0) -> None:
    """Let the disk be full when files of these (scratch) names are brought to it, after so many of them."""
    sync, seen = csci_utils.io.sync, []

    def full(path: Path) -> None:
        if fnmatch(path.name, pattern):
            seen.append(path)
            if len(seen) > good_writes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    monkeypatch.setattr(csci_utils.io, "sync", full)
