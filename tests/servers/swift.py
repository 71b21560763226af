"""OpenStack Swift with its S3 interface: the store that checks signatures and digests as the real one does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
PYTHON = REPO / ".swift" / "bin" / "python"
NODE = Path(__file__).with_name("swift_node.py")
STOP_TIMEOUT_S = 10


@dataclass(frozen=True)
class SwiftServer:
    """A running Swift; ``pid`` is that of the process that holds its four servers together."""

    url: str
    access_key: str
    secret_key: str
    pid: int


class SwiftMissingError(RuntimeError):
    """Swift is not installed here, or does not start."""


@contextmanager
def swift_server(python: Path = PYTHON) -> Iterator[SwiftServer]:
    """Run an empty Swift on loopback, on free ports and in a temporary folder; nothing is left of it afterwards.

    Its processes end with the block, and with this process however that ends.

    Args:
        python: that of an environment that has Swift.

    Raises:
        SwiftMissingError: there is no such environment, or Swift said why it does not start.
    """
    if not python.exists():
        raise SwiftMissingError(f"{python}: wanted Swift's own environment, found none; make it: make setup-swift")
    process = subprocess.Popen(
        [python, "-I", NODE],  # by itself: the folder of these tests holds a "swift" too
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests, which then end it
    )
    assert process.stdin is not None  # as asked for above
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SwiftMissingError(f"Swift did not start (status {process.wait()}); its own words are above")
        yield SwiftServer(**json.loads(line), pid=process.pid)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the servers go with it
            process.wait()
