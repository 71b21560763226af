"""The calls that README and CHECKLIST P13 give, as written, in processes of their own against an S3 server."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csci_utils.s3 import client
from tests.conftest import REPO
from tests.pipeline.conftest import BUCKET, ROOT

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent


@pytest.fixture
def call(converted, tmp_path, monkeypatch):
    """Run a line of shell in an empty folder, where `luigi` and `python` are this environment's."""
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(REPO / "luigi.cfg"))

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(shlex.split(line), cwd=away, capture_output=True, text=True, check=False, timeout=120)

    return run


WORKING = {
    "python -m pipeline -i luigi.jpg -m mosaic": "stylized/mosaic/luigi.jpg",
    "python -m pipeline": "stylized/mosaic/luigi.jpg",
    "style-pipeline -i luigi.jpg -m mosaic": "stylized/mosaic/luigi.jpg",
    "luigi --module pipeline.tasks Stylize --local-scheduler": "stylized/mosaic/luigi.jpg",
    "luigi --module pipeline.tasks.stylize Stylize --local-scheduler": "stylized/mosaic/luigi.jpg",
    "luigi --module pipeline.tasks Stylize --local-scheduler --mode program": "stylized/mosaic/luigi.jpg",
    "luigi --module pipeline.tasks Stylize --local-scheduler --max-side 16": "stylized/mosaic/luigi@16.jpg",
    "luigi --module pipeline.tasks.data DownloadImage --local-scheduler": "images/luigi.jpg",
    "luigi --module pipeline.tasks.data DownloadModel --local-scheduler": "saved_models/mosaic.pth",
    "luigi --module pipeline.tasks.data ContentImage --local-scheduler --image luigi.jpg": None,
    "luigi --module pipeline.tasks.data SavedModel --local-scheduler --model mosaic": None,
}


@pytest.mark.parametrize(("line", "made"), WORKING.items(), ids=WORKING)
def test_a_call_as_documented_ends_with_0_and_its_file(bucket, call, line, made):
    done = call(line)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert made is None or made in bucket.files()


def test_a_second_call_of_the_luigi_command_does_nothing(bucket, call):
    line = "luigi --module pipeline.tasks Stylize --local-scheduler"
    call(line)
    before = {name: (bucket.local / name).stat().st_mtime_ns for name in bucket.files()}
    done = call(line)
    assert done.returncode == 0
    assert "1 complete ones were encountered" in done.stderr
    assert {name: (bucket.local / name).stat().st_mtime_ns for name in bucket.files()} == before


TRAIN = (
    "--local-scheduler --style wave.png --dataset few --features random --steps 2 --image-px 64 --widths [4,4,8] "
    "--batch-size 2 --threads 1"
)


@pytest.mark.parametrize("task", ["Train", "UploadTrained"])
def test_a_style_is_trained_by_the_luigi_command(pictures, call, task):
    done = call(f"luigi --module pipeline.tasks {task} {TRAIN}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {"saved_models/wave.pth", "saved_models/.wave.pth.training.json"} <= set(pictures.files())
    published = client().list_objects_v2(Bucket=BUCKET, Prefix="styled/saved_models/").get("KeyCount")
    assert published == 1 + 2 * (task == "UploadTrained")  # mosaic.pth
    assert "complete ones were encountered" in call(f"luigi --module pipeline.tasks {task} {TRAIN}").stderr


FAILING = {
    "luigi --module pipeline.tasks.data ContentImage --local-scheduler --image no.jpg": 20,
    "luigi --module pipeline.tasks Stylize --local-scheduler --image no.jpg": 20,
    "luigi --module pipeline.tasks Stylize --local-scheduler --image broken.jpg": 30,
    "luigi --module pipeline.tasks Stylize --local-scheduler --image broken.jpg --mode program": 30,
    "luigi --module pipeline.tasks Stylize --local-scheduler --device cuda:7": 30,
    "luigi --module pipeline.tasks Stylize --local-scheduler --engine vulkan": 40,
    "luigi --module pipeline.tasks Stylize --local-scheduler --precision bf16": 40,
    "luigi --module pipeline.tasks Stylize --local-scheduler --memory lots": 40,
    "luigi --module pipeline.tasks Stylize --local-scheduler --s3-root s3://nowhere/p": 35,
    "luigi --module pipeline.tasks Stylize --local-scheduler --image ../x.jpg": 40,
    "luigi --module pipeline.tasks Train --local-scheduler --style no.png --dataset few": 20,
}


@pytest.mark.parametrize(("line", "status"), FAILING.items(), ids=FAILING)
def test_a_failing_call_of_the_luigi_command_ends_as_documented(bucket, call, line, status):
    bucket.put_bytes("images/broken.jpg", b"no picture")
    done = call(line)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "test-secret" not in done.stderr
    assert not [name for name in bucket.files() if name.startswith("stylized")]


def test_an_input_with_no_digest_of_ours_is_checked_by_what_s3_offers(bucket, call):
    from csci_utils.io import read_record
    from tests.pipeline.conftest import encoded_picture

    content = encoded_picture("theirs.jpg", seed=4)
    client().put_object(Bucket=BUCKET, Key=f"{ROOT.partition(BUCKET + '/')[2]}/images/theirs.jpg", Body=content)
    done = call("python -m pipeline -i theirs.jpg -m mosaic")
    assert done.returncode == 0, done.stderr
    record = read_record(done.stdout.strip())
    assert record is not None
    assert record["made_from"]["image"]["checked_by"] != "sha256"
    assert call("python -m pipeline -i theirs.jpg -m mosaic").stderr.startswith("style-pipeline: nothing to do")


def test_no_credentials_are_in_what_luigi_logs(bucket, call):
    done = call("luigi --module pipeline.tasks Stylize --local-scheduler --mode program --image luigi.jpg")
    assert done.returncode == 0
    for secret in (os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_ACCESS_KEY_ID"]):
        assert secret not in done.stderr + done.stdout


@pytest.mark.parametrize("workers", [1, 2])
def test_an_embedded_s3_serves_several_workers(bucket, call, workers, tmp_path):
    from tests.pipeline.conftest import encoded_picture, model_bytes

    folder = tmp_path / "away" / "bucket"
    for name in ("images", "saved_models"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / "images" / f"{number}.png").write_bytes(encoded_picture("x.png", seed=number))
    (folder / "saved_models" / "m.pth").write_bytes(model_bytes())
    done = call(f"python -m pipeline --embedded -i 0.png -i 1.png -m m --workers {workers}")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr


def test_without_arguments_and_without_a_configuration_the_call_says_what_to_do(call, monkeypatch):
    monkeypatch.delenv("PIPELINE_S3_ROOT")
    done = call("luigi --module pipeline.tasks Stylize --local-scheduler")
    assert done.returncode == 40
    assert "PIPELINE_S3_ROOT=s3://BUCKET/PREFIX" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_call_that_is_running_already_ends_with_10(bucket, call, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_ENGINE", "torch")  # which takes long enough
    bucket.put_image("luigi.jpg", size=(2000, 1500))
    line = f"luigi --module pipeline.tasks Stylize --local-scheduler --lock-pid-dir {tmp_path / 'locks'}"
    first = subprocess.Popen(shlex.split(line), cwd=tmp_path / "away", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not list(bucket.local.glob("stylized/mosaic/.*")):
            assert first.poll() is None, "the first was done before the second began"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert call(line).returncode == 10
    finally:
        first.communicate(timeout=60)
    assert first.returncode == 0
