"""The command line in a process of its own: streams that are closed, readers that have gone, signals."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csci_utils.io import is_scratch, read_record, sha256_of
from csci_utils.s3 import S3Uri, delete, head

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "pipeline", "-i", "luigi.jpg", "-m", "mosaic"]


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("STYLE", shlex.join(COMMAND))
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("redirect", ["2>&-", ">&-", "<&-", ">&- 2>&- <&-", "| head -c0; exit ${PIPESTATUS[0]}"])
@pytest.mark.usefixtures("converted")
def test_a_closed_stream_costs_nothing_but_its_words(bucket, redirect):
    done = shell(f"STYLE {redirect}")
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    result = bucket.local / "stylized" / "mosaic" / "luigi.jpg"
    assert result.is_file()
    assert done.stdout in ("", f"{result}\n")


@pytest.mark.parametrize("redirect", ["2>&-", ">&-", "| head -c0; exit ${PIPESTATUS[0]}"])
@pytest.mark.usefixtures("converted")
def test_a_closed_stream_costs_the_net_alone_nothing_either(bucket, redirect, tmp_path):
    shell("STYLE")
    content, model = bucket.local / "images/luigi.jpg", bucket.local / "saved_models/mosaic.pth"
    result = tmp_path / "styled.png"
    net = f"{sys.executable} -m neural_style eval --content-image {content} --model {model} --output-image {result}"
    done = shell(f"{net} --engine onnxruntime --cache {bucket.local}/.cache/models {redirect}")
    assert (done.returncode, result.is_file()) == (0, True)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["in-process", "program"])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"])
def test_a_signal_ends_all_of_it_with_one_line(bucket, mode, workers, number, status):
    """Sent when the result's scratch file appears, to the parent alone."""
    bucket.put_image("luigi.jpg", size=(1200, 900))
    bucket.put_image("sea.jpg", size=(1200, 900))
    args = [*COMMAND, "-i", "sea.jpg", "--mode", mode, "--workers", workers]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = bucket.local / "stylized" / "mosaic"
    deadline = time.monotonic() + 60
    while process.poll() is None and not (folder.is_dir() and any(folder.iterdir())):
        assert time.monotonic() < deadline, "no result was begun"
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("the run had ended before the signal: make the pictures bigger")
    assert (process.returncode, "Traceback" in err) == (status, False), err
    assert err.splitlines()[-1].startswith("style-pipeline: error: ")
    time.sleep(1.0)  # an orphan would have published by now
    assert no_program_is_left(bucket.local)
    left = [path for path in bucket.local.rglob("*") if is_scratch(path)]
    assert left == []


@pytest.mark.parametrize("command", [("-i", "luigi.jpg", "-m", "mosaic"), ("put", "luigi.jpg"), ("status",)])
def test_ctrl_c_ends_what_waits_for_a_silent_store(bucket, run, monkeypatch, command):
    assert run("-i", "luigi.jpg", "-m", "mosaic")[0] == 0
    (bucket.local.parent / "luigi.jpg").write_bytes(b"picture")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("PIPELINE_S3_STOP_WAIT_S", "1")
        args = [sys.executable, "-m", "pipeline", *command]
        process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        silent.settimeout(30)
        held = silent.accept()[0]  # it has begun to ask
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, err = process.communicate(timeout=60)
        held.close()
    assert time.monotonic() - start < 30
    assert (process.returncode, err.splitlines()[-1]) == (
        130,
        "style-pipeline: error: interrupted; nothing half-made was left",
    )
    assert "Traceback" not in err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_nets_own_process_ends_with_a_parent_that_was_killed(bucket, workers):
    bucket.put_image("luigi.jpg", size=(3000, 2500))  # seconds of work
    args = [*COMMAND, "--mode", "program", "--workers", workers]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while no_program_is_left(bucket.local / "stylized"):
        assert time.monotonic() < deadline, "the net was not begun"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while not no_program_is_left(bucket.local):
        assert time.monotonic() < deadline, "the net goes on"
        time.sleep(0.05)
    assert [path for path in bucket.local.rglob("stylized/*/*") if not path.name.startswith(".")] == []


def no_program_is_left(local: Path) -> bool:
    """Whether no process names the local root in its arguments."""
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(local).encode() in cmdline.read_bytes():
                return False
        except OSError:  # it ended meanwhile
            continue
    return True


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("publish", [False, True])
def test_two_processes_that_make_the_same_result_both_end_well_and_one_result_stands(bucket, publish):
    bucket.put_image("luigi.png", size=(600, 400))
    args = [sys.executable, "-m", "pipeline", "-i", "luigi.png", "-m", "mosaic", *["--publish"] * publish]
    processes = [subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    result = bucket.local / "stylized" / "mosaic" / "luigi.png"
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [out for out, _ in outputs] == [f"{result}\n"] * 2
    record = read_record(result)
    assert record is not None
    assert record["result"]["sha256"] == sha256_of(result)
    again = subprocess.run(args, capture_output=True, text=True, check=False, timeout=120)
    assert again.stderr == "style-pipeline: nothing to do: 1 result up to date\n"
    assert [path for path in bucket.local.rglob("*") if is_scratch(path) or path.suffix == ".lock"] == []


def test_an_input_that_is_removed_while_the_run_starts_is_named(bucket, run, monkeypatch):
    from pipeline import style

    def remove_then_build(*args, **kwargs):
        delete(S3Uri.parse(f"{bucket.root}/images/luigi.jpg"))
        return build(*args, **kwargs)

    build = style.build
    monkeypatch.setattr(style, "build", remove_then_build)
    status, out, err = run(*COMMAND[3:])
    assert (status, out) == (20, [])
    assert err[0].startswith(
        f"style-pipeline: error: {bucket.root}/images/luigi.jpg: wanted to read it: there is no such"
    )


def test_a_model_that_is_overwritten_while_the_run_starts_is_the_one_that_is_recorded(bucket, run, monkeypatch):
    from pipeline import style

    def overwrite_then_build(*args, **kwargs):
        bucket.put_model("mosaic.pth", seed=4)
        return build(*args, **kwargs)

    build = style.build
    monkeypatch.setattr(style, "build", overwrite_then_build)
    assert run(*COMMAND[3:])[0] == 0
    record = read_record(bucket.local / "stylized" / "mosaic" / "luigi.jpg")
    info = head(S3Uri.parse(f"{bucket.root}/saved_models/mosaic.pth"))
    assert record is not None
    assert info is not None
    assert record["made_from"]["model"]["sha256"] == info.sha256
    assert run(*COMMAND[3:])[2] == ["style-pipeline: nothing to do: 1 result up to date"]
