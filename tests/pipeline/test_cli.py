from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from csci_utils.io import read_record
from csci_utils.s3 import client, forget_client
from tests.conftest import REPO
from tests.pipeline.conftest import BUCKET, ROOT, encoded_picture


@pytest.mark.slow
def test_a_picture_and_a_model_become_a_result_whose_path_is_all_of_stdout(bucket, run):
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, out) == (0, [str(bucket.local / "stylized" / "mosaic" / "luigi.jpg")])
    assert err == ["style-pipeline: 1 result made, 0 up to date"]
    assert os.path.isfile(out[0])


@pytest.mark.slow
def test_a_second_run_does_nothing_and_says_so(bucket, run):
    first = run("-i", "luigi.jpg", "-m", "mosaic")
    before = {name: (bucket.local / name).stat().st_mtime_ns for name in bucket.files()}
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, out) == (0, first[1])
    assert err == ["style-pipeline: nothing to do: 1 result up to date"]
    assert {name: (bucket.local / name).stat().st_mtime_ns for name in bucket.files()} == before


@pytest.mark.slow
def test_style_is_the_default_command(bucket, run):
    first = run("-i", "luigi.jpg", "-m", "mosaic")
    assert run("style", "-i", "luigi.jpg", "-m", "mosaic")[:2] == first[:2]


@pytest.mark.slow
def test_every_picture_meets_every_model(bucket, run):
    bucket.put_image("sea.png", seed=2)
    bucket.put_model("candy.pth", seed=2)
    status, out, _ = run("-i", "luigi.jpg", "-i", "sea.png", "-m", "mosaic", "-m", "candy", "-i", "sea.png")
    below = [path.removeprefix(f"{bucket.local}/stylized/") for path in out]
    assert status == 0
    assert below == ["mosaic/luigi.jpg", "candy/luigi.jpg", "mosaic/sea.png", "candy/sea.png"]


@pytest.mark.slow
def test_two_workers_make_what_one_makes(bucket, tmp_path):
    """In processes of their own, as users run it: a process that has used torch's threads must not fork."""
    for number in range(3):
        bucket.put_image(f"{number}.png", seed=number)
    pictures = [argument for number in range(3) for argument in ("-i", f"{number}.png")]
    made = []
    for workers in ("1", "2"):
        args = [*pictures, "-m", "mosaic", "--workers", workers, "--local-root", str(tmp_path / workers)]
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *args], capture_output=True, text=True, check=False, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "style-pipeline: 3 results made, 0 up to date\n")
        made.append([Path(line).read_bytes() for line in done.stdout.splitlines()])
    assert made[0] == made[1]
    assert len(made[0]) == 3


@pytest.mark.slow
def test_another_picture_of_the_same_name_is_styled_anew(bucket, run):
    run("-i", "luigi.jpg", "-m", "mosaic")
    bucket.put_image("luigi.jpg", seed=5)
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic", "--verbose")
    assert status == 0
    assert any("image changed: sha256" in line for line in err)
    assert err[-1] == "style-pipeline: 1 result made, 0 up to date"


@pytest.mark.slow
def test_dry_run_says_what_would_be_made_and_why_and_makes_nothing(bucket, run):
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic", "--dry-run")
    result = bucket.local / "stylized" / "mosaic" / "luigi.jpg"
    assert (status, out, bucket.files()) == (0, [], [])
    assert err == [f"style-pipeline: would make {result}: not made yet"]
    run("-i", "luigi.jpg", "-m", "mosaic")
    assert run("-i", "luigi.jpg", "-m", "mosaic", "--dry-run")[2] == [f"style-pipeline: up to date {result}"]
    bucket.put_model("mosaic.pth", seed=2)
    assert "model changed: sha256" in run("-i", "luigi.jpg", "-m", "mosaic", "--dry-run")[2][0]


@pytest.mark.slow
def test_dry_run_of_a_missing_input_is_status_20(bucket, run):
    status, _, err = run("-i", "no.jpg", "-m", "mosaic", "--dry-run")
    assert status == 20
    assert any(f"{ROOT}/images/no.jpg is not in S3" in line for line in err)


