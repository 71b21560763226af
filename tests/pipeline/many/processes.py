"""The processes that a run on Ray consists of, as Linux tells of them: only what the tests themselves have begun."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.processes import is_running, wait_until_gone

DRIVER = "pipeline.many.ray_driver"
WORKER = "ray::ShardWorker"
_PARENT, _SESSION = 0, 2  # of what follows the state in /proc/PID/stat
_LISTENS = "0A"


def drivers_of(parent: int) -> list[int]:
    """The processes that speak with Ray for a process."""
    return [pid for pid in _all() if _fields(pid)[_PARENT] == parent and DRIVER in command_of(pid)]


def in_session(leader: int) -> list[int]:
    """Those that run in a session, dead ones that nobody has asked about left out."""
    return [pid for pid in _all() if _fields(pid)[_SESSION] == leader]


def workers_of(parent: int) -> list[int]:
    """The workers that Ray has begun for a process that has it started here."""
    found = [pid for driver in drivers_of(parent) for pid in in_session(driver)]
    return [pid for pid in found if command_of(pid).startswith(WORKER)]


def kill_worker_of(parent: int) -> None:
    """Kill one, and see it gone: whoever counts what it has done counts all of it."""
    worker = workers_of(parent)[0]
    os.kill(worker, signal.SIGKILL)
    wait_until_gone(worker, within_s=30.0)


def listening(pids: list[int]) -> set[str]:
    """The addresses at which processes take connections from anybody."""
    sockets = {name for pid in pids for name in _open_files(pid)}
    found = set()
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        found |= {_address(row[1], family) for row in rows if row[3] == _LISTENS and f"socket:[{row[9]}]" in sockets}
    return found


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):  # it has ended meanwhile, or the file is closed
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{fd}")


def _address(text: str, family: int) -> str:
    """Read an address as the kernel writes it: hexadecimal, four bytes at a time in the processor's order."""
    words = bytes.fromhex(text.partition(":")[0])
    packed = b"".join(words[begin : begin + 4][::-1] for begin in range(0, len(words), 4))
    return socket.inet_ntop(family, packed).removeprefix("::ffff:")


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _all() -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if is_running(pid)]


def _fields(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return [0, 0, 0]
    return [int(number) for number in text[1:4]]
