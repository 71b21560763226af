"""Seconds of a picture against every peer, each in a process of its own: groups `style` and what belongs to it."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import REPO
from bench.machine import version
from bench.measure import Command, Sample, interleaved
from bench.report import Section
from bench.styling_inputs import StylingInputs, make_inputs
from bench.styling_tried import TRIED
from bench.train_step import find_allocator

SIDES_PX = {512: 5, 1024: 3}
"""Pictures that count in each process, by the side of the picture."""

CHANNELS = 32
PEER = "plain eager torch"
TUNED = "plain eager torch, tuned allocator"
COMPILED = "torch.compile"
FOREIGN = ("AWS_", "PIPELINE_", "MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES", "OMP_", "MKL_", "KMP_", "TORCH", "OPENVINO_")
"""Settings from outside that would change what is compared, by the beginnings of their names."""

PEERS: dict[str, str] = {
    PEER: "torch",
    TUNED: "torch",
    COMPILED: "torch-compile",
    "onnxruntime, published graph": "onnxruntime",
    "OpenVINO float32, published graph": "openvino-float32",
    "OpenVINO bf16, published graph": "openvino-bf16",
}
"""Their programs by name."""

ONLY_FAST = ("OpenVINO bf16, published graph",)
"""Peers that do not keep the promise of float32."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What one of ours should reach.

    Attributes:
        times: As fast as plain eager torch.
        precision: Of the promise.
    """

    times: float
    precision: str


OURS = "ours, float32"
OURS_FAST = "ours, fast"
GOALS = {OURS: Goal(times=3.0, precision="float32"), OURS_FAST: Goal(times=5.0, precision="fast")}
BEST_PEER_TIMES = 1.2
"""As fast as the best peer; 1 is what must be."""

BY_NAME = {
    "ours, openvino, float32": ("openvino", "float32"),
    "ours, openvino, fast": ("openvino", "fast"),
    "ours, onnxruntime, float32": ("onnxruntime", "float32"),
    "ours, torch, float32": ("torch", "float32"),
    "ours, torch, fast": ("torch", "fast"),
}
"""Engine and precision of those that are asked for by name."""


def run(*, rounds: int, sides_px: Mapping[int, int] | None = None) -> Iterator[Section]:
    """A table for each size, what the time goes into, and how right it is with published weights."""
    rounds, sides_px = min(rounds, 5), sides_px or SIDES_PX
    with tempfile.TemporaryDirectory(prefix="bench-style-") as name:
        folder = Path(name)
        inputs = make_inputs(folder, channels=CHANNELS, sides=tuple(sides_px))
        for side_px, pictures in sides_px.items():
            commands = commands_for(inputs, side_px=side_px, pictures=pictures)
            (cold,) = interleaved([_alone(commands, COMPILED)], rounds=1, discarded=0)[COMPILED]
            samples = interleaved(commands, rounds=rounds, discarded=1)
            yield section(
                samples, side_px=side_px, rounds=rounds, pictures=pictures, compile_s=float(cold.told["ready_s"])
            )
        yield where_it_goes(inputs, side_px=max(sides_px))
    if TRIED:
        yield Section(title="styling: what was tried", remarks=TRIED)


def section(
    samples: Mapping[str, Sequence[Sample]], *, side_px: int, rounds: int, pictures: int, compile_s: float
) -> Section:
    """Return the table of one size, with the goals under it."""
    return Section(
        title=f"styling: a picture of {side_px} x {side_px}, {CHANNELS} channels, random weights",
        notes=[
            f"{rounds} rounds interleaved, 1 discarded before them; in each process {pictures} pictures, their median "
            "counts, one before them does not.",
            "Peers are given floats in memory, and have their defaults; ours goes from bytes to bytes.",
            f"times: as fast as {PEER}; tuned: as fast as that with {find_allocator().described}.",
            "ready: library imported, model loaded, first picture done, caches warm (for torch.compile, which found "
            f"nothing in its cache: {compile_s:.1f} s). dB: against plain torch, before rounding.",
            f"torch {version('torch')}, OpenVINO {version('openvino')}, onnxruntime {version('onnxruntime')}; "
            + "; ".join(f"{name} is {_made_by(samples[name][0])}" for name in GOALS),
        ],
        head=["s", "min", "max", "times", "tuned", "ready", "peak MB", "dB"],
        rows=[_row(samples, name) for name in samples],
        remarks=verdicts(samples),
    )


def verdicts(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Say of each goal whether it is met."""
    return [line for name in GOALS for line in (_against_eager(samples, name), _against_best(samples, name))]


def _against_eager(samples: Mapping[str, Sequence[Sample]], name: str) -> str:
    times, goal = faster(samples, name, PEER), GOALS[name].times
    return (
        f"goal, {name} {goal:g} times as fast as {PEER}: {times:.2f} {met(times, goal)}; "
        f"as that with the tuned allocator {faster(samples, name, TUNED):.2f}"
    )


