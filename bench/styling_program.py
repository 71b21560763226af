"""Style a picture some times with one library, and tell what each took, in how much memory, and how right it is.

`python -m bench.styling_program PROGRAM --weights F --graph F --picture F --answer F [--pictures N] ...`. Peers are
given floats in memory, and are called as their own documentation says first; ours does all that a `Stylizer` does, from
bytes to bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.stopwatch import peak_bytes

Picture = np.ndarray[Any, np.dtype[Any]]


class Program:
    """A net that is ready.

    Attributes:
        style: What is timed: a call for one picture.
        styled_255: Gives the same picture's result as ``(H, W, 3)`` floats, to be compared.
        about: What there is to say of it.
    """

    def __init__(
        self, style: Callable[[], object], styled_255: Callable[[], Picture], about: dict[str, Any] | None = None
    ) -> None:
        self.style, self.styled_255, self.about = style, styled_255, about or {}


def main() -> None:
    """Get ready, style once, then several times; print a line of JSON."""
    options = _parser().parse_args()
    scene = np.load(options.picture)
    start = time.perf_counter()
    program = PROGRAMS[options.program](options, scene)
    program.style()
    ready_s = time.perf_counter() - start
    seconds = []
    cpu = time.process_time()
    for _ in range(options.pictures):
        start = time.perf_counter()
        program.style()
        seconds.append(time.perf_counter() - start)
    told: dict[str, Any] = {
        "picture_s": statistics.median(seconds),
        "picture_cpu_s": (time.process_time() - cpu) / len(seconds),
        "ready_s": ready_s,
        "peak_bytes": peak_bytes(Path("/proc/self/status").read_text(encoding="utf-8")),
        "db": decibels(program.styled_255(), np.load(options.answer)),
        **program.about,
    }
    print(json.dumps(told), flush=True)


def decibels(found_255: Picture, right_255: Picture) -> float:
    """Return the peak signal-to-noise ratio of floats, clamped to 0-255 and not rounded; 200 stands for equal."""
    apart = found_255.clip(0, 255).astype(np.float64) - right_255.clip(0, 255)
    mean_square = float(np.mean(np.square(apart)))
    return 10 * math.log10(255**2 / mean_square) if mean_square else 200.0


def _torch(options: argparse.Namespace, scene: Picture) -> Program:
    """The published net, stated functionally, as plain eager torch runs it or as its compiler makes it."""
    import torch

    from bench.published_script import styled

    state = torch.load(options.weights, map_location="cpu", weights_only=True)
    x = torch.from_numpy(scene).permute(2, 0, 1)[None].float()
    net = torch.compile(styled) if options.program == "torch-compile" else styled

    def style() -> torch.Tensor:
        with torch.no_grad():
            return net(x, state)

    return Program(style, lambda: style()[0].permute(1, 2, 0).numpy())


def _onnxruntime(options: argparse.Namespace, scene: Picture) -> Program:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    session = onnxruntime.InferenceSession(str(options.graph), providers=["CPUExecutionProvider"])
    x = _floats(scene)
    return Program(lambda: session.run(None, {"input": x})[0], lambda: _pixels(session.run(None, {"input": x})[0]))


def _openvino(options: argparse.Namespace, scene: Picture) -> Program:
    """Everything as it comes but the precision, which by itself is the best that the processor has."""
    import openvino

    precision = {"openvino-float32": "f32", "openvino-bf16": "bf16"}[options.program]
    model = openvino.Core().compile_model(str(options.graph), "CPU", {"INFERENCE_PRECISION_HINT": precision})
    x = _floats(scene)
    return Program(lambda: model(x)[0], lambda: _pixels(model(x)[0]))


def _ours(options: argparse.Namespace, scene: Picture) -> Program:
    from neural_style.stylize import Stylizer

    stylizer = Stylizer(
        options.weights, device="cpu", engine=options.engine, precision=options.precision, cache=options.cache
    )
    return Program(lambda: stylizer.style(scene), lambda: stylizer.style_float(scene), stylizer.description())


PROGRAMS: dict[str, Callable[[argparse.Namespace, Picture], Program]] = {
    "torch": _torch,
    "torch-compile": _torch,
    "onnxruntime": _onnxruntime,
    "openvino-float32": _openvino,
    "openvino-bf16": _openvino,
    "ours": _ours,
}


def _floats(scene: Picture) -> Picture:
    return np.ascontiguousarray(scene.transpose(2, 0, 1)[None], np.float32)


def _pixels(made_13HW: Picture) -> Picture:  # noqa: N803 -- axes
    return made_13HW[0].transpose(1, 2, 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=list(PROGRAMS))
    for name in ("weights", "graph", "picture", "answer"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=5, help="that count; one before them does not")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--cache", type=Path)
    return parser


if __name__ == "__main__":
    main()
