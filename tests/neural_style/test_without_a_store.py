"""A machine that only trains, perhaps one with a GPU, needs nothing of S3 and Luigi, nor do the tests there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

ABSENT = ("boto3", "botocore", "s3transfer", "moto", "luigi", "click", "dotenv")
BLOCKER = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.mark.slow
def test_tests_are_found_and_run_where_nothing_of_a_store_is(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}

    refused = subprocess.run([sys.executable, "-c", "import botocore"], env=env, capture_output=True, text=True)
    assert "No module named 'botocore'" in refused.stderr
    some = ["tests/neural_style", "-k", "test_errors or test_losses"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some]
    done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    passed, deselected = (int(summary.split(f" {word}")[0].split()[-1]) for word in ("passed", "deselected"))
    assert passed > 10
    assert deselected > 1000
