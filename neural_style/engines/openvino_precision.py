"""Layers of an OpenVINO graph that are to run in float32 where the others run in bfloat16.

OpenVINO 2026.4 knows this as a mark on a layer, which its Python cannot set and its model files can hold. So the layers
are written as a model file, marked in its text, and read back. Some of OpenVINO's own rewriting loses marks without a
word (of `Subtract`, `Divide`, `Power` by -1 and the newer kind of `Pad`), so what really runs is looked at.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from ..errors import EngineError

_MARK = '<rt_info><attribute name="DisablePrecisionConversion" version="0" value="dynamic:f16" /></rt_info>'
_LAYER = re.compile(r'(<layer [^>]*type="(?!Const"|Parameter"|Result")[^>]*>(?:\s*<data [^>]*/>)?)')
_KEPT = "float32/"


def kept_in_float32(core: Any, model: Any) -> Any:
    """Return the model with every layer marked, and named so that `check_precisions` knows it.

    Args:
        core: an `openvino.Core`.
        model: it is renamed in place.

    Raises:
        OSError: there is no room for a file of the model's size among the system's temporary files.
    """
    for number, layer in enumerate(model.get_ops()):
        layer.set_friendly_name(f"{_KEPT}{number}")
    with tempfile.TemporaryDirectory() as folder:
        structure, numbers = Path(folder, "part.xml"), Path(folder, "part.bin")
        ov.serialize(model, structure, numbers)
        marked = _LAYER.sub(lambda layer: layer[1] + _MARK, structure.read_text(encoding="utf-8"))
        return core.read_model(marked.encode(), ov.Tensor(np.fromfile(numbers, np.uint8)))


def check_precisions(compiled: Any) -> None:
    """Refuse a compiled graph where a layer that was to be kept in float32 is not, or no other runs in bfloat16.

    Raises:
        EngineError: it is so; this OpenVINO does not heed the mark.
    """
    runs = [_Run(layer.get_rt_info()) for layer in compiled.get_runtime_model().get_ops()]
    kept = [run for run in runs if run.is_kept]
    if lost := [run.names for run in kept if run.precision == "bf16"]:
        raise EngineError(
            f"OpenVINO {ov.__version__} runs {len(lost)} of {len(kept)} layers in bfloat16 that are to be float32 "
            f"(first {lost[0]!r})"
        )
    reduced = [run for run in runs if run.kind == "Convolution" and run.precision == "bf16"]
    if not kept or not reduced:
        raise EngineError(
            f"OpenVINO {ov.__version__} runs {len(kept)} layers in float32 by name and {len(reduced)} convolutions in "
            "bfloat16, wanted some of both"
        )


class _Run:
    """A step of a compiled graph, as OpenVINO describes it."""

    def __init__(self, notes: Any) -> None:
        self.names, self.kind, self.precision = (
            notes[key].astype(str) for key in ("originalLayersNames", "layerType", "runtimePrecision")
        )
        self.is_kept = _KEPT in self.names