@pytest.mark.slow
def test_max_side_and_quality_reach_the_result(bucket, run):
    _, out, _ = run("-i", "luigi.jpg", "-m", "mosaic", "--max-side", "16", "--quality", "50")
    with Image.open(out[0]) as image:
        assert image.size == (16, 12)
    record = read_record(out[0])
    assert record is not None
    assert record["parameters"]["quality"] == 50


@pytest.mark.slow
def test_embedded_needs_nothing_configured(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PIPELINE_S3_ROOT=s3://real-account/p\nAWS_PROFILE=real\n")
    for name, content in {"images/cat.png": encoded_picture("cat.png"), "saved_models/m.pth": _model()}.items():
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    status, out, _ = run("--embedded", "-i", "cat.png", "-m", "m")
    assert (status, out) == (0, [str(tmp_path / "data" / "stylized" / "m" / "cat.png")])
    assert "AWS_PROFILE" not in os.environ


def _model() -> bytes:
    from tests.pipeline.conftest import model_bytes

    return model_bytes()


def _code_in_a_pickle() -> bytes:
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch /tmp/never-to-be-made-by-a-weight-file",))

    return pickle.dumps({"conv1.conv2d.weight": Evil()})


def _another_net() -> bytes:
    import io

    import torch

    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(3, 3).state_dict(), buffer)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that declares 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


USAGE = {
    "leaves-its-folder": (["-i", "../luigi.jpg"], "leaves its folder"),
    "absolute": (["-i", "/etc/passwd"], "absolute"),
    "empty": (["-i", ""], "empty"),
    "nul": (["-i", "a\0b"], "control character"),
    "model-leaves-its-folder": (["-i", "luigi.jpg", "-m", "../../mosaic"], "leaves its folder"),
    "s3-root": (["-i", "luigi.jpg", "--s3-root", "bucket/prefix"], "s3://bucket/prefix"),
    "s3-root-short": (["-i", "luigi.jpg", "--s3-root", "s3://b/p"], "3 to 63 characters, found 'b'"),
    "s3-root-with-parent": (["-i", "luigi.jpg", "--s3-root", "s3://bucket/../p"], "s3://bucket/prefix"),
    "s3-root-with-secret": (["-i", "luigi.jpg", "--s3-root", "s3://key:s3cr3t@bucket/p"], "credentials in it"),
    "local-root": (["-i", "luigi.jpg", "--local-root", "~nobody-of-that-name/x"], "no such user"),
    "device": (["-i", "luigi.jpg", "--device", "gpu7"], "device wants"),
    "engine": (["-i", "luigi.jpg", "--engine", "vulkan"], "engine wants auto, torch, openvino or onnxruntime, found"),
    "precision": (["-i", "luigi.jpg", "--precision", "bf16"], "precision wants float32 or fast, found 'bf16'"),
    "memory": (["-i", "luigi.jpg", "--memory", "50%"], "memory wants a size such as 2GiB"),
    "memory-too-small": (["-i", "luigi.jpg", "--memory", "1MiB"], "memory wants at least 64MiB, found '1MiB'"),
    "quality": (["-i", "luigi.jpg", "--quality", "101"], "quality"),
    "max-side": (["-i", "luigi.jpg", "--max-side", "0"], "max-side"),
    "workers": (["-i", "luigi.jpg", "--workers", "0"], "workers"),
    "mode": (["-i", "luigi.jpg", "--mode", "fast"], "mode"),
    "unknown-option": (["--imagee", "luigi.jpg"], "imagee"),
    "unknown-argument": (["luigi.jpg"], "luigi.jpg"),
}


@pytest.mark.parametrize(("args", "sentence"), USAGE.values(), ids=USAGE)
def test_a_request_that_makes_no_sense_is_status_2(bucket, run, args, sentence):
    status, out, err = run("-m", "mosaic", *args)
    assert (status, out, bucket.files()) == (2, [], [])
    assert len(err) == 1
    assert sentence in err[0]
    assert "s3cr3t" not in "".join(err)


