"""An engine proves itself with a model: what it makes of the probes is compared with plain torch in float32."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..conversions import Conversion, Probe
from ..errors import EngineError
from .processor import processor
from .rewriting import REWRITING

if TYPE_CHECKING:
    from . import Engine

PROMISED_DB = {"float32": 70.0, "fast": 43.0}
"""By precision: how near plain torch a result is, on numbers from 0 to 255 before they are rounded."""

_SAME_DB = 200.0


def prove(engine: Engine, conversion: Conversion) -> None:
    """Have an engine show that it keeps its promise with a model; once shown, it is not asked again.

    Raises:
        EngineError: it does not; or it could not style a probe.
        WeightsError: the probes could not be made, since the model is none.
    """
    who = _who(engine)
    name = "proof-" + hashlib.sha256(json.dumps(who).encode()).hexdigest()[:32]
    found = conversion.noted(name)
    if found is None or found.get("who") != who:
        qualities_db = [_quality_db(engine, probe) for probe in conversion.probes()]
        found = {"who": who, "quality_db": min(qualities_db)}
        conversion.note(name, found)
    if found["quality_db"] < PROMISED_DB[engine.precision]:
        raise EngineError(
            f"{engine.name} {engine.version} is not used with {conversion.path}: in {engine.arithmetic} it comes "
            f"within {found['quality_db']:.1f} dB of plain torch, wanted {PROMISED_DB[engine.precision]:.0f}"
        )


def quality_db(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the PSNR of two pictures, of numbers that are clamped to 0-255 first; 200 where they are the same."""
    difference = found.clip(0, 255).astype(np.float64) - wanted.clip(0, 255)
    mean_square = float(np.mean(difference * difference))
    return min(_SAME_DB, 10 * math.log10(255**2 / mean_square)) if mean_square else _SAME_DB


def _who(engine: Engine) -> list[Any]:
    """Name all that a proof depends on, except the model: not how many threads compute."""
    device = engine.device.partition(":")[0]
    return [
        engine.name,
        engine.version,
        REWRITING,
        engine.precision,
        engine.arithmetic,
        device,
        processor(),
        PROMISED_DB[engine.precision],
    ]


def _quality_db(engine: Engine, probe: Probe) -> float:
    """Return how near an engine comes to plain torch; 0 where it makes no such picture at all."""
    styled = engine.run(probe.picture_13HW)
    if styled.shape != probe.wanted_13HW.shape or not np.isfinite(styled).all():
        return 0.0
    return quality_db(styled, probe.wanted_13HW)
