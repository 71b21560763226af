"""Large pictures in little memory, from file to file: groups `bands` and `bands-large`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.inputs import REPO
from bench.large_pictures import draw_in_bands
from bench.measure import Command, Sample, interleaved
from bench.report import Section
from bench.styling import PEER, clean_env
from bench.styling_inputs import make_inputs

CHANNELS = 16
MEMORY_BYTES = 200 * 2**20
SIZE_PX = (4096, 4028)
OURS = "ours, torch"
AUTO = "ours, auto"
GOAL_OWN_BYTES = 256 * 2**20
GOAL_LEVELS = 1

_GIVEN = ("--memory-bytes", str(MEMORY_BYTES))
_SMALL_PX = (256, 256)

LARGE_PX = ((2048, 2014), SIZE_PX, (8192, 8056), (16384, 12208))
GOAL_WHOLE_BYTES = 2**30


def run(*, rounds: int, size_px: tuple[int, int] = SIZE_PX) -> Iterator[Section]:
    """A table: memory and time of a picture in bands against the whole picture in plain eager torch."""
    from neural_style.difference import difference

    rounds = min(rounds, 3)
    with tempfile.TemporaryDirectory(prefix="bench-bands-") as name:
        folder = Path(name)
        auto = ["ours", *_GIVEN, "--engine", "auto", "--cache", str(folder / "converted")]
        commands = [
            _command(folder, OURS, ["ours", *_GIVEN]),
            _command(folder, PEER, ["eager"]),
            _command(folder, AUTO, auto),
        ]
        make_inputs(folder, channels=CHANNELS, sides=())
        _draw(folder, _SMALL_PX)
        interleaved(commands[-1:], rounds=1, discarded=0)  # converts the model
        _draw(folder, size_px)
        samples = interleaved(commands, rounds=rounds, discarded=0)
        outputs = {name: _output(folder, name) for name in samples}
        levels = {name: difference(outputs[name], outputs[PEER]).largest for name in (OURS, AUTO)}
    yield section(samples, levels, size_px=size_px, rounds=rounds)


def section(
    samples: Mapping[str, Sequence[Sample]], levels: Mapping[str, int], *, size_px: tuple[int, int], rounds: int
) -> Section:
    """Return the table with its goals."""
    net_s = statistics.median(sample.told["net_s"] for sample in samples[PEER])
    return Section(
        title=f"bands: {_size(size_px)} in float32, {CHANNELS} channels, random weights, TIFF to TIFF",
        notes=[
            f"{rounds} rounds interleaved, none discarded; imports and loading the model do not count. Given to ours: "
            f"memory of {_mib(MEMORY_BYTES)} MiB.",
            "own: memory that belongs to no file, looked at every 5 ms; idle: with the model loaded; more: its most "
            "over that. all: the most that was resident, files and libraries included. MiB.",
            f"{AUTO}: its engine hands the picture to torch, which is first imported then. "
            f"{OURS} kept: {_kept(samples[OURS][0])}.",
        ],
        head=["s", "min", "max", "of eager", "idle", "more", "all", "differs"],
        rows=[[*_row(samples, name), str(levels.get(name, ""))] for name in samples],
        remarks=[*verdicts(samples, levels), f"the net alone, without files, took {PEER} {net_s:.2f} s"],
    )


def verdicts(samples: Mapping[str, Sequence[Sample]], levels: Mapping[str, int]) -> list[str]:
    """Say of each goal whether it is met; memory by the worst run, time by medians."""
    most = max(map(_more_bytes, samples[OURS]))
    ratio = _median_s(samples[OURS]) / _median_s(samples[PEER])
    right = "met" if max(levels.values()) <= GOAL_LEVELS else "MISSED"
    return [
        f"goal, at most {_mib(GOAL_OWN_BYTES)} MiB of own memory over idle: {_mib(most)} {_met(most, GOAL_OWN_BYTES)}",
        f"goal, at most the time of {PEER}: {ratio:.2f} {_met(ratio, 1.0)}",
        f"goal, no pixel differs by more than {GOAL_LEVELS} of 255 from the whole picture: "
        f"{max(levels.values())} {right}",
    ]


def run_large(*, sizes_px: Sequence[tuple[int, int]] = LARGE_PX) -> Iterator[Section]:
    """A table of memory over the size of the picture, each styled once."""
    rows, samples = [], []
    for size_px in sizes_px:
        with tempfile.TemporaryDirectory(prefix="bench-bands-") as name:
            folder = Path(name)
            make_inputs(folder, channels=CHANNELS, sides=())
            _draw(folder, size_px)
            command = _command(folder, OURS, ["ours", *_GIVEN])
            (sample,) = interleaved([command], rounds=1, discarded=0)[OURS]
        samples.append(sample)
        rows.append(large_row(size_px, sample))
    yield large_section(rows, samples)


def large_section(rows: Sequence[Sequence[str]], samples: Sequence[Sample]) -> Section:
    """Return the table with its goals; the last picture is the largest."""
    whole = samples[-1].told["peak_bytes"]
    more = [_more_bytes(sample) for sample in samples]
    return Section(
        title=f"bands: memory over the size of a picture, {CHANNELS} channels, float32, TIFF to TIFF",
        notes=[
            f"Each once, in a process of its own, drawn in bands before. Given: memory of {_mib(MEMORY_BYTES)} MiB. "
            "own: memory that belongs to no file, looked at every 5 ms, its most over idle with the model loaded; all: "
            "the most that was resident, files and libraries included. MiB.",
        ],
        head=["MP", "s", "s/MP", "own", "all", "kept", "rows"],
        rows=rows,
        remarks=[
            f"goal, the largest in at most {_mib(GOAL_WHOLE_BYTES)} MiB in all: {_mib(whole)} "
            + _met(whole, GOAL_WHOLE_BYTES),
            f"flat: own memory of the largest is {more[-1] / more[0]:.2f} of that of the smallest, "
            f"{max(more) / min(more):.2f} from the least to the most",
        ],
    )


def large_row(size_px: tuple[int, int], sample: Sample) -> list[str]:
    """Return what one picture took."""
    megapixels, seconds = size_px[0] * size_px[1] / 1e6, float(sample.told["moving_s"])
    plan = sample.told["made_by"].get("bands", {})
    return [
        f"{size_px[0]} x {size_px[1]}",
        f"{megapixels:.1f}",
        f"{seconds:.1f}",
        f"{seconds / megapixels:.2f}",
        *map(_mib, (_more_bytes(sample), sample.told["peak_bytes"])),
        str(plan.get("kept", "whole")),
        str(plan.get("rows", "")),
    ]


def _draw(folder: Path, size_px: tuple[int, int]) -> None:
    draw_in_bands(_picture(folder), width=size_px[0], height=size_px[1])


def _command(folder: Path, name: str, arguments: Sequence[str]) -> Command:
    files = {"picture": _picture(folder), "weights": folder / "random.pth", "output": _output(folder, name)}
    args = [sys.executable, "-m", "bench.bands_program", *arguments]
    args += [text for option, path in files.items() for text in (f"--{option}", str(path))]
    return Command(name=name, args=args, env=clean_env(), cwd=REPO)


def _picture(folder: Path) -> Path:
    return folder / "large.tif"


def _output(folder: Path, name: str) -> Path:
    return folder / ("".join(letter for letter in name if letter.isalnum()) + ".tif")


def _row(samples: Mapping[str, Sequence[Sample]], name: str) -> list[str]:
    each = samples[name]
    seconds = [float(sample.told["moving_s"]) for sample in each]
    idle, whole = (max(sample.told[key] for sample in each) for key in ("own_idle_bytes", "peak_bytes"))
    return [
        name,
        *(f"{value:.2f}" for value in (statistics.median(seconds), min(seconds), max(seconds))),
        f"{_median_s(each) / _median_s(samples[PEER]):.2f}",
        *map(_mib, (idle, max(map(_more_bytes, each)), whole)),
    ]


def _kept(sample: Sample) -> str:
    plan = sample.told["made_by"].get("bands")
    return "the whole picture" if plan is None else f"{plan['kept']}, bands of {plan['rows']} rows"


def _size(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]} x {size_px[1]} ({size_px[0] * size_px[1] / 1e6:.1f} MP)"


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:.0f}"


def _met(found: float, at_most: float) -> str:
    return "met" if found <= at_most else f"MISSED by {found / at_most - 1:.0%}"


def _more_bytes(sample: Sample) -> int:
    return int(sample.told["own_peak_bytes"] - sample.told["own_idle_bytes"])


def _median_s(samples: Sequence[Sample]) -> float:
    return statistics.median(float(sample.told["moving_s"]) for sample in samples)
