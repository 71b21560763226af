from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from bench.stopwatch import peak_bytes, told
from tests.conftest import REPO


def test_block_is_measured_and_what_it_adds_is_told(capsys):
    with told() as seen:
        time.sleep(0.05)
        seen["checked_by"] = "sha256"
    line = json.loads(capsys.readouterr().out)
    assert line["moving_s"] >= 0.05
    assert line["moving_cpu_s"] < line["moving_s"]
    assert line["checked_by"] == "sha256"


@pytest.mark.slow
def test_memory_that_the_block_takes_shows_in_the_peak():
    # In a process of its own: the peak of one that runs tests may be a gigabyte old.
    program = 'from bench.stopwatch import told\nwith told():\n    del [b"x" * 200_000_000][:]'
    line = json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=REPO).stdout)
    assert line["peak_bytes"] - line["idle_bytes"] > 100_000_000


def test_a_failure_in_the_block_tells_nothing(capsys):
    with pytest.raises(OSError, match="no disk"), told():
        raise OSError("no disk")
    assert capsys.readouterr().out == ""


def test_peak_is_read_in_bytes():
    assert peak_bytes("Name:\tpython\nVmPeak:\t  99 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 5 kB\n") == 2 * 1024 * 1024
