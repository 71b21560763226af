"""What a run of many pictures did when, by the requests that its store was asked: nothing in the program is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from bench.many_store import Asked


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Seconds of a run; None for what did not come to pass.

    Attributes:
        num_requests: In all.
        num_manifests: Shards, that is.
        planning_s: From the first request to the answer to the last one that looks for what is there.
        scheduling_s: From there to the first request of the first shard; reasons and summaries of the plan included.
        moving_s: From the first picture that was asked for to the answer to the last thing that was sent.
        between_s: Of ``moving_s``, from the answer to a manifest that was sent to the next shard's first picture.
        first_picture_s: When that was asked for, by the machine's monotonic clock.
    """

    num_requests: int
    num_manifests: int
    planning_s: float | None = None
    scheduling_s: float | None = None
    moving_s: float | None = None
    between_s: float | None = None
    first_picture_s: float | None = None


def read_timeline(asked: Sequence[Asked]) -> Timeline:
    """Read the requests of one run, in the order of coming."""
    manifests = [each for each in asked if _is_manifest(each)]
    number = len({each.target for each in manifests})
    looks = [each for each in manifests if each.method == "GET"][:number]  # a shard asks for its own again
    planned_s = max((each.ended_s for each in looks), default=None)
    pictures = [each for each in asked if _is_picture(each)]
    sent = [each for each in asked if each.method == "PUT"]
    return Timeline(
        num_requests=len(asked),
        num_manifests=number,
        planning_s=planned_s - asked[0].begun_s if planned_s is not None else None,
        scheduling_s=_until_next(asked, planned_s) if planned_s is not None else None,
        moving_s=max(each.ended_s for each in sent) - pictures[0].begun_s if pictures and sent else None,
        between_s=sum(_between(pictures, (each for each in manifests if each.method == "PUT"))),
        first_picture_s=pictures[0].begun_s if pictures else None,
    )


def as_told(asked: Sequence[Asked]) -> dict[str, object]:
    """Return the same as plain data, for `bench.measure.Sample`."""
    return asdict(read_timeline(asked))


def _until_next(asked: Sequence[Asked], then_s: float) -> float | None:
    return next((each.begun_s - then_s for each in asked if each.begun_s >= then_s), None)


def _between(pictures: Sequence[Asked], manifests: Iterable[Asked]) -> list[float]:
    """How long no picture was under way after each manifest but the last."""
    waits = (_until_next(pictures, each.ended_s) for each in manifests)
    return [wait for wait in waits if wait is not None]


def _is_manifest(asked: Asked) -> bool:
    return "/.shards/" in asked.target and "list-type=" not in asked.target


def _is_picture(asked: Asked) -> bool:
    return asked.method == "GET" and "/images/" in asked.target and "list-type=" not in asked.target
