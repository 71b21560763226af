"""How much more memory a huge download takes than the process that is about to make it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import ours, plain
from bench.measure import Command, Sample, interleaved
from bench.store import BUCKET, Store

GOAL_BYTES = 64_000_000
OURS = "ours: get, sha256 verified"


def run(store: Store, *, rounds: int) -> Iterator[list[str]]:
    """One table: the peak of the process before and after, as the system counts it."""
    rounds = min(rounds, 3)
    path, sha256 = store.new_file("huge", store.sizes.huge_bytes)
    store.send_whole(path, "huge", sha256=sha256)
    samples = interleaved(_commands(store, path), rounds=rounds, discarded=0)
    lines = [
        f"memory: {store.sizes.huge_bytes / 1e9:g} GB moved; {rounds} rounds interleaved, none discarded; peak of",
        "resident MB (VmHWM): idle, with imports done and the client made; at the end; the difference; its most",
        f"{'':41}{'idle':>9}{'end':>9}{'more':>9}{'most':>9}",
        *(_line(name, each) for name, each in samples.items()),
    ]
    most = max(_more_bytes(sample) for sample in samples[OURS])
    lines.append(f"goal, under {GOAL_BYTES / 1e6:g} MB more: {'met' if most < GOAL_BYTES else 'MISSED'}")
    yield lines


def _commands(store: Store, source: Path) -> list[Command]:
    out = store.folder / "huge-out"

    def nothing_there() -> None:
        out.unlink(missing_ok=True)

    uri = f"s3://{BUCKET}/huge"
    return [
        store.python(OURS, ours.args("fetch", uri, str(out)), nothing_there),
        store.python("boto3 download_file", plain.args("fetch", uri, str(out)), nothing_there),
        store.python("ours: put, for comparison", ours.args("send", str(source), f"s3://{BUCKET}/huge-sent")),
    ]


def _line(name: str, samples: Sequence[Sample]) -> str:
    idle, end = (statistics.median(sample.told[key] for sample in samples) for key in ("idle_bytes", "peak_bytes"))
    more = [_more_bytes(sample) for sample in samples]
    return f"{name:41}" + "".join(f"{n / 1e6:>9.1f}" for n in (idle, end, statistics.median(more), max(more)))


def _more_bytes(sample: Sample) -> int:
    return int(sample.told["peak_bytes"] - sample.told["idle_bytes"])
