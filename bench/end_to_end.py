"""The main job, S3 and checks and record included, against the published script's steps on local files."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.inputs import REPO, Inputs, find_inputs
from bench.measure import Command, interleaved_s
from bench.report import Section

PEER = "published script's steps, local files"
ROOT = "s3://bench/pipeline"
PUBLISHED = {precision: f"main job, published, {precision}" for precision in ("float32", "fast")}
"""From the command to the result in S3, the second run with a model, another picture: what a user waits for."""

UP_TO_DATE = "main job, up to date"

AT_MOST = 0.25
"""Of the peer's wall time, at either precision."""

_FOREIGN = ("AWS_", "PIPELINE_", "LD_PRELOAD", "MALLOC_", "OMP_", "KMP_", "MKL_")


def run(*, rounds: int) -> Section:
    """The table of the report.

    Raises:
        RuntimeError: a result is not in S3, or was made in another precision than the table says.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        inputs = find_inputs(folder)
        pictures = _other_pictures(inputs.image, folder / "pictures", count=rounds + 1)
        with _server() as env:
            _upload([inputs.image], inputs.model, {**env, "PIPELINE_S3_ROOT": ROOT})
            for precision in PUBLISHED:
                _upload(pictures, inputs.model, {**env, "PIPELINE_S3_ROOT": _root(precision)})
            seconds = interleaved_s(_commands(inputs, pictures, folder, env), rounds=rounds)
            arithmetic = {precision: _check(precision, env, count=len(pictures)) for precision in PUBLISHED}
    return Section(
        title=f"main job end to end: {inputs.described}",
        notes=[
            f"{rounds} rounds interleaved, 1 discarded before them; each from the start of its process to its end.",
            "published: S3 runs already, the model was used once before, a picture that was never here is fetched, "
            "and the result is put into S3; "
            + ", ".join(f"{precision} was made by {made}" for precision, made in arithmetic.items())
            + ". The peer gets the same pictures from the disk and has no S3.",
        ],
        head=["median", "min", "max", "ratio"],
        rows=[_row(seconds, name) for name in seconds],
        remarks=[verdict(seconds), where_it_goes(seconds)],
    )


def verdict(seconds: Mapping[str, Sequence[float]]) -> str:
    """Say for each precision, and for the better of them, whether the goal is met."""
    ratios = {precision: _ratio(seconds, name) for precision, name in PUBLISHED.items()}
    best = min(ratios, key=lambda precision: ratios[precision])
    each = ", ".join(f"{name} {ratio:.2f} {_met(ratio)}" for name, ratio in ratios.items())
    return (
        f"goal, command to published result in at most {AT_MOST:g} of the {PEER}: {each}; "
        f"at either precision {_met(ratios[best])} ({best})"
    )


def where_it_goes(seconds: Mapping[str, Sequence[float]]) -> str:
    """Say how much of it is there before any work: what a command takes that finds nothing to do."""
    start_s = statistics.median(seconds[UP_TO_DATE])
    rest = (f"{precision} {statistics.median(seconds[name]) - start_s:.2f} s" for precision, name in PUBLISHED.items())
    return (
        f"where the time goes: start, imports and looking at S3 {start_s:.2f} s, as where all is up to date; picture, "
        f"model, styling, checks and S3: {', '.join(rest)}"
    )


def _row(seconds: Mapping[str, Sequence[float]], name: str) -> list[str]:
    values = seconds[name]
    return [
        name,
        *(f"{value:.3f}" for value in (statistics.median(values), min(values), max(values))),
        f"{_ratio(seconds, name):.2f}",
    ]


def _ratio(seconds: Mapping[str, Sequence[float]], name: str) -> float:
    return statistics.median(seconds[name]) / statistics.median(seconds[PEER])


def _met(ratio: float) -> str:
    return "met" if ratio <= AT_MOST else f"MISSED by {ratio / AT_MOST - 1:.0%}"


def _root(precision: str) -> str:
    return f"{ROOT}-{precision}"


def _commands(inputs: Inputs, pictures: Sequence[Path], folder: Path, env: Mapping[str, str]) -> list[Command]:
    local = folder / "data"
    common = {"env": {**env, "PIPELINE_S3_ROOT": ROOT}, "cwd": REPO}
    style = _main_job(inputs.image, inputs.model, local)

    def nothing_here() -> None:
        shutil.rmtree(local, ignore_errors=True)

    def only_copies_here() -> None:
        shutil.rmtree(local / "stylized", ignore_errors=True)

    def peer(picture: Path) -> list[str]:
        output = folder / "peer.jpg"
        return [sys.executable, "-m", "bench.published_script", str(picture), str(inputs.model), str(output)]

    return [
        _with_another_picture(PEER, peer, pictures, env),
        *(_published(precision, inputs.model, pictures, folder, env) for precision in PUBLISHED),
        Command(name="main job, nothing here yet", args=style, before=nothing_here, **common),  # type: ignore[arg-type]
        Command(name="main job, copies current", args=style, before=only_copies_here, **common),  # type: ignore[arg-type]
        Command(name=UP_TO_DATE, args=style, **common),  # type: ignore[arg-type]
    ]


def _main_job(image: Path, model: Path, local: Path) -> list[str]:
    style = [sys.executable, "-m", "pipeline", "-i", image.name, "-m", model.name, "--device", "cpu"]
    return [*style, "--local-root", str(local)]


def _published(precision: str, model: Path, pictures: Sequence[Path], folder: Path, env: Mapping[str, str]) -> Command:
    def arguments(picture: Path) -> list[str]:
        job = _main_job(picture, model, folder / f"data-{precision}")
        return [*job, "--publish", "--precision", precision]

    return _with_another_picture(
        PUBLISHED[precision], arguments, pictures, {**env, "PIPELINE_S3_ROOT": _root(precision)}
    )


def _with_another_picture(
    name: str, arguments: Callable[[Path], list[str]], pictures: Sequence[Path], env: Mapping[str, str]
) -> Command:
    """Return a command that gets the next picture each time."""
    args: list[str] = []
    left = iter(pictures)

    def next_picture() -> None:
        args[:] = arguments(next(left))

    return Command(name=name, args=args, env=env, cwd=REPO, before=next_picture)


def _other_pictures(image: Path, folder: Path, *, count: int) -> list[Path]:
    """Write the picture as often as it takes, turned round by more pixels each time."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    with Image.open(image) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    paths = [folder / f"{number:02d}-{image.stem}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.roll(pixels, 37 * number, axis=1)).save(path, quality=95)
    return paths


