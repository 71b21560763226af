"""What goes wrong, and where: the rows of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.reliability.scene import Scene
from tests.servers.exchange import Action
from tests.servers.faults import Answer, CallFirst, CallWhenDone, Corrupt, Cut, Drop, Lie, Silence, Stall

Direction = Literal["download", "upload"]
DIRECTIONS: tuple[Direction, ...] = ("download", "upload")

AT_BYTE = 300_000
"""Where in a body it happens: inside every object, part and range."""

Arrange = Callable[[Scene, int | None], object]
"""Prepares a fault that happens so many times, or (None) each time."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault in one direction.

    Attributes:
        fault: what goes wrong.
        how: at which request, in which way.
        direction: of the bytes.
        arrange: prepares it.
        passes_after: it happens so many times and then no more; None where it is of the kind that does not pass.
        lasts: whether it is also tried each time.
        big_only: it needs an object that goes in parts or ranges.
        with_digest: whether the object to be fetched carries our digest.
        own_object: whether the object to be fetched is changed by the fault, and so of no use to other trials.
        patience_s: how long the tested code waits for a silent store.
    """

    fault: str
    how: str
    direction: Direction
    arrange: Arrange
    passes_after: int | None = 2
    lasts: bool = True
    big_only: bool = False
    with_digest: bool = True
    own_object: bool = False
    patience_s: float = 10.0


@dataclass(frozen=True)
class NoCase:
    """A fault that has no meaning in one direction, and why."""

    fault: str
    direction: Direction
    why: str


def at(action: Action, *, method: str, query: str = "", skip: int = 0) -> Arrange:
    """Prepare an action of the proxy."""
    return lambda scene, times: scene.proxy.add(action, method=method, query=query, skip=skip, times=times)


def at_begin(action: Action) -> Arrange:
    """Prepare an action for the request that begins an upload in parts."""
    return at(action, method="POST", query="uploads")


def at_completion(action: Action) -> Arrange:
    """Prepare an action for the request that puts the parts together."""
    return at(action, method="POST", query="uploadId")


def _downloads() -> list[Case | NoCase]:
    def case(fault: str, how: str, arrange: Arrange, **more: object) -> Case:
        return Case(fault=fault, how=how, direction="download", arrange=arrange, **more)  # type: ignore[arg-type]

    stall = {"passes_after": 1, "patience_s": 2.0}
    final = {"passes_after": None}
    gone = {"passes_after": None, "own_object": True}
    slow_down, refused = Answer(503, "SlowDown"), Answer(403, "AccessDenied")
    return [
        case("503 five times", "at the look", at(slow_down, method="HEAD"), passes_after=5),
        case("503 five times", "at the read", at(slow_down, method="GET"), passes_after=5),
        case("reset mid-body", "at byte 300,000", at(Cut(AT_BYTE, broken=True), method="GET")),
        case("truncated body", "at byte 300,000", at(Cut(AT_BYTE), method="GET")),
        case("a length that lies", "too long", at(Lie(+7), method="GET")),
        case("a length that lies", "too short", at(Lie(-7), method="GET")),
        case("one corrupted byte", "object with our digest", at(Corrupt(AT_BYTE), method="GET")),
        case("one corrupted byte", "object of others", at(Corrupt(AT_BYTE), method="GET"), with_digest=False),
        case("a stalled read", "mid-body", at(Stall(AT_BYTE), method="GET"), **stall),
        case("a stalled read", "no answer", at(Silence(), method="GET"), **stall),
        NoCase("dropped connection on PUT", "download", "a download sends no PUT"),
        case("403", "at the look", at(refused, method="HEAD"), **final),
        case("403", "at the read", at(refused, method="GET"), **final),
        case("403", "at a later range", at(refused, method="GET", skip=1), big_only=True, **final),
        case("404", "never there", lambda scene, _: scene.remove_object(), **gone),
        case("404", "after the look", after_look(Scene.remove_object), **gone),
        case("404", "after the first range", after_read(Scene.remove_object), big_only=True, **gone),
        case("bucket gone", "never there", lambda scene, _: scene.remove_bucket(), **gone),
        case("bucket gone", "after the look", after_look(Scene.remove_bucket), **gone),
        case("bucket gone", "after the first range", after_read(Scene.remove_bucket), big_only=True, **gone),
    ]


def after_look(act: Callable[[Scene], None]) -> Arrange:
    """Act between the look and the read."""
    return lambda scene, _: scene.proxy.add(CallWhenDone(lambda: act(scene)), method="HEAD")


def after_read(act: Callable[[Scene], None]) -> Arrange:
    """Act when the first read has been answered, and the client does not know it yet."""
    return lambda scene, _: scene.proxy.add(CallWhenDone(lambda: act(scene)), method="GET")


def _uploads() -> list[Case | NoCase]:
    def case(fault: str, how: str, arrange: Arrange, **more: object) -> Case:
        return Case(fault=fault, how=how, direction="upload", arrange=arrange, **more)  # type: ignore[arg-type]

    stall = {"passes_after": 1, "patience_s": 2.0}
    final = {"passes_after": None}
    slow_down, refused, missing = Answer(503, "SlowDown"), Answer(403, "AccessDenied"), Answer(404, "NoSuchKey")
    return [
        case("503 five times", "bytes", at(slow_down, method="PUT"), passes_after=5),
        case("503 five times", "beginning", at_begin(slow_down), passes_after=5, big_only=True),
        case("503 five times", "completion", at_completion(slow_down), passes_after=5, big_only=True),
        case("reset mid-body", "at byte 300,000", at(Cut(AT_BYTE, "request", broken=True), method="PUT")),
        case("truncated body", "at byte 300,000", at(Cut(AT_BYTE, "request"), method="PUT")),
        case("a length that lies", "too long", at(Lie(+7, "request"), method="PUT")),
        case("a length that lies", "too short", at(Lie(-7, "request"), method="PUT")),
        case("one corrupted byte", "at byte 300,000", at(Corrupt(AT_BYTE, "request"), method="PUT")),
        case("a stalled read", "the store reads no more", at(Stall(AT_BYTE, "request"), method="PUT"), **stall),
        case("a stalled read", "no answer", at(Silence(), method="PUT"), **stall),
        case("a stalled read", "completion not answered", at_completion(Silence()), big_only=True, **stall),
        case("dropped connection on PUT", "before the bytes", at(Drop(), method="PUT")),
        case("dropped connection on PUT", "no answer", at(Drop(answered=True), method="PUT")),
        case("dropped connection on PUT", "beginning, no answer", at_begin(Drop(answered=True)), big_only=True),
        case("dropped connection on PUT", "completion, no answer", at_completion(Drop(answered=True)), big_only=True),
        case("403", "bytes", at(refused, method="PUT"), **final),
        case("403", "beginning", at_begin(refused), big_only=True, **final),
        case("403", "completion", at_completion(refused), big_only=True, **final),
        case("404", "for the bytes", at(missing, method="PUT"), **final),
        case("404", "somebody gives the upload up", given_up, passes_after=1, big_only=True),
        case("bucket gone", "never there", lambda scene, _: scene.remove_bucket(), **final),
        case("bucket gone", "before the last part", before_last_part(Scene.remove_bucket), big_only=True, **final),
    ]


def before_last_part(act: Callable[[Scene], None]) -> Arrange:
    """Act when the last part is about to be stored, in as many uploads as the fault is to happen to."""
    return lambda scene, times: scene.proxy.add(
        CallFirst(lambda: act(scene)), method="PUT", query="partNumber=3", times=times
    )


def given_up(scene: Scene, times: int | None) -> None:
    """Have somebody give the upload up; moto falls over parts of no upload, so for it the proxy says what S3 says."""
    before_last_part(Scene.abort_uploads)(scene, times)
    if scene.store.name == "moto":
        scene.proxy.add(Answer(404, "NoSuchUpload"), method="PUT", query="partNumber=3", times=times)


ROWS: tuple[Case | NoCase, ...] = (*_downloads(), *_uploads())