@pytest.mark.slow
def test_a_model_named_twice_is_one_model(bucket, run):
    status, out, _ = run("-i", "luigi.jpg", "-m", "mosaic", "-m", "mosaic.pth")
    assert (status, [path.rpartition("/stylized/")[2] for path in out]) == (0, ["mosaic/luigi.jpg"])


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"PIPELINE_S3_ROOT=s3://x\xff", "UnicodeDecodeError"), (b"AWS_PROFILE=s3cr3t\0", "ValueError")],
    ids=["not-utf-8", "nul"],
)
def test_a_broken_dotenv_is_status_2_and_shows_nothing_of_it(tmp_path, run, monkeypatch, content, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, len(err)) == (2, 1)
    assert f".env of {str(tmp_path)!r} cannot be read ({found})" in err[0]
    assert "s3cr3t" not in err[0]


def test_a_broken_luigi_cfg_is_status_2(bucket, run, luigi_sections, monkeypatch):
    monkeypatch.delenv("PIPELINE_LOCAL_ROOT")
    luigi_sections["pipeline"] = {"local_root": "%(x)s"}
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, len(err)) == (2, 1)
    assert "luigi.cfg cannot be used" in err[0]


def test_without_luigi_the_extra_is_named(bucket, run, monkeypatch):
    users = ("luigi", "pipeline.plan", "pipeline.style", "pipeline.tasks", "csci_utils.luigi.run")
    for module in [module for module in sys.modules if module.startswith(users)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "luigi", None)
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, len(err)) == (2, 1)
    assert "neural-style-pipeline[luigi]" in err[0]


def test_nothing_configured_names_the_two_ways_on(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert status == 2
    assert len(err) == 1
    assert "PIPELINE_S3_ROOT=s3://BUCKET/PREFIX" in err[0]
    assert "--embedded" in err[0]


@pytest.mark.slow
def test_two_requests_for_one_file_are_refused(bucket, run):
    bucket.put_image("luigi.gif")
    bucket.put_image("luigi.png")
    status, out, err = run("-i", "luigi.gif", "-i", "luigi.png", "-m", "mosaic")
    assert (status, out) == (2, [])
    assert "'luigi.gif'" in err[0]
    assert "'luigi.png'" in err[0]


@pytest.fixture
def luigi_sections(monkeypatch):
    """The sections of luigi.cfg, to be changed within a test."""
    from luigi.configuration import get_config

    sections = dict(get_config()._sections)
    monkeypatch.setattr(get_config(), "_sections", sections)
    return sections


@pytest.mark.slow
def test_luigi_cfg_names_the_picture_and_the_model_of_a_call_without_any(bucket, run, luigi_sections):
    luigi_sections["Stylize"] = {"image": "luigi.jpg", "model": "mosaic"}
    assert run()[:2] == (0, [str(bucket.local / "stylized" / "mosaic" / "luigi.jpg")])


def test_nothing_named_anywhere_is_status_2(bucket, run, luigi_sections):
    luigi_sections.pop("Stylize", None)
    status, out, err = run("-m", "mosaic")
    assert (status, out) == (2, [])
    assert "give -i PICTURE and -m MODEL" in err[0]


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (["-i", "no.jpg", "-m", "mosaic"], "images/no.jpg"),
        (["-i", "luigi.jpg", "-m", "no"], "saved_models/no.pth"),
        (["-i", "luig", "-m", "mosaic"], "images/luig"),
    ],
    ids=["picture", "model", "prefix-of-a-picture"],
)
def test_an_input_that_is_not_in_s3_is_status_20(bucket, run, args, missing):
    status, out, err = run(*args)
    assert (status, out) == (20, [])
    assert f"{ROOT}/{missing} is not in S3" in err[0]


@pytest.mark.slow
def test_a_model_whose_name_has_a_dot_is_told_how_to_be_named(bucket, run):
    bucket.put_model("style.v2.pth")
    status, _, err = run("-i", "luigi.jpg", "-m", "style.v2")
    assert status == 20
    assert "'.v2' was taken for its suffix" in err[0]
    assert run("-i", "luigi.jpg", "-m", "style.v2.pth")[0] == 0


