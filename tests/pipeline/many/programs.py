"""Programs that do a job of many pictures in shards of four, behind a proxy."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.pipeline.many.in_s3 import Job
from tests.servers.proxy import FaultProxy

SMALL_SHARDS = """
import pipeline.many.shards as shards
shards.FEWEST = shards.MOST = 4
from pipeline.cli import main
main()
"""
RESULT = "*/stylized/mosaic/*.png"
COPIES = ["saved_models/.mosaic.onnx.json", "saved_models/mosaic.onnx"]


@dataclass(frozen=True)
class Programs:
    """Starts them, and ends with those that are left.

    Attributes:
        job: what they do.
        proxy: that they reach the store by.
        images: names of the pictures.
        started: all of them.
    """

    job: Job
    proxy: FaultProxy
    images: tuple[str, ...]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, local: Path, *args: str) -> subprocess.Popen[str]:
        """Start one whose local root is this."""
        job = ["many", "--images", "**", "-m", self.job.model, "--s3-root", self.job.root, "--local-root", str(local)]
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", SMALL_SHARDS, *job, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill those that still run."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @property
    def addresses(self) -> list[str]:
        """What each of them prints."""
        return [f"{self.job.root}/{self.job.folder}/{image}" for image in self.images]

    def sent(self) -> list[str]:
        """The names of the results that were sent, sorted."""
        return self._names("PUT", f"/{self.job.folder}/")

    def fetched(self) -> list[str]:
        """The names of the pictures that were fetched, sorted."""
        return self._names("GET", "/images/")

    def _names(self, method: str, folder: str) -> list[str]:
        keys = [request.key for request in self.proxy.requests if request.method == method and folder in request.key]
        return sorted(key.partition(folder)[2] for key in keys if "/.shards/" not in key)


def wait_for(met: threading.Event, process: subprocess.Popen[str]) -> None:
    """Wait until a program has come to a point."""
    deadline_s = time.monotonic() + 60
    while not met.wait(0.05):
        if process.poll() is not None or time.monotonic() > deadline_s:
            process.send_signal(signal.SIGABRT)  # faulthandler then tells where each thread is
            raise AssertionError(f"it ended before, or hangs: {process.communicate()}")


def files_below(local: Path) -> list[str]:
    """Every file, hidden ones too."""
    return sorted(str(path.relative_to(local)) for path in local.rglob("*") if path.is_file())
