"""One fault, once: the transfer under it, what must hold whatever happens, and what happened, in a few words."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import botocore.loaders
import botocore.session

from csci_utils import s3
from csci_utils.copies import fetch
from csci_utils.io import record_path
from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.s3 import S3Error, S3Limits
from tests.reliability.cases import Case
from tests.reliability.scene import BIG, KEY, MIB, OLD, Scene, old_object, right_object
from tests.servers.proxy import FaultProxy
from tests.servers.stores import Store

BOUND_S = 30.0
"""No trial takes longer: a multiple of what the slowest needs, with pauses patched short."""

RIGHT = "right bytes"
NOT_BIG = {"download": "n/a: it comes in one answer", "upload": "n/a: it goes in one request"}
_PAUSE_S = 0.002


Shared = Mapping[tuple[str, str, bool], str]
"""Buckets with an object that downloads share, by the store's name, its size, and whether it carries our digest."""


def run_cell(case: Case, store: Store, size: str, *, shared: Shared) -> str:
    """Try a fault that passes and one that lasts, and say what happened."""
    if case.big_only and size != BIG:
        return NOT_BIG[case.direction]
    said = []
    if case.passes_after is not None:
        passed = run_trial(case, store, size, times=case.passes_after, shared=shared)
        assert passed == RIGHT, f"it passed after {case.passes_after} times, and all the same: {passed}"
        said.append(passed)
    if case.lasts:
        lasted = run_trial(case, store, size, times=None, shared=shared)
        said.append(lasted if case.passes_after is None else f"lasting: {lasted}")
    return "; ".join(said)


def run_trial(case: Case, store: Store, size: str, *, times: int | None, shared: Shared) -> str:
    """Make one transfer under a fault, and say what happened.

    Raises:
        AssertionError: a wrong byte, a dirty corner, an unclear error, or too long a time.
    """
    if case.direction == "upload":
        bucket = old_object(store)
    elif case.own_object:
        bucket = right_object(store, size=size, with_digest=case.with_digest)
    else:
        bucket = shared[store.name, size, case.with_digest]
    with FaultProxy(store.url) as proxy, tempfile.TemporaryDirectory() as folder:
        scene = Scene(store, proxy, bucket, size, Path(folder))
        case.arrange(scene, times)
        with surroundings(scene, limits=limits_for(case, times=times)):
            start_s = time.monotonic()
            transfer = upload if case.direction == "upload" else download
            outcome = transfer(scene)
            assert time.monotonic() - start_s < BOUND_S
            check_threads()
    if case.direction == "upload" or case.own_object:
        remove(scene)
    return outcome


def download(scene: Scene) -> str:
    """Fetch the object over an older copy; look at what lies here afterwards."""
    target = scene.folder / "mosaic.pth"
    target.write_bytes(OLD)
    outcome = attempt(lambda: fetch(scene.uri, target), scene)
    found, names = target.read_bytes(), {path.name for path in scene.folder.iterdir()}
    if outcome == RIGHT:
        assert found == scene.body, "wrong bytes under the final name"
        assert names == {target.name, record_path(target).name}
    else:
        assert found == OLD, "a failure changed the older copy"
        assert names == {target.name}, "something is left over"
    return outcome


def upload(scene: Scene) -> str:
    """Send a file over an older object; look straight into the store afterwards."""
    source, journal = scene.folder / "mosaic.pth", scene.folder / "journal"
    source.write_bytes(scene.body)
    journal.mkdir()
    outcome = attempt(lambda: s3.put(source, scene.uri, journal=journal), scene)
    found, keys, uploads = look_into(scene)
    assert set(keys) <= {KEY}
    if outcome == RIGHT:
        assert found == scene.body, "wrong bytes under the final key"
    else:
        assert found in (None, OLD, scene.body), "wrong bytes under the final key"
        left = {None: "nothing there", OLD: "old object kept", scene.body: "new object complete"}[found]
        outcome = f"{outcome}, {left}"
    assert uploads == [], "parts are left over"
    assert list(journal.iterdir()) == []
    return outcome


def look_into(scene: Scene) -> tuple[bytes | None, list[str], list[str]]:
    """Return what lies under the key, all keys, and all multipart uploads, without the proxy."""
    store, bucket = scene.store, scene.bucket
    if not any(each["Name"] == bucket for each in store.plain.list_buckets()["Buckets"]):
        store.plain.create_bucket(Bucket=bucket)  # parts that were left would be seen again
    found = store.read(bucket, KEY)
    if found is not None and found != OLD:
        digest = store.plain.head_object(Bucket=bucket, Key=KEY)["Metadata"].get("sha256")
        assert digest == hashlib.sha256(scene.body).hexdigest()
    return found, store.keys(bucket), store.uploads(bucket)


def remove(scene: Scene) -> None:
    """Free the store's disk."""
    store = scene.store
    if any(each["Name"] == scene.bucket for each in store.plain.list_buckets()["Buckets"]):
        store.remove_bucket(scene.bucket)


def attempt(transfer: Callable[[], object], scene: Scene) -> str:
    """Make a transfer; a failure has to be one of the store's, in one line that names the object."""
    error = None
    try:
        transfer()
    except S3Error as err:
        error = err
    assert scene.proxy.unmet() == [], "the fault did not happen"
    if error is None:
        return RIGHT
    status = describe_failure(error).status
    assert str(error).isprintable()
    assert str(error).startswith(str(scene.uri))
    assert status not in (ExitStatus.OK, ExitStatus.DEFECT)
    return f"{type(error).__name__} ({status:d})"


def check_threads() -> None:
    """See that no thread of the transfer goes on."""
    end_s = time.monotonic() + 2
    while any(thread.name.startswith("s3-") for thread in threading.enumerate()):
        assert time.monotonic() < end_s, "a thread of the transfer goes on"
        time.sleep(0.01)


def limits_for(case: Case, *, times: int | None) -> S3Limits:
    """Be as patient as the case says, and try no more often than shows that it is tried again.

    Where the fault passes, a busy machine may look silent now and then.
    """
    return S3Limits(
        connect_timeout_s=case.patience_s,
        read_timeout_s=case.patience_s,
        silent_attempts=2 if times is None else 5,
        connect_attempts=3,
        body_attempts=3,
        chunk_bytes=MIB // 4,  # so that the object of 1 MiB is sent from the disk
        range_bytes=8 * MIB,
        part_bytes=8 * MIB,
        multipart_bytes=8 * MIB,
    )


@contextmanager
def surroundings(scene: Scene, *, limits: S3Limits) -> Iterator[None]:
    """Name the proxy in the environment, shorten all pauses, and begin with a new client."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, scene.store.environment(scene.proxy.url)))
        stack.enter_context(mock.patch.object(time, "sleep", _short(time.sleep)))
        stack.enter_context(mock.patch.object(botocore.session, "create_loader", _loader))
        s3.use_limits(limits)
        stack.callback(s3.use_limits, S3Limits())
        yield


def _short(sleep: Callable[[float], None]) -> Callable[[float], None]:
    return lambda seconds: sleep(min(seconds, _PAUSE_S))


@cache
def _loader(path: str | None = None) -> Any:
    """Botocore's own files, read once."""
    return botocore.loaders.create_loader(path)