@pytest.mark.slow
def test_a_missing_picture_does_not_stop_its_neighbour(bucket, run):
    status, out, err = run("-i", "no.jpg", "-i", "luigi.jpg", "-m", "mosaic")
    assert status == 20
    assert [path.rpartition("/")[2] for path in out] == ["luigi.jpg"]
    assert err[-1] == "style-pipeline: 1 result made, 0 up to date, 1 not made"


@pytest.mark.slow
def test_no_such_bucket_is_status_35(bucket, run):
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic", "--s3-root", "s3://nowhere/p")
    assert (status, out, len(err)) == (35, [], 1)
    assert "there is no bucket 'nowhere'" in err[0]


def test_no_credentials_is_status_35(bucket, run, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    forget_client()
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert status == 35
    assert "no credentials were found" in err[0]


def test_no_permission_is_status_35_and_not_a_missing_object(bucket, run, monkeypatch):
    from botocore.exceptions import ClientError

    def refuse(**_):
        answer = {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "HeadObject")

    monkeypatch.setattr(client(), "head_object", refuse)
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, out, len(err)) == (35, [], 1)
    assert "permission" in err[0]
    assert BUCKET in err[0]


@pytest.fixture
def _hasty(monkeypatch):
    monkeypatch.setenv("PIPELINE_S3_CONNECT_TIMEOUT_S", "0.5")
    monkeypatch.setenv("PIPELINE_S3_READ_TIMEOUT_S", "0.5")
    monkeypatch.setenv("PIPELINE_S3_MAX_ATTEMPTS", "1")


