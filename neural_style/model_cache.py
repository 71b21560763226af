"""What is made of models, kept between runs: whatever is missing, damaged or cannot be kept is made again."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from csci_utils.io import atomic_path, scratch_path, sweep_once

from .errors import output_error

log = logging.getLogger("neural_style")

_NUM_KEPT = 64
_NUM_IN_MEMORY = 2
_DIGEST_BYTES = 32
_MODEL = re.compile(r"[0-9a-f]{64}")

_in_memory: OrderedDict[tuple[Path | None, str], dict[str, bytes]] = OrderedDict()
_lock = threading.Lock()
_warned: set[str] = set()


class ModelCache:
    """A folder with a folder for each model, named by the sha256 of its file; the models used last stay.

    Several processes may use it at once: each file appears whole, and begins with the digest of what follows.

    Args:
        folder: is made when something is kept. None, and where it cannot be written: the last few models are kept in
            this process alone.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else Path(folder)

    def read(self, model: str, name: str) -> bytes | None:
        """Return what was kept of a model under a name; None if there is none, or it is damaged."""
        with _lock:
            if name in (there := _in_memory.get((self._folder, model), {})):
                return there[name]
        if self._folder is None:
            return None
        path = self._folder / model / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path.parent)
        if hashlib.sha256(content[_DIGEST_BYTES:]).digest() == content[:_DIGEST_BYTES]:
            return content[_DIGEST_BYTES:]
        log.warning("%s: damaged; it is thrown away and made again", path)
        with suppress(OSError):
            path.unlink()
        return None

    def keep(self, model: str, name: str, content: bytes) -> None:
        """Keep something of a model for later; a disk that does not take it is a warning."""
        if self._folder is None:
            self._keep_in_memory(model, name, content)
            return
        path = self._folder / model / name
        try:
            is_new = not path.parent.is_dir()
            with atomic_path(path) as scratch:
                scratch.write_bytes(hashlib.sha256(content).digest() + content)
            if is_new:
                self._forget_oldest()
        except OSError as err:
            with suppress(OSError):
                path.parent.rmdir()  # if it is empty
            warn_once(f"{output_error(path, err)}; this model is converted anew in each run")
            self._keep_in_memory(model, name, content)

    def _keep_in_memory(self, model: str, name: str, content: bytes) -> None:
        with _lock:
            _in_memory.setdefault((self._folder, model), {})[name] = content
            _in_memory.move_to_end((self._folder, model))
            while len(_in_memory) > _NUM_IN_MEMORY:
                _in_memory.popitem(last=False)

    def _forget_oldest(self) -> None:
        assert self._folder is not None
        sweep_once(self._folder)
        models = [path for path in self._folder.iterdir() if _MODEL.fullmatch(path.name)]
        for path in sorted(models, key=_last_use_s, reverse=True)[_NUM_KEPT:]:
            doomed = scratch_path(path)  # should this be cut off, the next sweep goes on
            with suppress(OSError):
                path.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def warn_once(sentence: str) -> None:
    """Log a warning, unless this process has done so."""
    with _lock:
        if sentence in _warned:
            return
        _warned.add(sentence)
    log.warning("%s", sentence)


def _last_use_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
