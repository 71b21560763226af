"""The main job, S3 and checks and record included, against the published script's steps on local files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.inputs import REPO, Inputs, find_inputs
from bench.measure import Command, interleaved_s, table

PEER = "published script's steps, local files"
ROOT = "s3://bench/pipeline"


def run(*, rounds: int) -> list[str]:
    """Lines of the report."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        inputs = find_inputs(folder)
        with _server() as env:
            _upload(inputs, env)
            seconds = interleaved_s(_commands(inputs, folder, env), rounds=rounds)
    return [
        f"main job end to end: {inputs.described}; {rounds} rounds interleaved, 1 discarded before them",
        *table(seconds, peer=PEER),
    ]


def _commands(inputs: Inputs, folder: Path, env: dict[str, str]) -> list[Command]:
    local = folder / "data"
    style = [sys.executable, "-m", "pipeline", "-i", inputs.image.name, "-m", inputs.model.name, "--device", "cpu"]
    style += ["--local-root", str(local)]
    peer = [sys.executable, "-m", "bench.published_script", str(inputs.image), str(inputs.model)]

    def nothing_here() -> None:
        shutil.rmtree(local, ignore_errors=True)

    def only_copies_here() -> None:
        shutil.rmtree(local / "stylized", ignore_errors=True)

    common = {"env": env, "cwd": REPO}
    return [
        Command(name=PEER, args=[*peer, str(folder / "peer.jpg")], **common),  # type: ignore[arg-type]
        Command(name="main job, nothing here yet", args=style, before=nothing_here, **common),  # type: ignore[arg-type]
        Command(name="main job, copies current", args=style, before=only_copies_here, **common),  # type: ignore[arg-type]
        Command(name="main job, up to date", args=style, **common),  # type: ignore[arg-type]
    ]


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
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_"))},
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
            "PIPELINE_S3_ROOT": ROOT,
        }
        server.stdin.close()


def _upload(inputs: Inputs, env: dict[str, str]) -> None:
    code = (
        "import sys\nfrom csci_utils.s3 import S3Uri, client, put\n"
        "root, image, model = sys.argv[1:]\nclient().create_bucket(Bucket=S3Uri.parse(root + '/x').bucket)\n"
        "put(image, S3Uri.parse(root + '/images/' + image.rpartition('/')[2]))\n"
        "put(model, S3Uri.parse(root + '/saved_models/' + model.rpartition('/')[2]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, ROOT, str(inputs.image), str(inputs.model)], env=env, cwd=REPO, check=True
    )
