"""Results as users get them: by the engine that is taken unasked, in processes that begin with nothing loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from csci_utils.io import read_record
from neural_style.difference import difference

pytest.importorskip("openvino")
pytestmark = pytest.mark.slow

RESULT = "stylized/mosaic/large.png"
STYLE = ("-i", "large.png", "-m", "mosaic")
# What style-pipeline does, and then which libraries were imported.
CALL = """
import json, sys
from pipeline.cli import exit_status
status = exit_status(sys.argv[1:])
print(json.dumps([name for name in ("torch", "openvino", "onnx") if name in sys.modules]))
sys.exit(status)
"""


@pytest.fixture
def unasked(bucket, monkeypatch):
    """The bucket, with a picture that is not too small for bfloat16, and nothing said of the engine."""
    monkeypatch.delenv("PIPELINE_ENGINE")
    bucket.put_image("large.png", size=(300, 260))
    return bucket


def call(*args: str) -> list[str]:
    """Style in a process of its own; return which libraries that took."""
    done = subprocess.run([sys.executable, "-c", CALL, *args], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return json.loads(done.stdout.splitlines()[-1])


def made_by(bucket):
    record = read_record(bucket.local / RESULT)
    assert record is not None
    return record["made_by"]


def cached(bucket):
    return {name for name in bucket.files() if name.startswith(".cache/")}


def test_the_first_run_proves_an_engine_and_the_second_one_needs_no_torch(unasked):
    assert call(*STYLE) == ["torch", "openvino"]
    first = (unasked.local / RESULT).read_bytes()
    assert (made_by(unasked)["engine"], made_by(unasked)["precision"]) == ("openvino", "float32")
    kept = cached(unasked)
    assert {name.split("/")[1] for name in kept} == {"models"}
    assert call(*STYLE) == []  # nothing is to do
    assert call(*STYLE, "--force") == ["openvino"]
    assert (unasked.local / RESULT).read_bytes() == first
    unasked.put_image("large.png", seed=2, size=(300, 260))
    assert call(*STYLE) == ["openvino"]
    assert (unasked.local / RESULT).read_bytes() != first
    assert cached(unasked) == kept


def test_the_engine_that_is_taken_unasked_makes_what_torch_makes(unasked, tmp_path):
    call(*STYLE)
    call(*STYLE, "--engine", "torch", "--local-root", str(tmp_path / "other"))
    apart = difference(unasked.local / RESULT, tmp_path / "other" / RESULT)
    assert apart.largest <= 1


def test_fast_then_float32_then_fast(unasked, run):
    call(*STYLE, "--precision", "fast")
    made = made_by(unasked)
    assert made["engine"] == "openvino"
    assert (made["precision"], made["arithmetic"]) in (("fast", "bfloat16"), ("float32", "float32"))
    call(*STYLE)
    assert made_by(unasked)["precision"] == "float32"
    assert call(*STYLE, "--precision", "fast") == []
    assert made_by(unasked)["precision"] == "float32"
    assert call("reproduce", RESULT) == ["openvino"]


def test_what_does_not_fit_is_streamed_and_reproduced_to_the_bit_without_a_word_of_memory(unasked):
    unasked.put_image("large.png", size=(2000, 1200))
    call(*STYLE, "--memory", "64MiB")
    assert (made_by(unasked)["engine"], "bands" in made_by(unasked)) == ("torch", True)
    call("reproduce", RESULT)


def test_the_program_keeps_models_in_the_same_place(unasked):
    call(*STYLE, "--mode", "program")
    kept = cached(unasked)
    assert kept
    assert call(*STYLE, "--force") == ["openvino"]
    assert cached(unasked) == kept
