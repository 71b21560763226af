"""What a job of many pictures has to do: one listing of the pictures, one of each model's results, one GET a shard."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.luigi.listing import look_many
from csci_utils.s3 import ObjectInfo, S3Uri, each, head
from neural_style.contract import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY
from pipeline.choices import DEFAULT_MAX_FAILURES, LOCAL
from pipeline.errors import AmbiguousResultError, BadNameError, PipelineError
from pipeline.folders import SAVED_MODELS
from pipeline.many.looking import Seen, why_not
from pipeline.many.manifest import Line, Manifest, read_manifest
from pipeline.many.selection import Selection, select
from pipeline.many.shards import Shard, cut
from pipeline.names import check_name, model_file_name

LOOKERS = 16
"""Manifests fetched at once."""

MANY = 10
"""Of names that are told of, the others are counted."""


class NothingToStyleError(PipelineError):
    """No picture is meant."""

    exit_status = 20


@dataclass(frozen=True, kw_only=True)
class ManyJob:
    """Pictures times models.

    Attributes:
        s3_root: ``s3://bucket/prefix``.
        images: Folders, patterns and names below ``images/``, as `pipeline.many.selection.select` reads them.
        lists: Files of names.
        models: Names below ``saved_models/``.
        max_side: Longest edge in pixels to shrink pictures to, or None.
        quality: Of JPEG and WebP results, 1 to 100.
        precision: One of `neural_style.contract.PRECISIONS`.
        max_pixels: A picture that declares more is refused before it is decoded.
        here: Whether the results are to lie on this host, too.
        max_failures: So many pictures may fail before the run is given up.
        retry_failed: Try again what failed, though nothing has changed.
        forced: A token: make again what the run with this token has not made.
        workers: Processes of this host that work at once.
        runner: ``local`` or ``ray``.
        ray_address: Of a cluster; None for one that is started here.
        scheduler: Address of a ``luigid`` that several hosts share, or None.
        dry_run: Only say what would be made, and why.
    """

    s3_root: str
    images: tuple[str, ...]
    models: tuple[str, ...]
    precision: str
    lists: tuple[Path, ...] = ()
    max_side: int | None = None
    quality: int = DEFAULT_QUALITY
    max_pixels: int = DEFAULT_MAX_PIXELS
    here: bool = False
    max_failures: int = DEFAULT_MAX_FAILURES
    retry_failed: bool = False
    forced: str = ""
    workers: int = 1
    runner: str = LOCAL
    ray_address: str | None = None
    scheduler: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """A shard, and what has to be done for it.

    Attributes:
        shard: What is wanted.
        lines: Those of its manifest that hold, by the picture's name.
        reasons: Why the others have to be made, by the picture's name.
    """

    shard: Shard
    lines: Mapping[str, Line]
    reasons: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a look found.

    Attributes:
        selection: The pictures.
        shards: Of every model that is there, in order.
        missing_models: Addresses of those that are not.
    """

    selection: Selection
    shards: Sequence[PlannedShard]
    missing_models: Sequence[S3Uri]

    @property
    def todo(self) -> list[PlannedShard]:
        """Shards for which there is something to do."""
        return [planned for planned in self.shards if planned.reasons]

    @property
    def num_todo(self) -> int:
        """Results that have to be made."""
        return sum(len(planned.reasons) for planned in self.shards)

    @property
    def failures(self) -> list[Line]:
        """Pictures that failed before, and would again."""
        return [line for planned in self.shards for line in planned.lines.values() if "error" in line]

    def why(self) -> Counter[str]:
        """How many results have to be made for which reason."""
        reasons = (reason for planned in self.shards for reason in planned.reasons.values())
        return Counter(reason.partition(":")[0] for reason in reasons)

    def gaps(self) -> list[str]:
        """A sentence for all that was asked for and is not in S3."""
        lacking = [f"images/{each}: there is no such picture in S3" for each in self.selection.missing[:MANY]]
        if len(self.selection.missing) > MANY:
            lacking.append(f"and {len(self.selection.missing) - MANY} more pictures that are not in S3")
        empty = [f"images/{each}: there is no picture in S3 that this means" for each in self.selection.empty]
        if not (self.selection.images or lacking or empty):
            empty = ["images/: no picture is named"]
        models = [f"{uri}: there is no such model in S3" for uri in self.missing_models]
        return [f"{each}; put it there, or correct the name" for each in (*lacking, *empty, *models)]

    def refuse_gaps(self) -> None:
        """Raise where anything that was asked for is not in S3.

        Raises:
            NothingToStyleError: it is so.
        """
        if gaps := self.gaps():
            raise NothingToStyleError("; ".join(gaps[:MANY]))


