from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request

import pytest

from tests.processes import children_of, wait_until_gone
from tests.servers.swift import PYTHON, REPO, SwiftMissingError, swift_server

HOLDER = """
import json, signal
from tests.servers.swift import swift_server
with swift_server() as swift:
    print(json.dumps([swift.url, swift.pid]), flush=True)
    signal.pause()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary folders are made, so that what is left there can be seen."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.mark.slow
def test_swift_answers_and_leaves_nothing(folder):
    with swift_server() as swift:
        servers = children_of(swift.pid)
        assert len(servers) == 4
        assert [path.name.partition("-")[0] for path in folder.iterdir()] == ["swift"]
        with urllib.request.urlopen(f"{swift.url}/healthcheck") as answer:
            assert answer.read() == b"OK"
    wait_until_gone(swift.pid, *servers)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_swift_ends_with_the_process_that_uses_it(folder, sent):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        url, pid = json.loads(holder.stdout.readline())
        servers = children_of(pid)
        holder.send_signal(sent)
    wait_until_gone(pid, *servers)
    assert list(folder.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


@pytest.mark.slow
def test_servers_end_with_what_holds_them_together(folder):
    with swift_server() as swift:
        servers = children_of(swift.pid)
        os.kill(swift.pid, signal.SIGKILL)
        wait_until_gone(*servers)
        assert len(servers) == 4


@pytest.mark.slow
def test_a_server_that_dies_takes_the_others_along(folder, capfd):
    with swift_server() as swift:
        servers = children_of(swift.pid)
        os.kill(servers[2], signal.SIGKILL)
        wait_until_gone(swift.pid, *servers)
    assert "Swift did not stay up: its object server ended with -9" in capfd.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_missing_environment_names_the_target_that_makes_it(tmp_path):
    with (
        pytest.raises(SwiftMissingError, match=r"Swift's own environment, found none; make it: make setup-swift"),
        swift_server(tmp_path / "python"),
    ):
        pass
    assert "\nsetup-swift: " in (REPO / "Makefile").read_text(encoding="utf-8")


def test_a_start_that_fails_is_an_error(folder, monkeypatch):
    monkeypatch.setattr("tests.servers.swift.NODE", folder / "none.py")
    with pytest.raises(SwiftMissingError, match=r"Swift did not start \(status 2\)"), swift_server():
        pass


def test_its_environment_is_pinned_and_git_does_not_see_it():
    lines = (REPO / "tests/servers/swift-requirements.txt").read_text(encoding="utf-8").splitlines()
    assert all("==" in line for line in lines if not line.startswith("#"))
    done = subprocess.run(["git", "check-ignore", "-q", str(PYTHON)], cwd=REPO, check=False)
    assert done.returncode == 0
