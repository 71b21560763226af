"""Which worker gets which shard, and what becomes of those that end their workers or fail on a node; Ray is played."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from csci_utils.luigi.failure import ExitStatus, Failure
from pipeline.many.ray_messages import VERSION, Counted, Ended, Event, Logged, Outcome, Report, Terms
from pipeline.many.ray_worker import package_version
from pipeline.many.shards import Shard

CLUSTER = "the Ray cluster at head:6379"
MANY_STEPS = 200

Run = Callable[[str, Shard], Outcome]
"""What a worker on a node makes of a shard."""


@dataclass
class Actor:
    """A worker, as its handle shows it: what it is asked for is done when it is looked at."""

    node: str
    stage: Stage
    is_dead: bool = False

    def __getattr__(self, method: str) -> Any:
        return Remote(lambda *args, **options: self.stage.answer(self, method, *args, **options))


@dataclass
class Remote:
    call: Callable[..., Any]

    def remote(self, *args: Any, **options: Any) -> Any:
        return self.call(*args, **options)


@dataclass
class Stage:
    """Plays Ray.

    Attributes:
        nodes_: by id, the processors of each.
        run: what workers do.
        greetings: what workers of a node say first, where that is not what they should.
        runs: which node was given which shard.
        killed: workers that were ended.
    """

    nodes_: dict[str, float]
    run: Run
    greetings: dict[str, Any] = field(default_factory=dict)
    runs: list[tuple[str, str]] = field(default_factory=list)
    killed: list[Actor] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    _answers: dict[int, Any] = field(default_factory=dict)
    _numbers: Any = field(default_factory=itertools.count)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": node, "Alive": True, "NodeManagerHostname": f"host-{node}", "Resources": {"CPU": cpus}}
            for node, cpus in self.nodes_.items()
        ]

    def remote(self, _kind: type) -> Any:
        return self

    def options(self, *, scheduling_strategy: Any, **_options: Any) -> Any:
        return Remote(lambda: self._actor(scheduling_strategy))

    def _actor(self, node: str) -> Actor:
        self.actors.append(Actor(node, self))
        return self.actors[-1]

    def answer(self, actor: Actor, method: str, *args: Any, **_options: Any) -> int:
        number = next(self._numbers)
        self._answers[number] = self._answer(actor, method, *args)
        return number

    def _answer(self, actor: Actor, method: str, *args: Any) -> Any:
        if method == "greet":
            return self.greetings.get(actor.node, {VERSION: package_version()})
        if method == "report":
            return Report("", Counted(), ())
        self.runs.append((actor.node, args[0].model))
        try:
            return self.run(actor.node, args[0])
        except Exception as err:
            return err

    def wait(self, refs: list[int], *, num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        return refs[:num_returns], refs[num_returns:]

    def get(self, ref: int) -> Any:
        answer = self._answers[ref]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


def shards_of(number: int) -> list[Shard]:
    """Told apart by their models."""
    parameters = {"s3_root": "s3://b", "images": ("a.png",), "max_side": None, "quality": 95, "precision": "float32"}
    return [Shard(model=f"{each}.pth", **parameters) for each in range(number)]


def done(shard: Shard, **counts: int) -> Outcome:
    return Outcome(None, is_of_node=False, report=Report(shard.identity, Counted(**counts), ()))


def failed(shard: Shard, sentence: str = "disk full") -> Outcome:
    report = Report(shard.identity, Counted(), ())
    return Outcome(Failure(ExitStatus.TASK_FAILED, sentence), is_of_node=True, report=report)


def died() -> Exception:
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def raised(text: str) -> Exception:
    from ray.exceptions import RayTaskError

    return RayTaskError("run", text, None)


@pytest.fixture
def ray_pool(monkeypatch):
    """Imported here and not above: Ray adds to the places where modules are found."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    from pipeline.many import ray_pool

    return ray_pool