def plan(job: ManyJob) -> Plan:
    """Find out what has to be made.

    Raises:
        PipelineError: the request makes no sense.
        S3Error: the store refused or did not answer, or there is no such bucket.
    """
    if not (job.images or job.lists) or not job.models:
        raise PipelineError(
            "no pictures or no model are named: give --images and -m, as in --images 'sea/*.jpg' -m mosaic"
        )
    names = list(dict.fromkeys(model_file_name(check_name(model, "model")) for model in job.models))
    models = {name: S3Uri.parse(job.s3_root).joined(f"{SAVED_MODELS}/{name}") for name in names}
    found = dict(zip(names, each(models.values(), head, num_threads=LOOKERS), strict=True))
    early = _EarlyLooks(job, [name for name in names if found[name] is not None])
    selection = select(job.images, lists=job.lists, s3_root=job.s3_root, on_part=early.look)
    shards = [shard for name in names if found[name] is not None for shard in shards_of(job, name, selection.images)]
    _refuse_ambiguous(shards)
    manifests, results = _looked_up(shards, early)
    planned = [
        _planned(shard, manifest, found[shard.model], selection.images, results)
        for shard, manifest in zip(shards, manifests, strict=True)
    ]
    missing = [models[name] for name in names if found[name] is None]
    return Plan(selection=selection, shards=planned, missing_models=missing)


class _EarlyLooks:
    """Looks at the results of pictures while further pictures are listed; its method is called by several threads.

    Attributes:
        asked: The addresses that were looked at.
        found: What is there of them.
    """

    def __init__(self, job: ManyJob, models: Sequence[str]) -> None:
        self._job, self._models = job, models
        self._lock = threading.Lock()
        self.asked: set[S3Uri] = set()
        self.found: dict[S3Uri, ObjectInfo] = {}

    def look(self, images: Sequence[str]) -> None:
        """Look at the results of some pictures."""
        shards = [_shard(self._job, model, tuple(images)) for model in self._models]
        uris = [shard.result_uri(image) for shard in shards for image in images]
        found = look_many(uris)
        with self._lock:
            self.asked.update(uris)
            self.found.update(found)


def _looked_up(shards: Sequence[Shard], early: _EarlyLooks) -> tuple[list[Manifest | None], dict[S3Uri, ObjectInfo]]:
    """Fetch the manifests of shards while those of their results are listed that were not yet."""

    def fetch_manifests() -> list[Manifest | None]:
        return list(each(shards, lambda shard: read_manifest(shard.manifest_uri), num_threads=LOOKERS))

    def list_results() -> dict[S3Uri, ObjectInfo]:
        uris = (shard.result_uri(image) for shard in shards for image in shard.images)
        return early.found | look_many(uri for uri in uris if uri not in early.asked)

    looks: list[Callable[[], Any]] = [fetch_manifests, list_results]
    manifests, results = each(looks, lambda look: look(), num_threads=len(looks))
    return manifests, results


def shards_of(job: ManyJob, model: str, images: Iterable[str]) -> list[Shard]:
    """Cut a job's pictures, sorted by name, into shards of one model."""
    return [_shard(job, model, together) for together in cut(images)]


def _shard(job: ManyJob, model: str, images: tuple[str, ...]) -> Shard:
    return Shard(
        s3_root=job.s3_root,
        model=model,
        images=images,
        max_side=job.max_side,
        quality=job.quality,
        precision=job.precision,
        max_pixels=job.max_pixels,
        forced=job.forced,
        retry_failed=job.retry_failed,
    )


def _planned(
    shard: Shard,
    manifest: Manifest | None,
    model: ObjectInfo | None,
    images: Mapping[str, ObjectInfo],
    results: Mapping[S3Uri, ObjectInfo],
) -> PlannedShard:
    assert model is not None
    lines = manifest.lines if manifest is not None else {}
    addresses = {image: shard.result_uri(image) for image in shard.images}
    held = {image: results[uri] for image, uri in addresses.items() if uri in results}
    seen = Seen(model=model, images=images, results=held)
    why = {image: why_not(lines.get(image), image, shard=shard, seen=seen) for image in shard.images}
    return PlannedShard(
        shard=shard,
        lines={image: lines[image] for image, reason in why.items() if reason is None},
        reasons={image: reason for image, reason in why.items() if reason is not None},
    )


def _refuse_ambiguous(shards: Iterable[Shard]) -> None:
    """Raise where two pictures, or two models, would make one result."""
    makers: dict[S3Uri, tuple[str, str]] = {}
    for shard in shards:
        for image in shard.images:
            other = makers.setdefault(shard.result_uri(image), (image, shard.model))
            if other != (image, shard.model) and _may_be_named(image) and _may_be_named(other[0]):
                raise AmbiguousResultError(
                    f"{other[0]!r} with {other[1]!r} and {image!r} with {shard.model!r} would both become "
                    f"{shard.result_uri(image)}; rename one of them"
                )


def _may_be_named(image: str) -> bool:
    """Whether there can be a result of a picture of that name; else it only fails."""
    try:
        check_name(image, "picture")
    except BadNameError:
        return False
    return True
