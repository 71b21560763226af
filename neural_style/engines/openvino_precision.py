"""Layers of an OpenVINO graph that are to run in float32 where the others run in bfloat16.

OpenVINO 2026.4 knows this as a mark on a layer, which its Python cannot set and its model files can hold. So the layers
are written as a model file, marked in its text, and read back. Some of OpenVINO's own rewriting loses marks without a
word (of `Subtract`, `Divide`, `Power` by -1 and the newer kind of `Pad`), so what really runs is looked at.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from ..errors import EngineError

_MARK = '<rt_info><attribute name="DisablePrecisionConversion" version="0" value="dynamic:f16" /></rt_info>'
_KEPT = "float32/"
_KEPT_LAYER = re.compile(rf'(<layer [^>]*name="{_KEPT}[^>]*>(?:\s*<data [^>]*/>)?)')


def version() -> str:
    """Return OpenVINO's version without the name of its build."""
    return str(ov.__version__).partition("-")[0]


def name_as_kept(before: Any, after: Any) -> None:
    """Name all layers between two of them, the second included, as those that are to stay in float32."""
    names = itertools.count()
    start = before.get_name() if hasattr(before, "get_name") else before.get_node().get_name()
    todo, seen = [after], {start}
    while todo:
        layer = todo.pop()
        if layer.get_name() in seen or layer.get_type_name() == "Constant":
            continue
        seen.add(layer.get_name())
        layer.set_friendly_name(f"{_KEPT}{start}/{next(names)}")
        todo += [source.get_source_output().get_node() for source in layer.inputs()]


def kept_in_float32(core: Any, model: Any) -> Any:
    """Return the model with every layer marked that `name_as_kept` has named.

    Args:
        core: an `openvino.Core`.
        model: stays as it is.

    Raises:
        OSError: there is no room for a file of the model's size among the system's temporary files.
    """
    with tempfile.TemporaryDirectory() as folder:
        structure, numbers = Path(folder, "net.xml"), Path(folder, "net.bin")
        ov.serialize(model, structure, numbers)
        marked = _KEPT_LAYER.sub(lambda layer: layer[1] + _MARK, structure.read_text(encoding="utf-8"))
        return core.read_model(marked.encode(), ov.Tensor(np.fromfile(numbers, np.uint8)))


def check_precisions(compiled: Any) -> None:
    """Refuse a compiled graph where a layer that was to be kept in float32 is not, or no other runs in bfloat16.

    Raises:
        EngineError: it is so; this OpenVINO does not heed the mark.
    """
    runs = [_Run(layer.get_rt_info()) for layer in compiled.get_runtime_model().get_ops()]
    kept = [run for run in runs if run.is_kept]
    # To read a map's shape is no arithmetic.
    if lost := [run.names for run in kept if run.precision == "bf16" and run.kind != "ShapeOf"]:
        raise EngineError(
            f"OpenVINO {version()} runs {len(lost)} of {len(kept)} layers in bfloat16 that are to be float32 "
            f"(first {lost[0]!r})"
        )
    reduced = [run for run in runs if run.kind == "Convolution" and run.precision == "bf16"]
    if not kept or not reduced:
        raise EngineError(
            f"OpenVINO {version()} runs {len(kept)} layers in float32 by name and {len(reduced)} convolutions in "
            "bfloat16, wanted some of both"
        )


class _Run:
    """A step of a compiled graph, as OpenVINO describes it."""

    def __init__(self, notes: Any) -> None:
        self.names, self.kind, self.precision = (
            notes[key].astype(str) for key in ("originalLayersNames", "layerType", "runtimePrecision")
        )
        self.is_kept = _KEPT in self.names