@pytest.fixture
def play(ray_pool, monkeypatch):
    """Run shards on nodes of one processor each; return what was said, how shards ended, and the stage."""

    def run(
        shards: list[Shard], nodes: str, act: Run, *, device: str = "cpu", **greetings: Any
    ) -> tuple[list[Event], dict[str, Failure | None], Stage]:
        stage, said = Stage(dict.fromkeys(nodes, 1.0), act, greetings), []
        for name in ("nodes", "remote", "wait", "get", "kill"):
            monkeypatch.setattr(ray_pool.ray, name, getattr(stage, name))
        monkeypatch.setattr(ray_pool, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
        monkeypatch.setattr(ray_pool.time, "sleep", lambda _: None)
        terms = Terms(device=device, engine="auto", memory="auto", s3_limits=None, s3_addressing_style="",
                      local_root=None, log_level=logging.INFO)  # fmt: skip
        pool, steps = ray_pool.Pool(shards, terms=terms, say=said.append, cluster=CLUSTER), itertools.count()
        while pool.is_running:
            pool.step()
            assert next(steps) < MANY_STEPS, "it never ends"
        return said, {event.identity: event.failure for event in said if isinstance(event, Ended)}, stage

    return run


def lines(said: list[Event]) -> list[str]:
    return [event.text for event in said if isinstance(event, Logged)]


@pytest.mark.slow
def test_every_node_works_and_no_more_workers_are_made_than_there_are_shards(play):
    shards = shards_of(5)
    _, ended, stage = play(shards, "ab", lambda node, shard: done(shard))
    assert ended == {shard.identity: None for shard in shards}
    assert {node for node, _ in stage.runs} == {"a", "b"}
    assert len(stage.actors) == 2
    _, _, stage = play(shards[:1], "abc", lambda node, shard: done(shard))
    assert len(stage.actors) == 1


def test_a_worker_that_dies_is_replaced_and_a_shard_that_ends_three_is_given_up(play):
    shards = shards_of(3)

    def die_of_the_second(node: str, shard: Shard) -> Outcome:
        if shard is shards[1]:
            raise died()
        return done(shard)

    said, ended, stage = play(shards, "a", die_of_the_second)
    assert [model for _, model in stage.runs].count("1.pth") == 3
    assert len(stage.actors) == 4
    failure = ended.pop(shards[1].identity)
    assert failure is not None
    assert failure.status is ExitStatus.TASK_FAILED
    assert "3 workers were lost one after the other (it crashed, or was killed, last on host-a)" in failure.sentence
    assert set(ended.values()) == {None}
    assert len(lines(said)) == 2


def test_counts_of_a_second_try_are_told_beyond_those_of_the_first_alone(play, ray_pool, monkeypatch):
    shard, tries = shards_of(1)[0], itertools.count()

    def die_once(node: str, shard: Shard) -> Outcome:
        if next(tries) == 0:
            raise died()
        return done(shard, pictures=10, failures=2, num_bytes=100)

    take = ray_pool.Pool._take_result

    def take_after_a_report(self: Any, worker: Any, answer: Any) -> None:
        if worker.shard is not None:
            self._tell(Report(shard.identity, Counted(7, 2, 150), ()))
        take(self, worker, answer)

    monkeypatch.setattr(ray_pool.Pool, "_take_result", take_after_a_report)
    said, _, _ = play([shard], "a", die_once)
    assert [event for event in said if isinstance(event, Counted)] == [Counted(7, 2, 150), Counted(3, 0, 0)]


def test_what_fails_on_one_node_is_done_by_another_and_a_node_that_only_fails_is_left_out(play):
    shards = shards_of(12)
    said, ended, stage = play(shards, "ab", lambda node, shard: (failed if node == "a" else done)(shard))
    assert ended == {shard.identity: None for shard in shards}
    assert sum(node == "a" for node, _ in stage.runs) == 3
    assert any("one shard after the other failed on host-a (disk full); mend that" in line for line in lines(said))
    assert {actor.node for actor in stage.killed} == {"a"}


def test_what_fails_on_every_node_has_failed_and_the_rest_is_not_begun(play):
    shards = shards_of(9)
    _, ended, stage = play(shards, "ab", lambda node, shard: failed(shard))
    assert sorted(ended) == sorted(shard.identity for shard in shards)
    assert {failure.status for failure in ended.values() if failure} == {ExitStatus.TASK_FAILED, ExitStatus.NOT_RUN}
    assert len(stage.runs) == 6


def test_on_one_node_a_shard_that_fails_is_tried_once(play):
    shards = shards_of(2)
    _, ended, stage = play(shards, "a", lambda node, shard: failed(shard, "no"))
    assert set(ended.values()) == {Failure(ExitStatus.TASK_FAILED, "no")}
    assert len(stage.runs) == 2


def test_a_failure_of_the_shard_itself_goes_to_no_other_node(play):
    failure = Failure(ExitStatus.INPUT_MISSING, "no such model")
    report = Report("", Counted(), ())
    _, ended, stage = play(shards_of(1), "ab", lambda node, shard: Outcome(failure, is_of_node=False, report=report))
    assert set(ended.values()) == {failure}
    assert len(stage.runs) == 1


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (
            lambda: {VERSION: "9.9, algorithm 1"},
            "the node host-b runs neural-style-pipeline 9.9, algorithm 1, and this is",
        ),
        (
            lambda: raised("RuntimeError: failed to import on the worker\nModuleNotFoundError: no pipeline"),
            "the node host-b cannot load neural-style-pipeline",
        ),
        (died, "no worker begins on the node host-b (it crashed, or was killed)"),
    ],
    ids=["version", "lacking", "dies"],
)
def test_nodes_that_cannot_work_are_left_out_and_alone_they_are_the_reason(play, greeting, said):
    shards = shards_of(4)
    heard, ended, stage = play(shards, "ab", lambda node, shard: done(shard), b=greeting())
    assert set(ended.values()) == {None}
    assert {node for node, _ in stage.runs} == {"a"}
    assert [line for line in lines(heard) if line.startswith(said)] != []
    _, ended, _ = play(shards, "b", lambda node, shard: done(shard), b=greeting())
    assert len(ended) == 4
    for failure in ended.values():
        assert failure is not None
        assert failure.status is ExitStatus.NOT_RUN
        assert failure.sentence.startswith(said)


@pytest.mark.parametrize(
    ("nodes", "device", "said"),
    [
        ("", "cpu", f"{CLUSTER} is gone; what is in S3 stays, run it again to go on"),
        ("h", "cpu", f"{CLUSTER} has no node with processors to style with; see `ray status`"),
    ],
    ids=["none alive", "head only"],
)
def test_a_cluster_without_workers_is_told(play, ray_pool, monkeypatch, nodes, device, said):
    monkeypatch.setattr(ray_pool, "places_on", lambda nodes, device: [])
    _, ended, _ = play(shards_of(2), nodes, lambda node, shard: done(shard), device=device)
    assert list(ended.values()) == [Failure(ExitStatus.NOT_RUN, said)] * 2


def test_a_mistake_of_ours_in_a_worker_is_a_defect(play):
    def broken(node: str, shard: Shard) -> Outcome:
        raise raised("Traceback\nAttributeError: no such thing")

    _, ended, stage = play(shards_of(1), "a", broken)
    assert list(ended.values()) == [Failure(ExitStatus.DEFECT, "AttributeError: no such thing")]
    assert len(stage.runs) == 1
