"""One training step against the published loop, each in a process of its own."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import REPO
from bench.measure import Command, Sample, interleaved

PEER = "published loop"
OURS = "ours, float32"
OURS_BF16 = "ours, bf16"
PROGRAMS = {PEER: ["published"], OURS: ["ours"], OURS_BF16: ["ours", "--precision", "bf16"]}
"""What is compared, with the arguments of `bench.train_program` for it."""
TUNED = ", tuned"
GOALS = {OURS_BF16: 3.0, OURS: 1.5}
"""How many times as fast as the peer a step should be."""

TRIED_ROUNDS = 3
TRIED = {
    OURS_BF16: [],
    "tried: torch.compile": ["--compiled"],
    "tried: the whole batch at once": ["--whole-batch"],
}

_NAME = 41
_FOREIGN = ("AWS_", "PIPELINE_", "MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES", "OMP_", "MKL_", "PYTHONDONTWRITEBYTECODE")
_JEMALLOC = ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2")
_MALLOC_ENV = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}


@dataclass(frozen=True, kw_only=True)
class Allocator:
    """A way to have memory kept that is free, instead of given back and cleared anew.

    Attributes:
        env: what turns it on.
        described: for the report.
    """

    env: Mapping[str, str]
    described: str


def find_allocator() -> Allocator:
    """Return jemalloc where the system has it, else glibc's own settings."""
    for path in _JEMALLOC:
        if Path(path).is_file():
            settings = "background_thread:true,metadata_thp:auto,dirty_decay_ms:-1,muzzy_decay_ms:-1"
            return Allocator(env={"LD_PRELOAD": path, "MALLOC_CONF": settings}, described=f"jemalloc, {settings}")
    settings = " ".join(f"{name}={value}" for name, value in _MALLOC_ENV.items())
    return Allocator(env=_MALLOC_ENV, described=f"glibc's malloc with {settings}")


def run(*, rounds: int, options: Sequence[str] = ()) -> Iterator[list[str]]:
    """One table: seconds of a step, with the system's allocator as it is and with a tuned one on both sides."""
    rounds = min(rounds, 5)
    allocator = find_allocator()
    samples = interleaved(_commands(allocator, options), rounds=rounds, discarded=1)
    yield [
        "training: one step of 4 pictures of 256 x 256, the published net and losses, random VGG16 weights",
        f"{rounds} rounds interleaved, 1 discarded before them; in each process a first step that does not count",
        f"tuned: {allocator.described}, on both sides",
        *table(samples),
        *(verdict(samples, name) for name in GOALS),
    ]
    yield _tried(options)


def _tried(options: Sequence[str]) -> list[str]:
    """Lines that say what a step's time goes into, and what else was tried."""
    bf16 = PROGRAMS[OURS_BF16]
    commands = [_command(name, [*bf16, *more, *options]) for name, more in TRIED.items()]
    profiled = _command("profile", [*bf16, "--profile", "--batch-size", "1", *options])
    (profile,) = interleaved([profiled], rounds=1, discarded=0)["profile"]
    return [
        f"training: where the time of {OURS_BF16} goes, of one picture in one thread:",
        shares(profile),
        f"what was tried, {TRIED_ROUNDS} rounds interleaved, 1 discarded before them; compiling does not count",
        *table(interleaved(commands, rounds=TRIED_ROUNDS, discarded=1), peer=OURS_BF16),
    ]


def shares(sample: Sample) -> str:
    """Say what share of its time a program spent with what, the most first."""
    spent = sorted(sample.told["shares"].items(), key=lambda each: -each[1])
    return ", ".join(f"{kind} {share:.0%}" for kind, share in spent)


def table(samples: Mapping[str, Sequence[Sample]], *, peer: str = PEER) -> list[str]:
    """Lines of a table; faster is how many times as fast as the peer with the same allocator."""
    head = ["s/step", "min", "max", "faster", "cpu s", "peak MB"]
    lines = [f"{'':{_NAME}}" + "".join(f"{word:>9}" for word in head)]
    for name, each in samples.items():
        seconds = [_step_s(sample) for sample in each]
        cells = [f"{value:.3f}" for value in (statistics.median(seconds), min(seconds), max(seconds))]
        cpu_s = statistics.median(sample.told["moving_cpu_s"] / sample.told["num_steps"] for sample in each)
        peak_bytes = statistics.median(sample.told["peak_bytes"] for sample in each)
        cells += [f"{_faster(samples, name, peer=peer):.2f}", f"{cpu_s:.3f}", f"{peak_bytes / 1e6:.0f}"]
        lines.append(f"{name:{_NAME}}" + "".join(f"{cell:>9}" for cell in cells))
    return lines


def verdict(samples: Mapping[str, Sequence[Sample]], name: str) -> str:
    """Say whether a goal is met, with each allocator."""
    found = [_faster(samples, each) for each in (name, name + TUNED)]
    said = [f"{faster:.2f} {'met' if faster >= GOALS[name] else 'MISSED'}" for faster in found]
    return f"goal, {name} {GOALS[name]:g} times as fast: {said[0]}; both with the tuned allocator {said[1]}"


def _commands(allocator: Allocator, options: Sequence[str]) -> list[Command]:
    return [
        _command(name + suffix, [*arguments, *options], more)
        for suffix, more in (("", {}), (TUNED, allocator.env))
        for name, arguments in PROGRAMS.items()
    ]


def _command(name: str, arguments: Sequence[str], more: Mapping[str, str] | None = None) -> Command:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return Command(
        name=name,
        args=[sys.executable, "-m", "bench.train_program", *arguments],
        env={**env, **(more or {})},
        cwd=REPO,
    )


def _faster(samples: Mapping[str, Sequence[Sample]], name: str, *, peer: str = PEER) -> float:
    peer += TUNED if name.endswith(TUNED) else ""
    reference, own = (statistics.median(map(_step_s, samples[each])) for each in (peer, name))
    return reference / own


def _step_s(sample: Sample) -> float:
    return float(sample.told["moving_s"]) / float(sample.told["num_steps"])
