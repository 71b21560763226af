"""What OpenVINO's time goes into, by kinds of nodes, when ours styles a picture.

`python -m bench.styling_profile --weights F --picture F --precision P`: a line of JSON with seconds by kind. Counting
costs some time itself, so nothing else is measured here.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

_WARM_UP, _COUNTED = 2, 3


def main() -> None:
    """Style some pictures with the counters on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    requests = _count_in_all_models()

    from neural_style.stylize import Stylizer

    stylizer = Stylizer(
        options.weights, device="cpu", engine="openvino", precision=options.precision, cache=options.cache
    )
    scene = np.load(options.picture)
    spent: defaultdict[str, float] = defaultdict(float)
    for number in range(_WARM_UP + _COUNTED):
        stylizer.style(scene)
        for node in requests[-1].profiling_info if number >= _WARM_UP else ():
            spent[node.node_type] += node.real_time.total_seconds() / _COUNTED
    print(json.dumps({"seconds": dict(spent), **stylizer.description()}), flush=True)


def _count_in_all_models() -> list[Any]:
    """Have OpenVINO count in every model that is compiled; return the requests that are made, as they are made."""
    import openvino

    requests: list[Any] = []
    compile_model, create = openvino.Core.compile_model, openvino.CompiledModel.create_infer_request

    def counting(core: Any, model: Any, device: str, config: dict[str, Any] | None = None, **more: Any) -> Any:
        return compile_model(core, model, device, {**(config or {}), "PERF_COUNT": True}, **more)

    def kept(compiled: Any) -> Any:
        requests.append(create(compiled))
        return requests[-1]

    openvino.Core.compile_model, openvino.CompiledModel.create_infer_request = counting, kept
    return requests


if __name__ == "__main__":
    main()