@contextmanager
def _server() -> Iterator[dict[str, str]]:
    """An S3 server in a process of its own; yields the environment that reaches it."""
    code = (
        "import sys\nfrom moto.server import ThreadedMotoServer\n"
        "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\nserver.start()\n"
        "print(server.get_host_and_port()[1], flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018 -- both were asked for
        port = server.stdout.readline().strip()
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)},
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
        }
        server.stdin.close()


def _upload(images: Sequence[Path], model: Path, env: Mapping[str, str]) -> None:
    code = (
        "import os, sys\nfrom csci_utils.s3 import S3Uri, client, put\n"
        "root, model, *images = [os.environ['PIPELINE_S3_ROOT'], *sys.argv[1:]]\n"
        "client().create_bucket(Bucket=S3Uri.parse(root + '/x').bucket)\n"
        "for folder, paths in (('images', images), ('saved_models', [model])):\n"
        "    for path in paths:\n"
        "        put(path, S3Uri.parse(f'{root}/{folder}/' + path.rpartition('/')[2]))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(model), *map(str, images)], env=dict(env), cwd=REPO, check=True)


def _check(precision: str, env: Mapping[str, str], *, count: int) -> str:
    """Look at what was published, and say what the results were made by."""
    code = (
        "import json, sys, boto3\nfrom csci_utils.s3 import S3Uri\n"
        "root = S3Uri.parse(sys.argv[1] + '/stylized/')\ns3 = boto3.client('s3')\n"
        "keys = [each['Key'] for each in s3.list_objects_v2(Bucket=root.bucket, Prefix=root.key).get('Contents', [])]\n"
        "records = [key for key in keys if key.endswith('.json')]\n"
        "made = [json.load(s3.get_object(Bucket=root.bucket, Key=key)['Body'])['made_by'] for key in records]\n"
        "print(json.dumps([len(keys) - len(records), made]))\n"
    )
    args = [sys.executable, "-c", code, _root(precision)]
    found, made_by = json.loads(subprocess.run(args, env=dict(env), cwd=REPO, check=True, capture_output=True).stdout)
    if found != count or len(made_by) != count:
        raise RuntimeError(f"{found} results and {len(made_by)} records were published, wanted {count} of each")
    if any(each["precision"] != precision for each in made_by):
        raise RuntimeError(f"wanted results in {precision}, found {made_by}; do not trust this run")
    return "{engine} {engine_version} in {arithmetic}".format(**made_by[0])
