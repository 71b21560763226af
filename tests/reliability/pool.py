"""Cells in several processes at a time: the tested code has one client a process, and much of the time is waiting."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import IO

from tests.reliability.scene import SIZES, right_object
from tests.reliability.table import CELLS, Cell
from tests.reliability.trial import Shared, run_cell
from tests.servers.stores import Store, store_at
from tests.servers.swift import REPO

NUM_WORKERS = 4
_NOBODYS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Broken(AssertionError):  # noqa: N818 - a failed assertion of another process
    """What must hold did not hold, or the trial itself failed; the text has the traceback."""


@contextmanager
def running(cells: Iterable[Cell], stores: Mapping[str, Store]) -> Iterator[dict[str, Future[str]]]:
    """Run cells, and give the outcome of each, by its name, as soon as it is there."""
    with ExitStack() as stack:
        workers: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        threads = stack.enter_context(ThreadPoolExecutor(NUM_WORKERS))
        stack.callback(threads.shutdown, cancel_futures=True)
        begin = _beginning(stores)
        for _ in range(NUM_WORKERS):
            workers.put(stack.enter_context(_Worker(begin)))
        yield {str(cell): threads.submit(_run, str(cell), workers) for cell in cells}


def _beginning(stores: Mapping[str, Store]) -> str:
    """Write what a worker has to know; put the objects there that all share."""
    shared = [
        (name, size, with_digest, right_object(store, size=size, with_digest=with_digest))
        for name, store in stores.items()
        for size in SIZES
        for with_digest in (True, False)
    ]
    where = [
        {"url": store.url, "name": store.name, "access_key": store.access_key, "secret_key": store.secret_key}
        for store in stores.values()
    ]
    return json.dumps({"stores": where, "shared": shared})


def _run(name: str, workers: queue.SimpleQueue[_Worker]) -> str:
    worker = workers.get()
    try:
        return worker.run(name)
    finally:
        workers.put(worker)


class _Worker:
    """A process that runs cells one after another, until its standard input ends."""

    def __init__(self, begin: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.pool"],
            cwd=REPO,
            env=clean | _NOBODYS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(begin)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, name: str) -> str:
        self._say(json.dumps(name))
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise Broken(f"{name}: the process that ran it ended with {self._process.wait()}")
        answer: dict[str, str] = json.loads(line)
        if "broken" in answer:
            raise Broken(f"{name}: {answer['broken']}")
        return answer["outcome"]

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None  # as asked for above
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def work(lines: Iterator[str], out: IO[str]) -> None:
    """Be a worker: the first line says what there is, each other one names a cell."""
    import logging
    import traceback

    logging.disable(logging.CRITICAL)
    begin = json.loads(next(lines))
    shared: Shared = {(name, size, with_digest): bucket for name, size, with_digest, bucket in begin["shared"]}
    cells = {str(cell): cell for cell in CELLS}
    with ExitStack() as stack:
        stores = {where["name"]: stack.enter_context(store_at(**where)) for where in begin["stores"]}
        for line in lines:
            cell = cells[json.loads(line)]
            try:
                answer = {"outcome": run_cell(cell.case, stores[cell.store], cell.size, shared=shared)}
            except Exception:
                answer = {"broken": traceback.format_exc()}
            out.write(json.dumps(answer) + "\n")
            out.flush()


if __name__ == "__main__":
    work(iter(sys.stdin.readline, ""), sys.stdout)
