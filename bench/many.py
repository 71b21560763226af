"""Thousands of small pictures: what it costs to plan, schedule and look again, beside a Luigi task for each."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.many_command import FOLDER, MODEL, ManyInStore
from bench.many_inputs import CHANNELS, make_model, make_small
from bench.many_store import NotingStore, noting_store
from bench.measure import Command, Sample, interleaved
from bench.report import Section

NUM_PICTURES = 10_000
NUM_TASKS = 1000
"""Pictures of which each is a task: how long it takes grows faster than they do."""

SIDE_PX = 64
PAGE_KEYS = 1000

SCHEDULING_S = 1.0
AGAIN_S = 3.0
MORE_REQUESTS = 5
"""That a run which finds nothing to do may ask beside a look at each shard and both listings."""

TWICE = 2.2
"""So much longer may twice the pictures take."""

AGAIN_ROUNDS = 5

TASKS = "a task per picture"
FIRST = "many"
AGAIN = "many, finished"

TRIED = (
    "tried for a finished run, 4.75 s at first: results looked at while pictures are listed, names put together once, "
    "manifests fetched several at a time, the collector at rest at the start, a bucket for each job: kept; the "
    "results' listing in four parts at a time, after the pictures': not kept. The store (Python, one thread at a time) "
    "takes as long for twenty pages as all else"
)

Samples = Mapping[str, Sequence[Sample]]


def run(*, rounds: int, num_pictures: int = NUM_PICTURES, num_tasks: int = NUM_TASKS) -> Iterator[Section]:
    """One table.

    Raises:
        RuntimeError: a run left out pictures.
    """
    with tempfile.TemporaryDirectory(prefix="bench-many-") as name, noting_store() as store:
        folder = Path(name)
        counts = (num_tasks, num_pictures // 2, num_pictures)
        few, half, whole = _filled(store, folder, counts)
        compared = _measured(store, [_tasks(few), _first(few)])
        first = _measured(store, [_first(half), _first(whole), _first(half)])  # half of them before and after
        again = _measured(
            store,
            [whole.many(named(AGAIN, whole.count), before=_nothing)],
            rounds=min(rounds, AGAIN_ROUNDS),
            discarded=1,
        )
    yield section({**compared, **first, **again}, counts=counts)


def section(samples: Samples, *, counts: Sequence[int]) -> Section:
    """Put the table together.

    Args:
        samples: By the names of the commands.
        counts: Of pictures: a task each, half of all, all.
    """
    num_tasks, half, whole = counts
    times_half, times_again = (len(samples[named(*each)]) for each in ((FIRST, half), (AGAIN, whole)))
    return Section(
        title=f"many: pictures of {SIDE_PX} x {SIDE_PX} in S3, {CHANNELS} channels, random weights; first and finished",
        notes=[
            f"First runs once, none discarded, of {half:,} {times_half} times, around that of {whole:,}; nothing on "
            f"this host before. Finished {times_again} times, 1 discarded before them. Medians.",
            "In s: the whole command, and what of it is named; cpu is user and system; ms a picture, of the command.",
            "From the requests that the store notes: planning, from the first to the last one that looks for what is "
            "there; scheduling, from there to the first shard's first, or from Luigi's being given the tasks to the "
            "first picture that is fetched; between, from a shard's manifest to the next one's first picture.",
            "The store is moto in a process of its own, on the same cores. It parses its own times by dateutil for "
            "each listed object and looks through its own package for each request; both is done quicker here.",
            f"{TASKS}: UploadStylized through csci_utils.luigi.run.build in one process, as --publish does.",
        ],
        head=["s", "ms", "planning", "scheduling", "between", "client cpu", "server cpu", "requests"],
        rows=[_row(name, each, count=_count_in(name)) for name, each in samples.items()],
        remarks=[
            *verdicts(samples, half=half, whole=whole),
            beside(samples, num_tasks=num_tasks),
            TRIED,
        ],
    )


def verdicts(samples: Samples, *, half: int, whole: int) -> list[str]:
    """Say of each goal whether it is met."""
    first, again = samples[named(FIRST, whole)], samples[named(AGAIN, whole)]
    times = _wall_s(first) / _wall_s(samples[named(FIRST, half)])
    requests = max(sample.told["num_requests"] for sample in again)
    allowed = allowed_requests(num_shards=again[0].told["num_manifests"], num_pictures=whole)
    client_s, server_s = (statistics.median(values) for values in zip(*map(_cpu_s, again), strict=True))
    return [
        f"goal, under {SCHEDULING_S:g} s of scheduling for {whole:,}: "
        + _judged(_told(first, "scheduling_s"), SCHEDULING_S),
        f"goal, under {AGAIN_S:g} s for a finished run of {whole:,}: {_judged(_wall_s(again), AGAIN_S)}; "
        f"of it the client takes {client_s:.2f} s of CPU time (start included), the server {server_s:.2f} s",
        f"goal, at most {allowed} requests for it (shards, pages of both listings, {MORE_REQUESTS}): {requests} "
        + ("met" if requests <= allowed else f"MISSED by {requests - allowed}"),
        f"goal, twice the pictures in at most {TWICE:g} times the time: {_judged(times, TWICE)}",
    ]


def beside(samples: Samples, *, num_tasks: int) -> str:
    """Compare with a task per picture."""
    ours, tasks = samples[named(FIRST, num_tasks)], samples[named(TASKS, num_tasks)]
    scheduling = (f"{_told(each, 'scheduling_s'):.2f} s" for each in (tasks, ours))
    per_picture = (f"{_told(each, 'moving_s') / num_tasks * 1e3:.1f} ms" for each in (tasks, ours))
    return (
        f"a task per picture against shards at {num_tasks:,}: scheduling {' against '.join(scheduling)}, "
        f"a picture from then on {' against '.join(per_picture)}"
    )


def allowed_requests(*, num_shards: int, num_pictures: int) -> int:
    """Return how many requests a finished run may take."""
    pages = -(-num_pictures // PAGE_KEYS)
    return num_shards + 2 * pages + MORE_REQUESTS


def named(kind: str, count: int) -> str:
    """Name a command."""
    return f"{kind}, {count:,}"


def _filled(store: NotingStore, folder: Path, counts: Sequence[int]) -> list[ManyInStore]:
    """Put so many pictures and a model into the store, below a root for each count."""
    pictures = make_small(folder, side_px=SIDE_PX, count=max(counts))
    model = make_model(folder)
    return [
        ManyInStore.fill(store, f"root-{count}", pictures=pictures, model=model, count=count, local=folder / "local")
        for count in counts
    ]


def _measured(
    store: NotingStore, commands: Sequence[Command], *, rounds: int = 1, discarded: int = 0
) -> dict[str, list[Sample]]:
    return interleaved(commands, rounds=rounds, discarded=discarded, server_pids=[store.pid])


def _first(pictures: ManyInStore) -> Command:
    return pictures.many(named(FIRST, pictures.count), before=pictures.forget)


def _nothing() -> None:
    """Leave what is there."""


def _tasks(pictures: ManyInStore) -> Command:
    options = ["--folder", FOLDER, "--count", str(pictures.count), "--model", MODEL]
    return pictures.command(
        named(TASKS, pictures.count),
        ["-m", "bench.many_tasks_program", *options],
        before=pictures.forget,
        num_results=2 * pictures.count,  # each with its record
    )


def _row(name: str, samples: Sequence[Sample], *, count: int) -> list[str]:
    seconds = (_told(samples, key) for key in ("planning_s", "scheduling_s", "between_s"))
    cpu_s = (statistics.median(values) for values in zip(*map(_cpu_s, samples), strict=True))
    return [
        name,
        f"{_wall_s(samples):.2f}",
        f"{_wall_s(samples) / count * 1e3:.2f}",
        *("" if each is None else f"{each:.2f}" for each in seconds),
        *(f"{each:.2f}" for each in cpu_s),
        f"{_told(samples, 'num_requests'):.0f}",
    ]


def _count_in(name: str) -> int:
    return int(name.rpartition(", ")[2].replace(",", ""))


def _told(samples: Sequence[Sample], key: str) -> Any:
    """The median of what was told; None where nothing was."""
    values = [_of(sample, key) for sample in samples]
    return statistics.median(values) if None not in values else None


def _of(sample: Sample, key: str) -> Any:
    """What a sample tells; of tasks, scheduling begins when Luigi is given them."""
    if "begun_s" in sample.told and key in ("planning_s", "scheduling_s", "between_s"):
        return sample.told["first_picture_s"] - sample.told["begun_s"] if key == "scheduling_s" else None
    return sample.told[key]


def _wall_s(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.wall_s for sample in samples)


def _cpu_s(sample: Sample) -> tuple[float, float]:
    return sample.cpu_s, sum(sample.servers_cpu_s)


def _judged(found: float, limit: float) -> str:
    return f"{found:.2f} " + ("met" if found <= limit else f"MISSED by {found / limit - 1:.0%}")
