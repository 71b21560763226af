"""`StylizeShard` and `StylizeMany`: whole prefixes of pictures times several models, as few Luigi tasks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from csci_utils.luigi.page import ShownTask
from csci_utils.luigi.run import ExplainedTask
from csci_utils.luigi.target import ExactKeyS3Target
from pipeline import settings
from pipeline.choices import DEFAULT_MAX_FAILURES
from pipeline.errors import PipelineError
from pipeline.many.looking import holding, look_at
from pipeline.many.manifest import Manifest, read_manifest
from pipeline.many.plan import ManyJob, Plan, plan
from pipeline.many.shard_run import run_shard
from pipeline.many.shards import Shard
from pipeline.many.tally import SharedTally, Tally
from pipeline.tasks.data import model_parameter, refuse_offline
from pipeline.tasks.request import (
    forced_parameter,
    gpu_resources,
    max_pixels_parameter,
    max_side_parameter,
    precision_parameter,
    quality_parameter,
)
from pipeline.tasks.roots import RootedTask

GIVE_UP_AFTER = 3
"""So many shards in a row may fail by the store or the disk before the others are not begun."""

_PRIVATE = ParameterVisibility.PRIVATE


class PicturesFailedError(PipelineError):
    """Some pictures could not be styled; all others are."""

    exit_status = 30


class GivenUpError(PipelineError):
    """This shard was not begun, because others before it failed for reasons that it would meet, too."""

    exit_status = 25


class _Run:
    """What tasks of this process share: the counts of the run they belong to."""

    tally: Tally | None = None
    workers = 1
    failed_in_a_row: Any = None


class StyleMany(RootedTask):
    """What pictures are styled with; the base of both tasks."""

    max_side = max_side_parameter()
    quality = quality_parameter()
    precision = precision_parameter()
    max_pixels = max_pixels_parameter()
    max_failures = luigi.IntParameter(
        default=DEFAULT_MAX_FAILURES, significant=False, description="end when more pictures fail"
    )
    retry_failed = luigi.BoolParameter(significant=False, description="try again what failed, though nothing changed")
    here = luigi.BoolParameter(significant=False, description="keep the results on this host, too")
    forced = forced_parameter()


class StylizeShard(ShownTask, ExplainedTask, StyleMany):
    """Style some pictures with one model and put the results and their manifest into S3.

    Complete while the manifest has a line for every picture that holds by what S3 holds now: a result, or the reason
    for which this very picture cannot be styled.
    """

    model = model_parameter()
    images = luigi.ListParameter(significant=False, visibility=_PRIVATE, description="names below images/")
    identity = luigi.Parameter(default="", positional=False, description="the digest of names, model and parameters")

    _manifest: Manifest | None = None

    @classmethod
    def get_param_values(
        cls, params: Sequence[tuple[str, luigi.Parameter]], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> list[tuple[str, Any]]:
        """Luigi's own, with the identity that the other parameters make."""
        values = dict(super().get_param_values(params, args, kwargs))
        values["identity"] = _shard_of(values).identity
        return list(values.items())

    @classmethod
    def of(cls, shard: Shard, **others: Any) -> StylizeShard:
        """The task of a shard."""
        return cls(**shard.to_dict(), **others)

    @property
    def shard(self) -> Shard:
        """What is wanted, as plain data."""
        return _shard_of(self.param_kwargs)

    @property
    def resources(self) -> dict[str, int]:  # type: ignore[override]  # Luigi reads it, and never sets it
        """One GPU of this host, where one is used: two nets do not share it."""
        now = settings.current()
        return gpu_resources(now.device, now.engine)

    def output(self) -> ExactKeyS3Target:
        """The manifest."""
        return ExactKeyS3Target(str(self.shard.manifest_uri))

    def complete(self) -> bool:
        """Whether the manifest tells of every picture, and holds.

        Raises:
            S3Error: the store refused or did not answer.
        """
        refuse_offline("sends results to S3")
        fresh, self._manifest = self._manifest, None  # for Luigi's check after the run alone: it keeps tasks
        manifest = fresh or read_manifest(self.shard.manifest_uri)
        if manifest is None:
            return False
        lines = holding(manifest, self.shard, look_at(self.shard), of_this_run=fresh is not None)
        return len(lines) == len(self.images)

    def run(self) -> None:
        """Style what has to be styled; of several processes of this host one does."""
        num_pictures = len(self.images)
        tally = _Run.tally or SharedTally(max_failures=self.max_failures)

        def on_line(num_done: int, num_failed: int) -> None:
            failed = f", {num_failed} failed" if num_failed else ""
            self.say(f"{num_done} of {num_pictures} pictures{failed}", percent=100 * num_done // num_pictures)

        with self.shown(), _failures_in_a_row_counted():
            self._manifest = run_shard(self.shard, tally=tally, here=self.here, workers=_Run.workers, on_line=on_line)
            if self.set_tracking_url is not None:
                self.set_tracking_url(str(self.shard.manifest_uri))


class StylizeMany(ExplainedTask, StyleMany):
    """Style whole prefixes with several models: a wrapper around shards, complete when every picture is styled."""

    images = luigi.ListParameter(description="folders, patterns and names of pictures below images/")
    models = luigi.ListParameter(description="names of models below saved_models/ [.pth]")
    lists = luigi.ListParameter(default=(), positional=False, description="files of names, one a line")

    def requires(self) -> list[StylizeShard]:
        """The shards.

        Raises:
            PipelineError: no picture is meant, or two results would have one name.
            S3Error: the store refused or did not answer.
        """
        return [
            StylizeShard.of(each.shard, here=self.here, max_failures=self.max_failures) for each in self._plan().shards
        ]

    def output(self) -> list[ExactKeyS3Target]:
        """The manifests."""
        return [task.output() for task in self.requires()]

    def complete(self) -> bool:
        """Whether every picture is styled, as S3 has it now; Luigi keeps tasks, and asks in each run."""
        planned = self.__dict__.pop("_checked", None) or self._plan(anew=True)
        return not planned.todo and not planned.failures

    def run(self) -> None:
        """Say what could not be styled.

        Raises:
            PicturesFailedError: there is something.
        """
        planned = self._plan(anew=True)
        sentences = [line["error"]["sentence"] for line in planned.failures]
        sentences += [f"{image}: {why}" for each in planned.shards for image, why in each.reasons.items()]
        if sentences:
            raise PicturesFailedError(f"{len(sentences)} pictures could not be styled, the first: {sentences[0]}")
        self.__dict__["_checked"] = planned  # for Luigi's check after the run alone

    def _plan(self, *, anew: bool = False) -> Plan:
        found: Plan | None = None if anew else self.__dict__.get("_planned")
        if found is None:
            job = ManyJob(
                images=tuple(self.images),
                lists=tuple(map(Path, self.lists)),
                models=tuple(self.models),
                max_side=self.max_side,
                quality=self.quality,
                max_pixels=self.max_pixels,
                precision=self.precision,
                retry_failed=self.retry_failed,
                forced=self.forced,
                s3_root=self.s3_root,
            )
            found = self.__dict__["_planned"] = plan(job)
            found.refuse_gaps()
        return found


def share_run(tally: Tally, *, workers: int) -> None:
    """Let the tasks of this process, and of those forked from it, belong to one run.

    Args:
        tally: Counts for all of them.
        workers: Processes that share this host's processors.
    """
    _Run.tally, _Run.workers, _Run.failed_in_a_row = tally, workers, multiprocessing.Value("q", 0)


@contextmanager
def _failures_in_a_row_counted() -> Iterator[None]:
    """Count shards that fail by the store or the disk, one after another, in all processes of a run.

    Raises:
        GivenUpError: it were too many.
    """
    count = _Run.failed_in_a_row
    if count is not None and count.value >= GIVE_UP_AFTER:
        raise GivenUpError("not begun, because others failed by the store or the disk; mend that, and run it again")
    try:
        yield
    except OSError as err:
        if count is not None and not isinstance(err, FileNotFoundError):  # which is a model, and others may be there
            with count:
                count.value += 1
        raise
    if count is not None:
        count.value = 0


def _shard_of(values: Any) -> Shard:
    names = ("s3_root", "model", "max_side", "quality", "precision", "max_pixels", "forced", "retry_failed")
    return Shard(images=tuple(sorted(values["images"])), **{name: values[name] for name in names})