def _against_best(samples: Mapping[str, Sequence[Sample]], name: str) -> str:
    """Compare with the peer that is the best of those that promise as much."""
    is_fast = GOALS[name].precision == "fast"
    peer = min((each for each in PEERS if is_fast or each not in ONLY_FAST), key=lambda each: _median_s(samples[each]))
    times = faster(samples, name, peer)
    return (
        f"goal, {name} not slower than the best peer ({peer}): {times:.2f} {met(times, 1.0)}; "
        f"{BEST_PEER_TIMES:g} times as fast: {met(times, BEST_PEER_TIMES)}"
    )


def met(times: float, goal: float) -> str:
    """Say whether a number of times reaches its goal, and if not, by what part it falls short."""
    return "met" if times >= goal else f"MISSED by {1 - times / goal:.0%}"


def faster(samples: Mapping[str, Sequence[Sample]], name: str, peer: str) -> float:
    """Return how many times as fast as a peer one is, by medians."""
    return _median_s(samples[peer]) / _median_s(samples[name])


def where_it_goes(inputs: StylingInputs, *, side_px: int) -> Section:
    """Say what OpenVINO's time goes into in both precisions."""
    arguments = ["--weights", str(inputs.weights), "--picture", str(inputs.picture(side_px)), "--cache", _cache(inputs)]
    commands = [
        _command(precision, ["bench.styling_profile", *arguments, "--precision", precision])
        for precision in ("float32", "fast")
    ]
    found = interleaved(commands, rounds=1, discarded=0)
    return Section(
        title=f"styling: where the time goes, OpenVINO with ours, {side_px} x {side_px}, by its own counters",
        remarks=[f"{name} ({_made_by(sample)}): {shares(sample)}" for name, (sample,) in found.items()],
    )


def shares(sample: Sample) -> str:
    """Say what share of its time a program spent with what kind of nodes, the most first."""
    seconds: dict[str, float] = sample.told["seconds"]
    whole = sum(seconds.values())
    most = sorted(seconds.items(), key=lambda each: -each[1])
    return f"{whole:.3f} s: " + ", ".join(f"{kind} {part / whole:.0%}" for kind, part in most if part / whole >= 0.005)


def commands_for(inputs: StylingInputs, *, side_px: int, pictures: int) -> list[Command]:
    """Return every program for pictures of one size."""
    files = {
        "weights": inputs.weights,
        "graph": inputs.graph,
        "picture": inputs.picture(side_px),
        "answer": inputs.answer(side_px),
    }
    arguments = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    arguments += ["--pictures", str(pictures)]
    compiler = {"TORCHINDUCTOR_CACHE_DIR": str(inputs.folder / f"inductor-{side_px}")}
    more = {TUNED: find_allocator().env, COMPILED: compiler}
    commands = [
        _command(name, ["bench.styling_program", program, *arguments], more.get(name))
        for name, program in PEERS.items()
    ]
    asked = {name: ("auto", goal.precision) for name, goal in GOALS.items()} | BY_NAME
    for name, (engine, precision) in asked.items():
        options = ["--engine", engine, "--precision", precision, "--cache", _cache(inputs)]
        commands.append(_command(name, ["bench.styling_program", "ours", *arguments, *options]))
    return commands


def clean_env(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what would change what is compared."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | dict(more or {})


def _command(name: str, module_and_arguments: Sequence[str], more: Mapping[str, str] | None = None) -> Command:
    return Command(name=name, args=[sys.executable, "-m", *module_and_arguments], env=clean_env(more), cwd=REPO)


def _alone(commands: Sequence[Command], name: str) -> Command:
    return next(command for command in commands if command.name == name)


def _cache(inputs: StylingInputs) -> str:
    return str(inputs.folder / "converted")


def _row(samples: Mapping[str, Sequence[Sample]], name: str) -> list[str]:
    each = samples[name]
    seconds = [float(sample.told["picture_s"]) for sample in each]
    peak_bytes, ready_s, db = (statistics.median(s.told[key] for s in each) for key in ("peak_bytes", "ready_s", "db"))
    return [
        name,
        *(f"{value:.3f}" for value in (statistics.median(seconds), min(seconds), max(seconds))),
        *(f"{faster(samples, name, peer):.2f}" for peer in (PEER, TUNED)),
        f"{ready_s:.2f}",
        f"{peak_bytes / 1e6:.0f}",
        "same" if db >= 200 else f"{db:.1f}",
    ]


def _made_by(sample: Sample) -> str:
    """Name the engine that was taken."""
    return "{engine} {engine_version} in {arithmetic}".format(**sample.told)


def _median_s(samples: Sequence[Sample]) -> float:
    return statistics.median(float(sample.told["picture_s"]) for sample in samples)
