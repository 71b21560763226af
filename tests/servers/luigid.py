"""A `luigid` on loopback that soon notices when a worker has died."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# luigid looks for dead workers once a minute, whatever it is told; here once a second.
_PROGRAM = """
import tornado.ioloop
every_minute = tornado.ioloop.PeriodicCallback
tornado.ioloop.PeriodicCallback = lambda function, ms: every_minute(function, ms / 60)
from luigi.cmdline import luigid
luigid()
"""
_CONFIG = """
[core]
autoload_range = false
[scheduler]
worker_disconnect_delay = 3
"""


@contextmanager
def luigid_server(folder: Path) -> Iterator[str]:
    """Run a luigid whose files lie in a folder, and give its address."""
    config = folder / "luigid.cfg"
    config.write_text(_CONFIG)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "--address", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "LUIGI_CONFIG_PATH": str(config)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            assert program.poll() is None, "luigid ended"
            assert time.monotonic() < deadline, "luigid did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        program.terminate()
        program.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
