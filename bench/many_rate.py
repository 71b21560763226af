"""Pictures a second of a whole run, from S3 to S3, against the net alone and against what the processors allow."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import REPO
from bench.many_command import ManyInStore
from bench.many_inputs import CHANNELS, make_model, make_scenes
from bench.many_store import NotingStore, noting_store
from bench.measure import Command, Sample, interleaved
from bench.report import Section
from bench.styling import clean_env
from bench.styling_many import cores

SIDES_PX = {512: 200, 256: 640}
"""How many pictures of each side: a run takes 15 to 20 s on two cores of 2021."""

NUM_FEW = 8
"""Pictures of a run that mostly starts; what it takes is subtracted."""

ROUNDS = 3
DISCARDED = 1
OF_ALONE, OF_ALLOWED = 0.9, 0.9
SIDE_OF_ALONE, SIDE_OF_ALLOWED = 512, 256
"""Which goal is which side's: the smaller a picture, the more of its time is not the net's."""

ALONE, FEW, WHOLE = "Stylizer alone", "a few", "whole run"

TRIED = (
    "tried: moto served by Tornado, which keeps connections open, instead of by its own server: 1.1 instead of 0.9 ms "
    "of its CPU time a request, not kept; JPEG results checked at an eighth of their size: kept"
)

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a picture costs, CPU seconds of user and system.

    Attributes:
        net_s: In the Stylizer alone.
        client_s: In the rest of the process that styles.
        server_s: In the store.
    """

    net_s: float
    client_s: float
    server_s: float

    @property
    def allowed_per_s(self) -> float:
        """How many pictures a second these would let all cores make."""
        return cores() / (self.net_s + self.client_s + self.server_s)


def run(*, rounds: int, sides: Mapping[int, int] | None = None) -> Iterator[Section]:
    """One table.

    Raises:
        RuntimeError: a run left out pictures.
    """
    rounds, sides = min(rounds, ROUNDS), sides or SIDES_PX
    with tempfile.TemporaryDirectory(prefix="bench-rate-") as name, noting_store() as store:
        folder = Path(name)
        model = make_model(folder)
        commands = [each for side_px in sides for each in _commands(store, folder, model, side_px, sides[side_px])]
        samples = interleaved(commands, rounds=rounds, discarded=DISCARDED, server_pids=[store.pid])
    yield section(samples, sides=sides, rounds=rounds)


def section(samples: Samples, *, sides: Mapping[int, int], rounds: int) -> Section:
    """Put the table together."""
    counts = ", ".join(f"{count} of {side_px} px" for side_px, count in sides.items())
    return Section(
        title=f"many: whole runs against the Stylizer alone, {CHANNELS} channels, random weights, float32",
        notes=[
            f"{rounds} rounds interleaved, {DISCARDED} discarded before them. Medians. "
            f"Pictures are drawn, JPEG: {counts}.",
            f"{ALONE}: from arrays to arrays, {cores()} at once with a thread each, after the first ones. {WHOLE}: "
            "python -m pipeline many, from the first picture that is asked for to the manifest in S3, as the store "
            "notes it; the model was here before.",
            f"ms: CPU time, user and system, of a picture. client: that of the process without the net's; both runs' "
            f"less that of a run of {NUM_FEW}. allowed: {cores()} cores by the sum of the three.",
            "The store is moto on the same cores, in a process of its own; it looks once, and not twice a request, "
            "through its own package for what answers.",
        ],
        head=["per s", "min", "max", "of alone", "net ms", "client ms", "server ms", "allowed", "of it", "command s"],
        rows=[row for side_px in sides for row in _rows(samples, side_px)],
        remarks=[*verdicts(samples), TRIED],
    )


def verdicts(samples: Samples) -> list[str]:
    """Say of each goal whether it is met, and where the time goes."""
    lines = []
    if named(WHOLE, SIDE_OF_ALONE) in samples:
        side_px, alone = SIDE_OF_ALONE, _per_s(samples[named(ALONE, SIDE_OF_ALONE)])
        ratio = _per_s(samples[named(WHOLE, side_px)]) / alone
        most = costs_of(samples, side_px).allowed_per_s / alone
        lines += [
            f"goal, at {side_px} px at least {OF_ALONE:g} of the Stylizer alone: {_judged(ratio, OF_ALONE)}; "
            f"{most:.2f} is what the sum of the CPU costs allows",
            where_it_goes(samples, side_px),
        ]
    if named(WHOLE, SIDE_OF_ALLOWED) in samples:
        side_px = SIDE_OF_ALLOWED
        ratio = _per_s(samples[named(WHOLE, side_px)]) / costs_of(samples, side_px).allowed_per_s
        lines += [
            f"goal, at {side_px} px at least {OF_ALLOWED:g} of what the sum of the CPU costs allows: "
            + _judged(ratio, OF_ALLOWED),
            where_it_goes(samples, side_px),
        ]
    return lines


