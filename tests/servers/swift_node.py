"""One Swift with an S3 interface on loopback; run by the Python of ``.swift``, never imported by the tests.

It imports Swift once and forks its four servers, which halves the start against four programs. It says where it listens
in one line of JSON on standard output, lives until its standard input is closed or its parent is gone, and takes its
servers and its folder with it. The servers' own words are in ``log/`` in that folder, and shown when one dies.
"""

from __future__ import annotations

import configparser
import ctypes
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import traceback
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
REGION = "us-east-1"
STORAGE = ("account", "container", "object")
PIPELINE = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes "
    "symlink proxy-server"
)
START_TIMEOUT_S = 30
PR_SET_PDEATHSIG = 1

Options = dict[str, object]


class ServerDiedError(Exception):
    """One of the four is gone; the text is what it said last."""


def main() -> None:
    """Start, say where, wait, end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    parent = os.getppid()
    folder = Path(tempfile.mkdtemp(prefix="swift-"))
    pids: dict[int, str] = {}
    try:
        sockets = {name: listening_socket() for name in (*STORAGE, "proxy")}
        nobody = deaf_socket()
        write_configuration(folder, {name: port_of(sock) for name, sock in sockets.items()}, memcache=port_of(nobody))
        pids |= fork_servers(folder, sockets)
        url = f"http://127.0.0.1:{port_of(sockets['proxy'])}"
        for sock in sockets.values():
            sock.close()  # so that a server's death closes its port
        wait_for_answer(folder, pids, url=url)
        print(json.dumps({"url": url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}), flush=True)  # noqa: T201
        watch(folder, pids, parent=parent)
    except ServerDiedError as err:
        sys.exit(f"Swift did not stay up: {err}")
    finally:
        end(pids)
        shutil.rmtree(folder, ignore_errors=True)


def listening_socket() -> socket.socket:
    """Take a free port for good: nobody can get in between, and what comes early waits in the queue."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.listen(512)
    return sock


def deaf_socket() -> socket.socket:
    """Take a port on which nobody listens, so that the cache, which Swift can do without, is refused at once."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def write_configuration(folder: Path, ports: dict[str, int], *, memcache: int) -> None:
    """Write what four servers with one copy of everything and no other services need."""
    for name in ("etc", "node/d1", "log"):
        (folder / name).mkdir(parents=True)
    check_attributes(folder / "node")
    common: Options = {
        "bind_ip": "127.0.0.1",
        "workers": 0,
        "swift_dir": folder / "etc",
        "log_level": "WARNING",
        "log_address": os.devnull,
    }
    write(folder / "etc/swift.conf", {"swift-hash": {"swift_hash_path_suffix": "tests"}})
    for name in STORAGE:
        storage = {
            "devices": folder / "node",
            "mount_check": "false",
            "fallocate_reserve": 0,
            "disable_fallocate": "true",
        }
        write(
            folder / f"etc/{name}-server.conf",
            {
                "DEFAULT": {**common, **storage, "bind_port": ports[name]},
                "pipeline:main": {"pipeline": f"{name}-server"},
                f"app:{name}-server": {"use": f"egg:swift#{name}", "allow_versions": "true"},
            },
        )
    write(
        folder / "etc/proxy-server.conf",
        {
            "DEFAULT": {**common, "bind_port": ports["proxy"]},
            "pipeline:main": {"pipeline": PIPELINE},
            "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
            **filters(memcache),
        },
    )
    os.environ["SWIFT_DIR"] = str(folder / "etc")  # read when Swift is imported
    write_rings(folder / "etc", ports)


def filters(memcache: int) -> dict[str, Options]:
    options: dict[str, Options] = {
        "cache": {"use": "egg:swift#memcache", "memcache_servers": f"127.0.0.1:{memcache}"},
        "s3api": {"location": REGION, "s3_acl": "no", "check_bucket_owner": "false"},
        "tempauth": {"user_test_tester": f"{SECRET_KEY} .admin"},
        "versioned_writes": {"allow_object_versioning": "true"},
    }
    names = [name for name in PIPELINE.split() if name != "proxy-server"]
    return {f"filter:{name}": {"use": f"egg:swift#{name}", **options.get(name, {})} for name in names}


def write(path: Path, sections: dict[str, Options]) -> None:
    parser = configparser.RawConfigParser()
    parser.read_dict(sections)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)


def check_attributes(folder: Path) -> None:
    try:
        os.setxattr(folder, "user.swift.test", b"x")
    except OSError as err:
        raise SystemExit(f"{folder}: Swift needs extended attributes there ({err}); set TMPDIR elsewhere") from err


def write_rings(folder: Path, ports: dict[str, int]) -> None:
    """Say which server holds what: one of each kind holds everything."""
    from swift.common.ring import RingBuilder

    for name in STORAGE:
        builder = RingBuilder(2, 1, 0)
        device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": ports[name], "device": "d1"}
        builder.add_dev(device)
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def fork_servers(folder: Path, sockets: dict[str, socket.socket]) -> dict[int, str]:
    modules = {name: importlib.import_module(f"swift.{'obj' if name == 'object' else name}.server") for name in sockets}
    launcher, pids = os.getpid(), {}
    for name in sockets:
        pid = os.fork()
        if pid == 0:
            serve(name, folder=folder, sockets=sockets, launcher=launcher, module=modules[name])
        pids[pid] = name
    return pids


def serve(name: str, *, folder: Path, sockets: dict[str, socket.socket], launcher: int, module: Any) -> NoReturn:
    """Be one server, in a child, on the socket that is open already."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        silence(folder / f"log/{name}.txt")
        for other in sockets.keys() - {name}:
            sockets[other].close()
        status = run_server(name, folder=folder, sock=sockets[name], module=module)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def run_server(name: str, *, folder: Path, sock: socket.socket, module: Any) -> int:
    from eventlet.greenio import GreenSocket
    from swift.common import wsgi

    wsgi.get_socket = lambda conf: GreenSocket(sock)
    more = {"global_conf_callback": module.global_conf_callback} if name == "object" else {}
    return int(wsgi.run_wsgi(str(folder / f"etc/{name}-server.conf"), f"{name}-server", verbose=True, **more) or 0)


def silence(log: Path) -> None:
    """Keep a server's words in a file, and its hands off the line to whoever started us."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (handle, 1), (handle, 2)):
        os.dup2(source, target)


def wait_for_answer(folder: Path, pids: dict[int, str], *, url: str) -> None:
    try:
        with urllib.request.urlopen(f"{url}/healthcheck", timeout=START_TIMEOUT_S) as answer:
            answer.read()
    except OSError as err:
        check_alive(folder, pids)
        raise ServerDiedError(f"{url}/healthcheck: {err}") from err


def watch(folder: Path, pids: dict[int, str], *, parent: int) -> None:
    """Return when nobody needs us any more."""
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], 0.5)[0]:
            return
        check_alive(folder, pids)


def check_alive(folder: Path, pids: dict[int, str]) -> None:
    pid, status = os.waitpid(-1, os.WNOHANG)
    if pid:
        name = pids.pop(pid)
        said = (folder / f"log/{name}.txt").read_text(errors="replace")[-2000:]
        raise ServerDiedError(f"its {name} server ended with {os.waitstatus_to_exitcode(status)}\n{said}")


def end(pids: dict[int, str]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)  # nothing of theirs is kept
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
