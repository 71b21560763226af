"""The process that speaks with Ray, as the one that begins and ends it sees it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from pipeline.many.ray_messages import STOP, Begun, Event, Job, receive, send

JOINING_S = 15.0
"""So long a cluster may take to let this machine in: what listens at its address may be anything."""

STARTING_S = 120.0
"""So long Ray may take to start here; it takes three, on a machine with nothing else to do."""

_ENDING_S = 15.0
_LONGEST_FOLDER = 40  # below it Ray has sockets, whose paths may have 107 bytes
_LAST_WORDS = 2000


class RayProcess:
    """Runs a job (`ray_driver`); left in any way, it has ended, and all that it has started.

    Attributes:
        has_begun: Whether Ray is there to run something on.
    """

    def __init__(self, job: Job) -> None:
        self._log = Path(job.folder, "driver.log")
        self._is_stopped = self.has_begun = False
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.many.ray_driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(job.address),
                start_new_session=True,  # Ctrl-C at the terminal is for this process to pass on
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._say(job)
        self._limit = self._kill_after(STARTING_S if job.address is None else JOINING_S)

    def __enter__(self) -> RayProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it end what runs, and itself; kill it when it does not in time, and all that it has left."""
        limit = self._kill_after(_ENDING_S)
        try:
            with suppress(OSError):
                self._stdin.close()
            for _ in self.events():
                pass
        finally:
            limit.cancel()
            self._limit.cancel()
            self._kill()
            self._process.wait()
            self._stdout.close()

    def events(self) -> Iterator[Event]:
        """What it says, until it says no more."""
        while (event := receive(self._stdout)) is not None:
            if isinstance(event, Begun):
                self.has_begun = True
                self._limit.cancel()
            yield event

    def stop(self) -> None:
        """Tell it, once, to begin no further shard."""
        if not self._is_stopped:
            self._is_stopped = True
            self._say(STOP)

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        with suppress(OSError), open(self._log, encoding="utf-8", errors="replace") as log:
            return log.read()[-_LAST_WORDS:].strip()
        return ""

    def _say(self, message: Any) -> None:
        with suppress(BrokenPipeError):  # it is gone, which `events` tells
            send(self._stdin, message)

    def _kill_after(self, limit_s: float) -> threading.Timer:
        timer = threading.Timer(limit_s, self._kill)
        timer.daemon = True
        timer.start()
        return timer

    def _kill(self) -> None:
        """Kill the group that it leads; it is not waited for until then, so that the number is nobody else's."""
        with suppress(ProcessLookupError, PermissionError):  # the latter is what macOS says of one that has ended
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def folder_for_ray() -> Iterator[Path]:
    """A folder for what Ray writes, whose path is short enough for the sockets in it."""
    usual = tempfile.gettempdir()
    parent = usual if len(os.fsencode(usual)) <= _LONGEST_FOLDER else "/tmp"
    folder = tempfile.mkdtemp(prefix="ray-", dir=parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(address: str | None) -> dict[str, str]:
    """This process's environment, with what Ray is told by it.

    Where Ray is started here nobody's settings for another cluster hold, and only who knows a word may use it: other
    users of this machine reach 127.0.0.1, too.
    """
    found = {name: value for name, value in os.environ.items() if not (address is None and name.startswith("RAY_"))}
    found["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        found |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if address is None or _is_loopback(address):
        # Ray (2.60) takes the network's address for 127.0.0.1, unless it thinks that this system can have no clusters.
        found["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return found


def _is_loopback(address: str) -> bool:
    return urlsplit(f"//{address}").hostname in ("127.0.0.1", "::1", "localhost")
