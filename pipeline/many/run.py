"""The job of many pictures: look, say what would be made and why, have it made, tell what became of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import luigi

from csci_utils.io import atomic_path, read_record, write_record
from csci_utils.lock import locked
from csci_utils.luigi.failure import ExitStatus, Failure, describe_failure
from csci_utils.luigi.run import build
from csci_utils.s3 import (
    CredentialsMissingError,
    KeysRefusedError,
    ObjectChangedError,
    ObjectMissingError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    each,
    get,
)
from pipeline import settings
from pipeline.choices import RAY
from pipeline.errors import PipelineError
from pipeline.folders import STYLIZED
from pipeline.many.looking import holding, look_at
from pipeline.many.manifest import Line, Manifest, read_manifest, record_of
from pipeline.many.plan import LOOKERS, MANY, ManyJob, Plan, PlannedShard, plan
from pipeline.many.progress import described, shown
from pipeline.many.shards import Shard
from pipeline.many.tally import SharedTally
from pipeline.results import changed_result, sha256_in
from pipeline.style import check_scheduler, count_of_results, tidy

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]
Failures = Mapping[str, Failure]
"""Why shards have failed, by their identities; under "" why the whole run has."""

WHOLE_RUN = ""


def run(job: ManyJob, *, result: Callable[[str], None], tell: Tell) -> int:
    """Do the job.

    Args:
        job: What to make.
        result: Called with each result's address, or its path where results are to lie here, too.
        tell: Called with each line for people.

    Returns:
        The exit status; where several things went wrong, the highest.

    Raises:
        PipelineError: the request makes no sense.
        S3Error: the store refused or did not answer while looking.
    """
    _refuse_contradictions(job)
    planned = plan(job)
    gaps = planned.gaps()
    for sentence in gaps:
        tell(f"error: {sentence}")
    status = ExitStatus.INPUT_MISSING if gaps else ExitStatus.OK
    if job.dry_run:
        _forecast(planned, tell=tell)
        return status
    return max(status, _make(planned, job=job, result=result, tell=tell))


def _refuse_contradictions(job: ManyJob) -> None:
    if settings.current().offline:
        raise PipelineError(
            "many lists pictures in S3 and puts results there, and --offline asks it nothing; leave it out"
        )
    if job.runner == RAY and (job.scheduler or job.workers != 1):
        raise PipelineError("--runner ray shares the work out by itself; leave out --scheduler and --workers")
    if job.runner != RAY and job.ray_address:
        raise PipelineError("--ray-address names a Ray cluster, and --runner local uses none; add --runner ray")
    check_scheduler(job.scheduler, is_forced=bool(job.forced))


def _forecast(planned: Plan, *, tell: Tell) -> None:
    for reason, number in planned.why().most_common():
        tell(f"would style {number}: {reason}")
    num_all = sum(len(each.shard.images) for each in planned.shards)
    tell(f"{planned.num_todo} of {num_all} results to make, in {len(planned.todo)} of {len(planned.shards)} shards")


def _make(planned: Plan, *, job: ManyJob, result: Callable[[str], None], tell: Tell) -> int:
    tidy()
    tally, begun_s = SharedTally(max_failures=job.max_failures), time.monotonic()
    failures: Failures = {}
    if todo := [each.shard for each in planned.todo]:
        with shown(tally, total=planned.num_todo, tell=tell):
            failures = (_on_ray if job.runner == RAY else _locally)(todo, job=job, tally=tally)
    seconds = time.monotonic() - begun_s
    for sentence, number in _counted(failures).items():
        tell(f"error: {sentence}" + (f" (so, or alike, in {number} shards)" if number > 1 else ""))
    manifests = _manifests_now(planned, failures)
    not_here = _bring(manifests, tell=tell) if job.here else {}
    for shard, manifest in manifests:
        for image in manifest.made:
            if not job.here:
                result(str(shard.result_uri(image)))
            elif (path := _local(shard, image)) not in not_here:
                result(str(path))
    num_failed = _tell_failed(manifests, tell=tell)
    num_made = sum(len(manifest.made) for _, manifest in manifests)
    num_all = sum(len(each.shard.images) for each in planned.shards)
    rate = f" ({described(tally, total=planned.num_todo, seconds=seconds)})" if todo else ""
    num_found = _num_taken_over(planned, manifests)
    tell(_summary(planned, num_made=num_made, num_found=num_found, num_failed=num_failed) + rate)
    is_lacking = num_failed > 0 or (num_made < num_all and not failures)
    statuses = [ExitStatus.TASK_FAILED if is_lacking else ExitStatus.OK]
    return max([*statuses, *not_here.values(), *(failure.status for failure in failures.values())])


def _locally(shards: Sequence[Shard], *, job: ManyJob, tally: SharedTally) -> Failures:
    """Have Luigi run the shards in this process, or in forked ones."""
    from pipeline.tasks.batch import StylizeShard, share_run

    tasks = [StylizeShard.of(shard, here=job.here, max_failures=job.max_failures) for shard in shards]
    share_run(tally, workers=job.workers)
    seen: dict[luigi.Task, bool] = dict.fromkeys(tasks, False)  # by the plan
    outcome = build(tasks, workers=job.workers, scheduler_url=job.scheduler, log_level="ERROR", seen=seen)
    identities = {task.task_id: task.identity for task in tasks}
    order = {task_id: number for number, task_id in enumerate(identities)}
    in_order = sorted(outcome.failures.items(), key=lambda item: order.get(item[0], len(order)))
    failures = {identities.get(task_id, WHOLE_RUN): failure for task_id, failure in in_order}
    if outcome.exit_status and not failures:
        failures[WHOLE_RUN] = Failure(outcome.exit_status, "some shards were not run; run it again")
    return failures


def _on_ray(shards: Sequence[Shard], *, job: ManyJob, tally: SharedTally) -> Failures:
    from pipeline.many.ray_runner import run_on_ray

    outcome = run_on_ray(shards, address=job.ray_address, tally=tally)
    return {identity: failure for identity, failure in outcome.items() if failure is not None}


def _counted(failures: Failures) -> dict[str, int]:
    """How many shards failed for which reason; of what the store did, of which each tells by another key, the first."""
    counts: dict[str, int] = {}
    of_store: str | None = None
    for failure in failures.values():
        sentence = failure.sentence
        if failure.status is ExitStatus.STORE:
            sentence = of_store = of_store or sentence
        counts[sentence] = counts.get(sentence, 0) + 1
    return counts


def _manifests_now(planned: Plan, failures: Failures) -> list[tuple[Shard, Manifest]]:
    """What holds of every shard after the run: what ran is asked for again, and what failed is looked through.

    Where the store has failed, and does so again, what held before the run is all that is known; so it is of a shard
    whose model is gone.
    """
    is_failing = any(failure.status is ExitStatus.STORE for failure in failures.values())
    has_failed = threading.Event()

    def known(planned_shard: PlannedShard) -> Manifest:
        if not planned_shard.reasons or has_failed.is_set():
            return Manifest(lines=planned_shard.lines)
        try:
            return now(planned_shard.shard)
        except ObjectMissingError:
            return Manifest(lines=planned_shard.lines)
        except S3Error:
            if not is_failing:
                raise
            has_failed.set()
            return Manifest(lines=planned_shard.lines)

    def now(shard: Shard) -> Manifest:
        manifest = read_manifest(shard.manifest_uri)
        if manifest is None or not {shard.identity, WHOLE_RUN} & set(failures):
            return manifest or Manifest()
        return Manifest(lines=holding(manifest, shard, look_at(shard), of_this_run=True))

    manifests = each(planned.shards, known, num_threads=LOOKERS)
    return list(zip((each_shard.shard for each_shard in planned.shards), manifests, strict=True))


def _bring(manifests: Sequence[tuple[Shard, Manifest]], *, tell: Tell) -> dict[Path, ExitStatus]:
    """Fetch results that this host does not have, and return where those belong that could not be had, with why."""
    wanted = [
        (shard, image, line)
        for shard, manifest in manifests
        for image, line in manifest.made.items()
        if not _is_here(_local(shard, image), line)
    ]
    failed: dict[Path, Failure] = {}
    of_store: list[Failure] = []

    def bring(one: tuple[Shard, str, Line]) -> None:
        shard, image, _ = one
        path = _local(shard, image)
        if of_store:  # which will not answer the next one, either
            failed[path] = of_store[0]
            return
        try:
            _fetch(*one)
        except OSError as err:
            failed[path] = describe_failure(err)
            if isinstance(err, StoreTimeoutError | StoreUnreachableError | CredentialsMissingError | KeysRefusedError):
                of_store.append(failed[path])

    list(each(wanted, bring))
    sentences = list(dict.fromkeys(failure.sentence for failure in failed.values()))
    for sentence in sentences[:MANY]:
        tell(f"error: {sentence}")
    if failed:
        of_s3 = {ExitStatus.STORE, ExitStatus.INPUT_MISSING} & {failure.status for failure in failed.values()}
        made = "" if of_s3 else "; in S3 they are as they should be"
        tell(f"error: {count_of_results(len(failed))} could not be brought here{made}")
    if len(wanted) > len(failed):
        tell(f"{len(wanted) - len(failed)} results fetched that were not here")
    return {path: failure.status for path, failure in failed.items()}


def _fetch(shard: Shard, image: str, line: Line) -> None:
    uri, path = shard.result_uri(image), _local(shard, image)
    with locked(path):
        with atomic_path(path) as scratch:
            if get(uri, scratch).sha256 != sha256_in(line):
                raise ObjectChangedError(f"{uri}: replaced while the results were fetched; run it again")
        write_record(path, record_of(line))


def _is_here(path: Path, line: Line) -> bool:
    """Whether a file is the result of a line, with its record."""
    record = read_record(path) if path.is_file() else None
    return record is not None and sha256_in(record) == sha256_in(line) and changed_result(record, path) is None


def _local(shard: Shard, image: str) -> Path:
    return Path(settings.current().local_root, STYLIZED, shard.result_name(image))


def _tell_failed(manifests: Sequence[tuple[Shard, Manifest]], *, tell: Tell) -> int:
    """Say which pictures failed; the first by their reasons."""
    failed = [line for _, manifest in manifests for line in manifest.failed.values()]
    for line in failed[:MANY]:
        tell(f"error: {line['error']['sentence']}")
    if len(failed) > MANY:
        tell(f"error: and {len(failed) - MANY} more pictures failed; their reasons are in the manifests in S3")
    return len(failed)


def _num_taken_over(planned: Plan, manifests: Sequence[tuple[Shard, Manifest]]) -> int:
    """How many results no manifest told of that were there and are what is wanted: nobody had to style these."""
    return sum(
        line.get("seconds") == 0 and image in planned_shard.reasons
        for planned_shard, (_, manifest) in zip(planned.shards, manifests, strict=True)
        for image, line in manifest.made.items()
    )


def _summary(planned: Plan, *, num_made: int, num_found: int, num_failed: int) -> str:
    """Count what was made, what was found, and what there is."""
    if not planned.num_todo:
        failed = f", {num_failed} failed as before (--retry-failed tries them again)" if num_failed else ""
        return f"nothing to do: {count_of_results(num_made)} up to date{failed}"
    num_current = sum("result" in line for each in planned.shards for line in each.lines.values())
    num_missing = sum(len(each.shard.images) for each in planned.shards) - num_made - num_failed
    parts = [f"{count_of_results(max(0, num_made - num_found - num_current))} made"]
    parts += [f"{num_found} taken over as found in S3"] if num_found else []
    parts += [f"{num_current} up to date"]
    parts += [f"{num_failed} failed"] if num_failed else []
    parts += [f"{num_missing} not made"] if num_missing else []
    return ", ".join(parts)
