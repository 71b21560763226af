"""Weight files as engines other than torch want them: converted with torch once, then read without it.

Axes: H height, W width; 3 is red, green, blue. Range ``_255``: 0-255.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csci_utils.io import sha256_of

from .engines.rewriting import REWRITING
from .errors import EngineError, WeightsError
from .model_cache import ModelCache
from .model_file import refuse_what_is_no_model
from .quick_import import garbage_kept

Arrays = dict[str, NDArray[Any]]

_WEIGHTS = "weights"
_PROBES_VERSION = 1
"""Raise this when the probes change."""

_PROBES = f"probes-{_PROBES_VERSION}"
_ONNX = f"onnx-{REWRITING}"
_PROBE_SIZES_HW = ((61, 67), (260, 320))
"""Odd and small; and large enough for the arithmetic of large pictures."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A picture and what plain torch makes of it in float32.

    Attributes:
        picture_13HW: 0-255.
        wanted_13HW: as the net gives it, not clamped.
    """

    picture_13HW: NDArray[np.float32]
    wanted_13HW: NDArray[np.float32]


class Conversion:
    """One weight file, and what is kept of it in a cache.

    Args:
        model_path: weights of the published net.
        cache: see `ModelCache`.

    Attributes:
        digest: sha256 of the file, which is its name in the cache.

    Raises:
        WeightsError: the file is missing, empty or a web page; whatever else it is not, is found when it is converted.
    """

    def __init__(self, model_path: str | os.PathLike[str], *, cache: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(model_path)
        refuse_what_is_no_model(self.path)
        self.digest = self._digest_now()
        self._cache = ModelCache(cache)

    def weights(self) -> Arrays:
        """Return the 62 arrays of the net, float32.

        Raises:
            WeightsError: the file does not hold such weights.
            EngineError: torch, which reads it, is not installed.
        """
        return self._kept_arrays(_WEIGHTS)

    def probes(self) -> list[Probe]:
        """Return pictures by which an engine can be judged.

        Raises:
            WeightsError, EngineError: as `weights`.
        """
        arrays = self._kept_arrays(_PROBES)
        return [
            Probe(picture_13HW=arrays[f"picture{n}"].astype(np.float32), wanted_13HW=arrays[f"wanted{n}"])
            for n in range(len(arrays) // 2)
        ]

    def onnx(self, *, is_plain: bool = False) -> bytes:
        """Return the net as the content of an ``.onnx`` file.

        Args:
            is_plain: see `neural_style.engines.onnx_graph.onnx_model`.

        Raises:
            EngineError: onnx, which makes it, is not installed.
            WeightsError: as `weights`.
        """
        name = f"{_ONNX}-plain" if is_plain else _ONNX
        kept = self._cache.read(self.digest, name)
        if kept is None:
            kept = _as_onnx(self.weights(), is_plain=is_plain)
            self._cache.keep(self.digest, name, kept)
        return kept

    def note(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep something that was found out about this model."""
        self._cache.keep(self.digest, name, json.dumps(facts, sort_keys=True).encode())

    def noted(self, name: str) -> dict[str, Any] | None:
        """Return what was kept under a name; None where there is nothing."""
        content = self._cache.read(self.digest, name)
        facts = None if content is None else json.loads(content)
        return facts if isinstance(facts, dict) else None

    def _digest_now(self) -> str:
        try:
            return sha256_of(self.path)
        except OSError as err:
            raise WeightsError(f"{self.path}: the model file cannot be read: {err.strerror or err}") from err

    def _kept_arrays(self, name: str) -> Arrays:
        kept = self._cache.read(self.digest, name)
        return self._convert()[name] if kept is None else _unpacked(kept)

    def _convert(self) -> dict[str, Arrays]:
        """Read the file with torch, style the probes, and keep all of that."""
        weights, style = _converter()(self.path)
        if self._digest_now() != self.digest:
            raise WeightsError(f"{self.path}: the file changed while it was read; run it again")
        from .drawn import draw_scene  # with the parts of Pillow that draw, which are wanted here alone

        made: dict[str, Arrays] = {_WEIGHTS: weights, _PROBES: {}}
        for number, (height, width) in enumerate(_PROBE_SIZES_HW):
            picture_13HW = draw_scene(number, width_px=width, height_px=height).transpose(2, 0, 1)[np.newaxis]
            made[_PROBES][f"picture{number}"] = picture_13HW
            made[_PROBES][f"wanted{number}"] = style(picture_13HW.astype(np.float32, order="C"))
        for name, arrays in made.items():
            self._cache.keep(self.digest, name, _packed(arrays))
        return made


def _converter() -> Callable[[Path], tuple[Arrays, Callable[[NDArray[np.float32]], NDArray[np.float32]]]]:
    try:
        with garbage_kept():
            from .plain_net import read_with_torch
    except ModuleNotFoundError as err:
        if err.name != "torch":
            raise
        raise EngineError("styling with .pth weights needs torch; pip install 'neural-style-pipeline[torch]'") from err
    return read_with_torch


def _as_onnx(weights: Arrays, *, is_plain: bool) -> bytes:
    try:
        from .engines.onnx_graph import onnx_model
    except ModuleNotFoundError as err:
        if err.name != "onnx":
            raise
        raise EngineError(
            "running .pth weights with onnxruntime needs onnx; pip install 'neural-style-pipeline[onnxruntime]'"
        ) from err
    return onnx_model(weights, is_plain=is_plain)


def _packed(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
