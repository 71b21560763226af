"""What every test relies on: no real account, no socket that leaves this machine, one seed."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.servers.stores import Store, moto_at, moto_server, swift_at
from tests.servers.swift import SwiftServer, swift_server

if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads that wait for each other by spinning take many times as long where other tests run beside them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for tests that import onnxruntime themselves

with suppress(ImportError):  # where nobody tests with it, as on a machine that only trains
    import hypothesis

    hypothesis.settings.register_profile("patient", hypothesis.settings.default, deadline=None)
    hypothesis.settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts in the background so, and the programs under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).resolve().parent.parent
REAL = REPO.parent / "shared" / "real"


def pytest_configure() -> None:
    """Collect no garbage while tests are found: what is made of modules and tests stays."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect it from now on, among what is made from now on."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let extension modules, which count what is left of theirs at the end, find it collected."""
    gc.unfreeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests marked soak at their full counts")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark and order tests.

    What runs against Swift is slow: it starts four processes, and syncs each object to the disk. Files with the longest
    tests, those of `make soak`, come first, and then those with the most tests: who comes last of several workers
    would be waited for.
    """
    per_file = Counter(item.path for item in items)
    long_files = {item.path for item in items if item.get_closest_marker("soak")}
    items.sort(key=lambda item: (item.path not in long_files, -per_file[item.path], item.path))
    for item in items:
        callspec = getattr(item, "callspec", None)
        on_swift = callspec is not None and any(
            isinstance(each, str) and each == "swift" for each in callspec.params.values()
        )
        if on_swift or {"swift", "swift_store"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(report: Any) -> None:
    """Tell how a worker of pytest-xdist ended that is gone: what it told itself is far above."""
    program = report.node.gateway._io.popen
    try:
        status = program.wait(timeout=10)
    except subprocess.TimeoutExpired:
        status = "still running"
    report.longrepr = f"{report.longrepr}; its exit status: {status}"


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake keys instead of the developer's own, and none of the project's settings from outside."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "PIPELINE_", "LUIGI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True, scope="session")
def _descriptions_are_read_once() -> Iterator[None]:
    """Share what botocore reads from its own files, which it would read and parse for every client of every test.

    Where botocore is not, as on a machine that only trains, the tests of `neural_style` run all the same.
    """
    try:
        import botocore.loaders
        import botocore.session
    except ImportError:
        yield
        return
    with mock.patch.object(botocore.session, "create_loader", cache(botocore.loaders.create_loader)):
        yield


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves the loopback interface."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def rng() -> np.random.Generator:
    """The one seed."""
    return np.random.default_rng(20161008)


@pytest.fixture(scope="session")
def real() -> Path:
    """Published weights and pictures, which no commit holds."""
    if not REAL.is_dir():
        pytest.skip(f"no published weights and pictures at {REAL}")
    return REAL


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The address of an S3 server that lives as long as the tests."""
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def swift() -> Iterator[SwiftServer]:
    """A Swift that lives as long as the tests; unlike moto it refuses what is not signed or damaged on the way."""
    with swift_server() as server:
        yield server


@pytest.fixture(scope="session")
def moto_store(moto_endpoint: str) -> Iterator[Store]:
    """That moto, and a plain look at what it holds."""
    with moto_at(moto_endpoint) as store:
        yield store


@pytest.fixture(scope="session")
def swift_store(swift: SwiftServer) -> Iterator[Store]:
    """That Swift, and a plain look at what it holds."""
    with swift_at(swift) as store:
        yield store


@pytest.fixture(params=["moto", "swift"])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Each of the two, named by the environment as a user would name a store of their own."""
    store: Store = request.getfixturevalue(f"{request.param}_store")
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    return store


@pytest.fixture
def s3_endpoint(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same server, named by the environment as a user would name a store of their own, and emptied."""
    import urllib.request

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_endpoint)
    urllib.request.urlopen(urllib.request.Request(f"{moto_endpoint}/moto-api/reset", method="POST")).close()
    return moto_endpoint