def where_it_goes(samples: Samples, side_px: int) -> str:
    """Share out the time of all cores among what they do."""
    costs, whole_s = costs_of(samples, side_px), cores() / _per_s(samples[named(WHOLE, side_px)])
    parts = {"net": costs.net_s, "rest of the client": costs.client_s, "server": costs.server_s}
    parts["idle, or others'"] = whole_s - sum(parts.values())
    return f"where the cores' time goes at {side_px} px: " + ", ".join(
        f"{name} {seconds / whole_s:.0%}" for name, seconds in parts.items()
    )


def costs_of(samples: Samples, side_px: int) -> Costs:
    """Return what a picture of a side costs."""
    net_s = statistics.median(
        sample.told["moving_cpu_s"] / sample.told["num_pictures"] for sample in samples[named(ALONE, side_px)]
    )
    process_s = _per_picture(samples, side_px, lambda sample: sample.cpu_s)
    server_s = _per_picture(samples, side_px, lambda sample: sum(sample.servers_cpu_s))
    return Costs(net_s=net_s, client_s=process_s - net_s, server_s=server_s)


def named(kind: str, side_px: int) -> str:
    """Name a command."""
    return f"{side_px} px, {kind}"


def _per_picture(samples: Samples, side_px: int, cost_s: Callable[[Sample], float]) -> float:
    """What each picture more costs: of a whole run, less that of a few."""
    whole, few = (samples[named(kind, side_px)] for kind in (WHOLE, FEW))
    more = whole[0].told["num_pictures"] - few[0].told["num_pictures"]
    return (statistics.median(map(cost_s, whole)) - statistics.median(map(cost_s, few))) / float(more)


def _commands(store: NotingStore, folder: Path, model: Path, side_px: int, count: int) -> list[Command]:
    pictures, array = make_scenes(folder, side_px=side_px, count=count)
    few, whole = (
        ManyInStore.fill(
            store, f"{side_px}-{number}", pictures=pictures, model=model, count=number, local=folder / "local"
        )
        for number in (NUM_FEW, count)
    )
    alone = ["--weights", str(model), "--pictures", str(array), "--count", str(count), "--cache", str(folder / "cache")]
    alone += ["--threads", "1", "--side-by-side", str(cores())]
    program = [sys.executable, "-m", "bench.styling_many_program", *alone]
    return [
        Command(name=named(ALONE, side_px), args=program, env=clean_env(), cwd=REPO),
        few.many(named(FEW, side_px), before=few.forget_results),
        whole.many(named(WHOLE, side_px), before=whole.forget_results),
    ]


def _rows(samples: Samples, side_px: int) -> list[list[str]]:
    costs, alone = costs_of(samples, side_px), _per_s(samples[named(ALONE, side_px)])
    whole = samples[named(WHOLE, side_px)]
    more = [f"{1e3 * cost:.1f}" for cost in (costs.net_s, costs.client_s, costs.server_s)]
    more += [f"{costs.allowed_per_s:.2f}", f"{_per_s(whole) / costs.allowed_per_s:.2f}"]
    more += [f"{statistics.median(sample.wall_s for sample in whole):.1f}"]
    return [
        [*_rates(samples, named(ALONE, side_px), alone), more[0], *("" for _ in more[1:])],
        [*_rates(samples, named(WHOLE, side_px), alone), *more],
    ]


def _rates(samples: Samples, name: str, alone: float) -> list[str]:
    found = [_rate(sample) for sample in samples[name]]
    ratio = f"{_per_s(samples[name]) / alone:.2f}"
    return [name, *(f"{value:.2f}" for value in (statistics.median(found), min(found), max(found))), ratio]


def _per_s(samples: Sequence[Sample]) -> float:
    return statistics.median(map(_rate, samples))


def _rate(sample: Sample) -> float:
    return float(sample.told["num_pictures"]) / float(sample.told["moving_s"])


def _judged(found: float, least: float) -> str:
    return f"{found:.2f} " + ("met" if found >= least else f"MISSED by {1 - found / least:.0%}")