@pytest.mark.usefixtures("_hasty")
def test_an_endpoint_that_does_not_answer_is_status_35(bucket, run, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    forget_client()
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert status == 35
    assert "http://127.0.0.1:9" in err[-1]


FAILURES = {
    "pickle-with-code": ("saved_models/mosaic.pth", _code_in_a_pickle, "mosaic.pth"),
    "another-net": ("saved_models/mosaic.pth", _another_net, "62 keys missing"),
    "truncated-weights": ("saved_models/mosaic.pth", lambda: _model()[:5000], "mosaic.pth"),
    "html-weights": ("saved_models/mosaic.pth", lambda: b"<!doctype html><title>404</title>", "web page"),
    "truncated-picture": ("images/luigi.jpg", lambda: encoded_picture("luigi.jpg")[:400], "truncated"),
    "no-picture": ("images/luigi.jpg", lambda: b"hello", "not a picture"),
    "bomb": ("images/luigi.jpg", _bomb, "128000000 pixels"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content", "sentence"), FAILURES.values(), ids=FAILURES)
def test_what_cannot_be_used_is_status_30_in_one_line(bucket, run, name, content, sentence):
    bucket.put_bytes(name, content())
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, out) == (30, [])
    assert len(err) == 2
    assert err[0].startswith("style-pipeline: error: ")
    assert sentence in err[0]
    assert not [file for file in bucket.files() if file.startswith("stylized")]
    assert not os.path.exists("/tmp/never-to-be-made-by-a-weight-file")


@pytest.mark.slow
def test_max_pixels_alone_decides_what_is_decoded(bucket, run):
    bucket.put_image("wide.png", size=(100, 10))
    assert run("-i", "wide.png", "-m", "mosaic", "--max-pixels", "999")[0] == 30
    assert run("-i", "wide.png", "-m", "mosaic", "--max-pixels", "1000")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:7", "mps"])
def test_a_device_that_is_not_there_is_status_30(bucket, run, device):
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic", "--device", device)
    assert (status, out) == (30, [])
    assert device in err[0]


@pytest.mark.slow
def test_a_full_disk_is_status_30_and_leaves_nothing(bucket, run, monkeypatch):
    import errno

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, out) == (30, [])
    assert "space" in err[0]
    assert not [file for file in bucket.files() if file.startswith("stylized")]


@pytest.mark.slow
def test_each_failure_is_named_where_several_were_asked_for(bucket, run):
    bucket.put_bytes("images/broken.jpg", b"hello")
    bucket.put_image("sea.jpg")
    status, out, err = run("-i", "luigi.jpg", "-i", "broken.jpg", "-i", "sea.jpg", "-m", "mosaic")
    assert (status, len(out)) == (30, 2)
    assert err[0].startswith("style-pipeline: error: broken.jpg with mosaic.pth: ")
    assert err[-1] == "style-pipeline: 2 results made, 0 up to date, 1 not made"


def test_a_defect_of_ours_is_status_40_and_keeps_its_traceback(bucket, run, monkeypatch):
    import pipeline.style

    monkeypatch.setattr(pipeline.style, "plan", lambda tasks: 1 / 0)
    status, out, err = run("-i", "luigi.jpg", "-m", "mosaic")
    assert (status, out) == (40, [])
    assert "ZeroDivisionError: division by zero" in err
    assert "defect" in err[-1]


SENDS_ITSELF_A_SIGNAL = """
import os, sys, time
from pipeline.cli import main

def signal():
    os.kill(os.getpid(), number)

class Object:
    def __del__(self):
        signal()
        time.sleep(0.001)  # the handler runs here at the latest, and what it raises goes no further

number, program = int(sys.argv.pop(1)), sys.argv.pop(1)
exec(program)
main()
"""
WHEN_A_PICTURE_IS_STYLED = """
from neural_style.stylize import Stylizer
style_file = Stylizer.style_file

def interrupted(self, content, output, **options):
    style_file(self, content, output, **options)
    assert os.path.isfile(output)
    signal()

Stylizer.style_file = interrupted
"""
WHILE_A_CLASS_IS_MADE = """
import pipeline.style

class Interrupts:
    def __set_name__(self, owner, name):
        signal()

pipeline.style.plan = lambda tasks: type("Made", (), {"parameter": Interrupts()})
"""
WHERE_PYTHON_SWALLOWS_IT = """
import pipeline.style

def plan(tasks):
    Object()
    time.sleep(20)

pipeline.style.plan = plan
"""
WHERE_PYTHON_SWALLOWS_IT_AT_THE_END = """
from pipeline import commands

def command(**_):
    Object()

commands.cli.main = command
"""
MOMENTS = {
    "styled": WHEN_A_PICTURE_IS_STYLED,
    "class": WHILE_A_CLASS_IS_MADE,
    "swallowed": WHERE_PYTHON_SWALLOWS_IT,
    "end": WHERE_PYTHON_SWALLOWS_IT_AT_THE_END,
}


@pytest.mark.slow
@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
    ids=["term", "int"],
)
def test_a_signal_ends_with_128_and_its_number_and_leaves_no_scratch(converted, number, status, said, when):
    """In a process of its own: one that did not heed the signal would end the tests."""
    program = [sys.executable, "-c", SENDS_ITSELF_A_SIGNAL, str(int(number)), MOMENTS[when]]
    done = subprocess.run(
        [*program, "-i", "luigi.jpg", "-m", "mosaic"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.strip() == f"style-pipeline: error: {said}; nothing half-made was left"
    assert not [file for file in converted.files() if file.startswith("stylized")]


@pytest.mark.slow
def test_scratch_of_a_dead_process_is_swept_at_the_start(bucket, run):
    dead = subprocess.run(
        [sys.executable, "-c", "from csci_utils.io import scratch_path; print(scratch_path('luigi.jpg').name)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPO,
    ).stdout.strip()
    folder = bucket.local / "stylized" / "other"
    folder.mkdir(parents=True)
    (folder / dead).write_bytes(b"half")
    assert run("-i", "luigi.jpg", "-m", "mosaic")[0] == 0
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_log_lines_of_the_net_are_shown_once(bucket, run):
    bucket.put_bytes("images/alpha.bmp", _with_alpha())
    bucket.put_bytes("images/alpha.jpg", _with_alpha())  # Pillow goes by content: a PNG under a JPEG's name
    _, _, err = run("-i", "alpha.jpg", "-m", "mosaic")
    assert len([line for line in err if "composited on white" in line]) == 1
    assert err[0].startswith("style-pipeline: warning: ")


def _with_alpha() -> bytes:
    import io

    buffer = io.BytesIO()
    Image.new("RGBA", (16, 16), (200, 10, 10, 128)).save(buffer, "PNG")
    return buffer.getvalue()
