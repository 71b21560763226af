"""Shards on the workers of a Ray cluster: one for each of its GPUs, or some processors each; who dies is replaced.

Ray places the workers, says which ones died, and carries what is said to them. Which shard is next, and how often one
may be tried, is decided here.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from csci_utils.luigi.failure import ExitStatus, Failure
from csci_utils.s3.errors import one_line
from pipeline.many.ray_messages import VERSION, Counted, Ended, Event, Logged, Outcome, Report, Terms, is_gone_now
from pipeline.many.ray_places import Place, is_gpu, places_on
from pipeline.many.ray_worker import THREADS, ShardWorker, package_version
from pipeline.many.shards import Shard

MOST_TRIES = 3
"""A shard that has ended so many workers is given up, and so is a node on which so many did not begin, or failed."""

_TICK_S = 0.25
_LOOK_S = 5.0
_WAIT_S = 10.0
_REMIND_S = 60.0
_LACKING = "failed to import on the worker"


@dataclass(eq=False)
class _Worker:
    """An actor, and what it was last told to do.

    Attributes:
        handle: Ray's.
        place: Where it is.
        host: The name of its node.
        doing: What was asked for: its greeting, or the run of a shard; None when it is idle.
        shard: What it runs.
        asked: How far it is, while it is being asked.
    """

    handle: Any
    place: Place
    host: str
    doing: Any
    shard: Shard | None = None
    asked: Any = None


class Pool:
    """Runs shards.

    Args:
        shards: What to run, in this order.
        terms: For the workers.
        say: Is told what comes of it.
        cluster: As people name it.
    """

    def __init__(self, shards: Iterable[Shard], *, terms: Terms, say: Callable[[Event], None], cluster: str) -> None:
        self._terms, self._say, self._cluster = terms, say, cluster
        self._waiting = collections.deque(shards)
        self._workers: list[_Worker] = []
        self._tries: collections.Counter[str] = collections.Counter()
        self._failed_on: collections.defaultdict[str, dict[str, Failure]] = collections.defaultdict(dict)
        self._failed_in_a_row: collections.Counter[str] = collections.Counter()
        self._told: dict[str, Counted] = {}
        self._refused: dict[str, Failure] = {}
        self._false_starts: collections.Counter[str] = collections.Counter()
        self._stopping = False
        self._next_look = self._next_question = 0.0
        self._next_word = time.monotonic() + _WAIT_S

    def stop(self) -> None:
        """Begin no shard any more, and end those that run, after the pictures at hand."""
        self._stopping = True

    @property
    def is_running(self) -> bool:
        """Whether anything is left to wait for."""
        return any(worker.shard for worker in self._workers) or (bool(self._waiting) and not self._stopping)

    def step(self) -> None:
        """Do what can be done, and wait for a moment for what comes of it."""
        if not self._stopping:
            self._make_workers()
            self._give_shards()
            self._remind()
        self._ask()
        self._collect()

    def _make_workers(self) -> None:
        """Put a worker wherever there is room for one, as long as there are shards for it."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_S
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        places = [place for place in places_on(nodes, self._terms.device) if place.node not in self._refused]
        if not places and not self._workers:
            self._give_up(is_gone=not nodes)
        taken = collections.Counter(worker.place for worker in self._workers)
        num_shards = len(self._waiting) + sum(worker.shard is not None for worker in self._workers)
        for place in places:
            if taken[place] > 0:
                taken[place] -= 1
            elif len(self._workers) < num_shards:
                self._workers.append(_hired(place, host=nodes[place.node].get("NodeManagerHostname", "")))

    def _give_up(self, *, is_gone: bool) -> None:
        """Tell of all shards that there is nobody to run them."""
        what = "GPUs" if is_gpu(self._terms.device) else "processors"
        nobody = f"{self._cluster} has no node with {what} to style with; see `ray status`"
        if is_gone:
            nobody = is_gone_now(self._cluster)
        failure = next(iter(self._refused.values()), Failure(ExitStatus.NOT_RUN, nobody))
        while self._waiting:
            self._say(Ended(self._waiting.popleft().identity, failure))

    def _give_shards(self) -> None:
        """Give each worker that is idle the next shard that has not failed on its node."""
        for worker in [each for each in self._workers if each.doing is None and each.place.node in self._refused]:
            self._dismiss(worker)
        for worker in self._workers:
            if worker.doing is None and (shard := self._next_for(worker.place.node)) is not None:
                self._waiting.remove(shard)
                worker.shard = shard
                worker.doing = worker.handle.run.remote(shard, self._terms, worker.place.cpus)
        if self._workers and all(worker.doing is None for worker in self._workers):
            self._give_up_what_failed()

    def _next_for(self, node: str) -> Shard | None:
        return next((shard for shard in self._waiting if node not in self._failed_on[shard.identity]), None)

    def _give_up_what_failed(self) -> None:
        """Tell of shards that have failed on each node that is left."""
        while self._waiting:
            identity = self._waiting.popleft().identity
            self._say(Ended(identity, list(self._failed_on[identity].values())[-1]))

    def _remind(self) -> None:
        """Say now and then why nothing happens."""
        if any(worker.shard for worker in self._workers):
            self._next_word = time.monotonic() + _WAIT_S
        elif time.monotonic() > self._next_word:
            self._next_word = time.monotonic() + _REMIND_S
            self._say(Logged(logging.WARNING, f"waiting for workers of {self._cluster}; others may use its processors"))

    def _ask(self) -> None:
        """Ask those that run a shard how far they are, not all the time."""
        if time.monotonic() < self._next_question:
            return
        self._next_question = time.monotonic() + _TICK_S
        for worker in self._workers:
            if worker.shard is not None and worker.asked is None:
                worker.asked = worker.handle.report.remote(stop=self._stopping)

    def _collect(self) -> None:
        """Wait for what was asked of the workers, and take what has come."""
        asked = {worker.asked: worker for worker in self._workers if worker.asked is not None}
        doing = {worker.doing: worker for worker in self._workers if worker.doing is not None}
        expected = [*asked, *doing]
        if not expected:
            time.sleep(_TICK_S)
            return
        ray.wait(expected, num_returns=1, timeout=_TICK_S)
        ready, _ = ray.wait(expected, num_returns=len(expected), timeout=0)
        for answer in ready:
            if answer in asked:
                self._take_report(asked[answer], answer)
        for answer in ready:
            if answer in doing:
                self._take_result(doing[answer], answer)

    def _take_report(self, worker: _Worker, answer: Any) -> None:
        worker.asked = None
        with suppress(ray.exceptions.RayError):  # what has become of the worker is told by what it was doing
            self._tell(ray.get(answer))

    def _take_result(self, worker: _Worker, answer: Any) -> None:
        try:
            result = ray.get(answer)
        except ray.exceptions.RayError as err:
            self._dismiss(worker)
            self._take_loss(worker, err)
            return
        shard, worker.doing, worker.shard = worker.shard, None, None
        if shard is None:
            self._take_greeting(worker, result)
            return
        self._tell(result.report)
        if result.failure is None or not self._goes_elsewhere(shard, result, worker):
            self._say(Ended(shard.identity, result.failure))
        self._judge(worker, result)

    def _goes_elsewhere(self, shard: Shard, outcome: Outcome, worker: _Worker) -> bool:
        """Let another node try a shard that this one cannot do: a disk may be full here, and credentials lacking."""
        failed_on = self._failed_on[shard.identity]
        assert outcome.failure is not None
        failed_on[worker.place.node] = outcome.failure
        others = {worker.place.node for worker in self._workers} - failed_on.keys()
        if self._stopping or not outcome.is_of_node or len(failed_on) >= MOST_TRIES or not others:
            return False
        self._waiting.append(shard)
        self._say(Logged(logging.WARNING, f"{worker.host}: {outcome.failure.sentence}; another node tries"))
        return True

    def _judge(self, worker: _Worker, outcome: Outcome) -> None:
        """Use a node no more that does nothing but fail: it would be the quickest to take all shards."""
        node = worker.place.node
        self._failed_in_a_row[node] = self._failed_in_a_row[node] + 1 if outcome.is_of_node else 0
        if self._failed_in_a_row[node] >= MOST_TRIES and outcome.failure is not None:
            what = f"one shard after the other failed on {worker.host} ({outcome.failure.sentence})"
            self._refuse(worker, f"{what}; mend that, and run it again")

    def _take_greeting(self, worker: _Worker, greeting: dict[str, str]) -> None:
        here, there = package_version(), greeting.get(VERSION)
        if here != there:
            what = f"the node {worker.host} runs neural-style-pipeline {there}, and this is {here}"
            self._refuse(worker, f"{what}; install the same version on both")

    def _take_loss(self, worker: _Worker, err: Exception) -> None:
        """Put what a worker did, that is no more, to the front again, unless that has ended too many."""
        self._next_look = 0.0
        why = _why_lost(err)
        if worker.shard is not None and isinstance(err, ray.exceptions.RayTaskError):  # which `run` was to prevent
            self._say(Ended(worker.shard.identity, Failure(ExitStatus.DEFECT, _last_line(err))))
        elif worker.shard is not None:
            self._take_back(worker.shard, f"{why}, last on {worker.host}")
        elif _LACKING in str(err):
            what, here = _last_line(err), package_version()
            self._refuse(
                worker, f"the node {worker.host} cannot load neural-style-pipeline {here} ({what}); install it"
            )
        else:
            self._false_starts[worker.place.node] += 1
            if self._false_starts[worker.place.node] >= MOST_TRIES:
                self._refuse(worker, f"no worker begins on the node {worker.host} ({why}); see Ray's logs there")

    def _take_back(self, shard: Shard, why: str) -> None:
        self._tries[shard.identity] += 1
        num_tries = self._tries[shard.identity]
        if num_tries < MOST_TRIES:
            self._waiting.appendleft(shard)
            self._say(Logged(logging.WARNING, f"a worker is gone ({why}); its shard goes on with another"))
            return
        which = f"the shard from {shard.images[0]!r} on with {shard.model}"
        sentence = f"{which}: {num_tries} workers were lost one after the other ({why}); see Ray's logs there"
        self._say(Ended(shard.identity, Failure(ExitStatus.TASK_FAILED, sentence)))

    def _refuse(self, worker: _Worker, sentence: str) -> None:
        """Use a node no more."""
        self._dismiss(worker)
        if worker.place.node not in self._refused:
            self._refused[worker.place.node] = Failure(ExitStatus.NOT_RUN, sentence)
            self._say(Logged(logging.WARNING, sentence))
        self._next_look = 0.0

    def _dismiss(self, worker: _Worker) -> None:
        """Let a worker go; one that is only out of reach must not go on beside its successor."""
        if worker in self._workers:
            self._workers.remove(worker)
        with suppress(ray.exceptions.RayError):
            ray.kill(worker.handle)

    def _tell(self, report: Report) -> None:
        """Tell what is new in a report: who tries a shard again counts from the beginning."""
        for line in report.lines:
            self._say(line)
        counted, told = report.counted, self._told.get(report.identity, Counted())
        most = Counted(
            max(counted.pictures, told.pictures),
            max(counted.failures, told.failures),
            max(counted.num_bytes, told.num_bytes),
        )
        self._told[report.identity] = most
        if most != told:
            self._say(
                Counted(most.pictures - told.pictures, most.failures - told.failures, most.num_bytes - told.num_bytes)
            )


def _hired(place: Place, *, host: str) -> _Worker:
    """Let Ray begin a worker in a place; it waits there until the place is free."""
    kind = ray.remote(ShardWorker).options(
        num_cpus=place.cpus,
        num_gpus=place.gpus,
        max_concurrency=THREADS,
        scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=False),
    )
    handle = kind.remote()
    return _Worker(handle=handle, place=place, host=host, doing=handle.greet.remote())


def _last_line(err: Exception) -> str:
    """The line of a worker's traceback that says what was wrong."""
    return one_line(str(err).strip().rpartition("\n")[2])


def _why_lost(err: Exception) -> str:
    """Say in a few words what Ray says in many."""
    if isinstance(err, ray.exceptions.OutOfMemoryError):
        return "its node ran out of memory"
    if isinstance(err, ray.exceptions.ActorUnschedulableError) or "node has died" in str(err):
        return "its node is gone"
    return "it crashed, or was killed"
