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

    def said_by(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    refused = subprocess.run([sys.executable, "-c", "import botocore"], env=env, capture_output=True, text=True)
    assert "No module named 'botocore'" in refused.stderr
    assert "test_style_model.py::" in said_by("--collect-only", "tests/neural_style")
    assert " passed" in said_by("tests/neural_style/test_errors.py", "tests/neural_style/test_losses.py")
