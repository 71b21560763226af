"""``python -m neural_style``: the published script's command line.

The result's path goes to standard output, everything for people to standard error. Exit status: 0 done, 2 usage, 30 bad
picture, weights, device or disk, 40 a defect of this program, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from .console import open_closed_streams, print_path
from .contract import DEFAULT_MAX_PIXELS, DEFAULT_PRECISION, DEFAULT_QUALITY, ENGINES, PRECISIONS
from .errors import NeuralStyleError, one_line
from .option_types import memory, positive
from .progress_bar import ProgressBar, bar_away
from .train_cli import add_train
from .train_cli import train as train_as_asked

PROGRAM = "neural_style"
FAILED, DEFECT, INTERRUPTED = 30, 40, 130

_WATCH_S = 0.5

log = logging.getLogger(PROGRAM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a usage error leaves as SystemExit(2)."""
    open_closed_streams()
    args = build_parser().parse_args(argv)
    with _messages() as warnings:
        try:
            args.run(args, warnings)
        except KeyboardInterrupt:
            return INTERRUPTED
        except MemoryError:
            return _failed("there is not enough memory; use --max-side")
        except (NeuralStyleError, OSError) as err:
            return _failed(one_line(str(err)))
        except Exception:  # a defect: here the traceback is the message
            traceback.print_exc()
            return DEFECT
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``run``, a function of the parsed arguments and the warnings so far."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(metavar="command", required=True)
    _add_eval(commands)
    _add_device(train := add_train(commands))
    train.set_defaults(run=lambda args, _warnings: train_as_asked(args, device=_device(args)))
    return parser


def _add_eval(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("eval", help="style one picture", allow_abbrev=False)
    parser.set_defaults(run=_eval, usage_error=parser.error)
    parser.add_argument("--content-image", required=True, metavar="PATH", help="the picture to style")
    parser.add_argument("--model", required=True, metavar="PATH", help="published weights, or an .onnx model")
    parser.add_argument("--output-image", required=True, metavar="PATH", help="the result; its suffix is its format")
    size = parser.add_argument_group("size")
    size.add_argument("--content-scale", type=_scale, metavar="F", help="divide width and height by this first")
    size.add_argument("--max-side", type=positive, metavar="N", help="shrink the longest edge to N pixels first")
    size.add_argument(
        "--max-pixels",
        type=positive,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help="refuse larger pictures, unless they are read in bands (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        choices=range(1, 101),
        default=DEFAULT_QUALITY,
        metavar="1..100",
        help="of JPEG and WebP (default: %(default)s)",
    )
    parser.add_argument(
        "--export_onnx", "--export-onnx", type=_onnx_name, metavar="PATH", help="also write the model as .onnx"
    )
    _add_engine(parser)
    parser.add_argument("--report", metavar="PATH", help="also write what ran, and the warnings, as JSON")
    parser.add_argument("--parent", type=positive, metavar="PID", help="end when this process, which started it, has")
    _add_device(parser)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("how the net runs")
    engine.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0], help="auto (the default): the fastest that proves right"
    )
    engine.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=DEFAULT_PRECISION,
        help="at least 70 dB against plain torch (float32, the default), or at least 43 in less time",
    )
    engine.add_argument(
        "--memory",
        type=memory,
        metavar="SIZE",
        help="what one picture may take, such as 2GiB; one that needs more is streamed (default: half of what is free)",
    )
    engine.add_argument("--cache", metavar="DIR", help="keep models there as an engine wants them, for the next time")


def _add_device(parser: argparse.ArgumentParser) -> None:
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--cuda", type=int, choices=(0, 1), help="1: on CUDA; 0: on the CPU")
    device.add_argument("--accel", action="store_true", help="on the accelerator, whichever there is")
    device.add_argument("--device", metavar="D", help="auto (the default), cpu, cuda, cuda:1 or mps")


def _eval(args: argparse.Namespace, warnings: list[str]) -> None:
    if args.export_onnx is not None and args.model.lower().endswith(".onnx"):
        args.usage_error("--export_onnx wants weights as --model; this one is an .onnx model already")
    if args.parent is not None:
        threading.Thread(target=_end_with, args=(args.parent,), daemon=True).start()
    from .stylize import Stylizer

    stylizer = Stylizer(
        args.model,
        device=_device(args),
        engine=args.engine,
        precision=args.precision,
        memory_bytes=args.memory,
        cache=args.cache,
    )
    if args.export_onnx is not None:
        from .onnx_export import refuse_without_exporter

        refuse_without_exporter()
    with ProgressBar() as bar:
        styled = stylizer.style_file(
            args.content_image,
            args.output_image,
            max_side=args.max_side,
            scale=args.content_scale,
            max_pixels=args.max_pixels,
            quality=args.quality,
            on_progress=bar.show,
        )
    if args.export_onnx is not None:
        from .onnx_export import export_onnx

        export_onnx(args.model, args.export_onnx)
        log.info("wrote the model to %s", one_line(args.export_onnx))
    if args.report is not None:
        _write_report(args.report, {"made_by": styled.made_by, "warnings": warnings})
    print_path(args.output_image)


def _end_with(parent_pid: int) -> None:
    """End this process when its parent is gone, at once: nobody waits for the result, or moves it into place."""
    while os.getppid() == parent_pid:
        time.sleep(_WATCH_S)
    os._exit(FAILED)


def _write_report(path: str, report: dict[str, Any]) -> None:
    from csci_utils.io import atomic_path

    with atomic_path(path) as scratch:
        scratch.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _device(args: argparse.Namespace) -> str:
    if args.accel:
        return "accel"
    if args.cuda is not None:
        return "cuda" if args.cuda else "cpu"
    return args.device or "auto"


def _scale(text: str) -> float:
    scale = float(text)
    if not 0 < scale < float("inf"):
        raise argparse.ArgumentTypeError(f"wanted a number above 0, found {text!r}")
    return scale


def _onnx_name(text: str) -> str:
    if not text.endswith(".onnx"):
        raise argparse.ArgumentTypeError(f"wanted a name that ends with .onnx, found {text!r}")
    return text


def _failed(sentence: str) -> int:
    log.error("%s", sentence)
    return FAILED


@contextmanager
def _messages() -> Iterator[list[str]]:
    """Send the package's log to standard error, one line a message, while a command runs; yield its warnings."""
    handler, kept = _Lines(sys.stderr), _Warnings(logging.WARNING)
    handler.setFormatter(_Line())
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.addHandler(kept)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield kept.texts
    finally:
        log.removeHandler(handler)
        log.removeHandler(kept)
        log.setLevel(level)
        log.propagate = propagate


class _Warnings(logging.Handler):
    """Keeps what was warned of, for the report."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class _Lines(logging.StreamHandler[TextIO]):
    def emit(self, record: logging.LogRecord) -> None:
        with bar_away():
            super().emit(record)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{PROGRAM}: {record.levelname.lower()}: {record.getMessage()}"
