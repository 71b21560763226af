"""The process that speaks with Ray, for one run: `python -m pipeline.many.ray_driver`, begun by `ray_runner`.

A process of its own, because Ray does as it likes with the one that it is used in: it ends it without a word when the
node's own process is gone, and with a stack of C++ when the cluster is; it sets signal handlers, writes to standard
error, and leaves threads that no fork survives. Whoever began this one sees that it ended, and says what that means.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import ray
import ray.exceptions

from csci_utils.s3.errors import one_line
from neural_style.engines.processor import num_cores
from pipeline.many.ray_messages import AUTO, STOP, Begun, Event, Job, NotBegun, receive, send
from pipeline.many.ray_pool import Pool

HERE = "127.0.0.1"
"""By itself Ray takes the network's address, and everybody there could have it run what they like."""

ENDING_S = 5.0
"""So long those that run may take for the pictures at hand when the whole run is interrupted."""

_MOST_WORDS = 400
_OBJECT_STORE_BYTES = 80 * 1024 * 1024


def main() -> None:
    """Run the job that standard input holds, say on standard output what becomes of it, and end when told to."""
    orders, say = sys.stdin.buffer, _speaker()
    job = receive(orders)
    if not isinstance(job, Job):
        return
    wishes = _Wishes(orders)
    try:
        _connect(job)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as err:
        words = " ".join(str(err).split()) or type(err).__name__  # Ray says it in several lines
        say(NotBegun(one_line(words[:_MOST_WORDS])))
        return
    wishes.may_wait = True
    say(Begun())
    try:
        _run(Pool(job.shards, terms=job.terms, say=say, cluster=job.cluster), wishes)
    finally:
        ray.shutdown()
        if wishes.end.is_set():  # by somebody who may be no more
            shutil.rmtree(job.folder, ignore_errors=True)


def _run(pool: Pool, wishes: _Wishes) -> None:
    end = float("inf")
    while pool.is_running and time.monotonic() < end:
        if wishes.stop.is_set():
            pool.stop()
        if wishes.end.is_set():
            end = min(end, time.monotonic() + ENDING_S)
        pool.step()


def _connect(job: Job) -> None:
    """Join the cluster, or start one that nobody else can reach and that keeps next to nothing in memory."""
    if job.address is not None:
        try:
            ray.init(address=job.address, logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as err:
            if job.address != AUTO:
                raise
            raise ConnectionError("none runs; begin one (`ray start --head`), or leave out --ray-address") from err
        return
    ray.init(
        address="local",
        num_cpus=num_cores(),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _node_ip_address=HERE,
        _temp_dir=job.folder,
        _system_config={
            "worker_niceness": 0,  # as nice as what runs without Ray
            "process_group_cleanup_enabled": False,  # workers stay in this group, with which they are killed
        },
    )


def _speaker() -> Callable[[Event], None]:
    """What writes to the real standard output; whatever else of this process goes there, goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(event: Event) -> None:
        with suppress(BrokenPipeError):  # nobody is left to hear it, which standard input tells, too
            send(stream, event)

    return say


class _Wishes:
    """What is said on standard input after the job.

    Attributes:
        stop: Set when no further shard is to be begun.
        end: Set when all is to end soon: standard input ends, and so it does however its other end died.
        may_wait: Whether there is anything to end; without that, the process ends at once, and all that it has started.
    """

    def __init__(self, orders: IO[bytes]) -> None:
        self.stop, self.end = threading.Event(), threading.Event()
        self.may_wait = False
        threading.Thread(target=self._listen, args=(orders,), daemon=True).start()

    def _listen(self, orders: IO[bytes]) -> None:
        while receive(orders) == STOP:
            self.stop.set()
        self.end.set()
        self.stop.set()
        if not self.may_wait:
            os._exit(1)


if __name__ == "__main__":
    main()
