"""The main job: look at what is there, say what would be made and why, make it, tell what became of it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

import luigi

from csci_utils.io import sweep
from csci_utils.lock import sweep_locks
from csci_utils.luigi.failure import describe_failure
from csci_utils.luigi.run import ExitStatus, RunResult, build
from csci_utils.s3 import S3Error, each, sweep_uploads
from pipeline import progress, settings
from pipeline.checkpoints import sweep_checkpoints
from pipeline.errors import PipelineError
from pipeline.plan import Step, StyleJob, bytes_to_fetch, hint, owner_of, plan

BRINGERS = 8
"""Published results fetched at once."""

SCHEDULERS = ("http://", "https://", "http+unix://")
"""How the address of a luigid begins; luigi takes a minute to find anything else useless."""

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]


def run(job: StyleJob, *, result: Callable[[str], None], tell: Tell) -> int:
    """Do the job.

    Args:
        job: What to make.
        result: Called with each result's path, made or already there, in the order asked for.
        tell: Called with each line for people.

    Returns:
        The exit status; where several things went wrong, the highest.

    Raises:
        PipelineError: the request makes no sense.
        S3Error: the store refused or did not answer while looking.
    """
    _refuse_contradictions(job)
    steps = plan(job)
    lacking = "is not here, and S3 is not to be asked" if settings.current().offline else "is not in S3"
    for address in dict.fromkeys(itertools.chain.from_iterable(step.missing for step in steps)):
        tell(f"error: {address} {lacking}; put it there, or correct the name{hint(address)}")
    status = ExitStatus.INPUT_MISSING if any(step.missing for step in steps) else ExitStatus.OK
    if job.dry_run:
        for step in steps:
            tell(step.forecast())
        return status
    return max(status, _make(steps, job=job, result=result, tell=tell))


def _refuse_contradictions(job: StyleJob) -> None:
    if job.publish and settings.current().offline:
        raise PipelineError("--publish sends results to S3, and --offline asks it nothing; leave one of them out")
    if job.scheduler and not job.publish:
        raise PipelineError("--scheduler shares the work with other hosts, which share results in S3: add --publish")
    check_scheduler(job.scheduler, is_forced=job.force)


def check_scheduler(address: str | None, *, is_forced: bool = False) -> None:
    """Refuse what cannot be the address of a luigid, and one beside ``--force``.

    Raises:
        PipelineError: it does not begin as one, or asks for what the other denies.
    """
    if address and is_forced:
        raise PipelineError(
            "--force makes all of it again on each host, --scheduler once in all; leave one of them out"
        )
    if address and not address.startswith(SCHEDULERS):
        raise PipelineError(
            "--scheduler wants an address that begins with http://, such as http://HOST:8082; correct it"
        )


def _make(steps: Sequence[Step], *, job: StyleJob, result: Callable[[str], None], tell: Tell) -> int:
    """Make what has to be made, hand out the paths of all that is there now, and sum up."""
    wanted = [step for step in steps if step.wanted is not None]
    for step in wanted:
        logger.info("making %s: %s", step.path, step.reason or step.unpublished)
    tidy()
    stale = [step for step in steps if step.reason]
    with progress.shown(total_bytes=bytes_to_fetch(stale), total_pictures=len(stale)):
        outcome = build(
            [step.wanted for step in wanted if step.wanted is not None],
            workers=job.workers,
            scheduler_url=job.scheduler,
            log_level="ERROR",
            seen=_seen(wanted),
        )
        ran = {*outcome.done, *outcome.already_done}
        done = [step for step in steps if not step.missing and (step.wanted is None or step.wanted.task_id in ran)]
        brought, failed = _bring(done, tell=tell)
    for task_id, failure in outcome.failures.items():
        tell(f"error: {_named(task_id, wanted)}{failure.sentence}")
    for address in _gone(steps, outcome):
        tell(f"error: {address} was removed from S3 meanwhile; put it there, and run it again")
    ended = {step.path for step in done} - set(failed)
    there = [step for step in steps if step.path in ended or (step.path not in failed and _is_made(step))]
    for step in there:
        result(step.path)
    tell(_summary(steps, there=there, brought=brought, outcome=outcome))
    return max(outcome.exit_status, *failed.values(), ExitStatus.OK)


def _seen(wanted: Sequence[Step]) -> dict[luigi.Task, bool]:
    """What the plan has seen of the tasks and their inputs: luigi need not ask S3 the same again at once."""
    sources = (source for step in wanted for name, source in step.task.requires().items() if name in step.inputs)
    return {**dict.fromkeys(sources, True), **{step.wanted: False for step in wanted if step.wanted is not None}}


def tidy() -> None:
    """Remove what processes left that died, and trainings that were given up: here, and parts of sends in S3."""
    root = settings.current().local_root
    sweep(root, recursive=True)
    sweep_locks(root)
    sweep_checkpoints(root)
    if not settings.current().offline:
        sweep_uploads(settings.current().journal)


def _bring(steps: Sequence[Step], *, tell: Tell) -> tuple[set[str], dict[str, ExitStatus]]:
    """Fetch published results that this host does not have; return the paths of those, and of what failed."""
    wanted = [step for step in steps if step.upload is not None and _is_elsewhere(step)]
    failed: dict[str, ExitStatus] = {}

    def bring(step: Step) -> None:
        assert step.upload is not None
        try:
            step.upload.bring()
        except (OSError, S3Error) as err:
            failure = describe_failure(err)
            failed[step.path] = failure.status
            tell(f"error: {failure.sentence}")

    list(each(wanted, bring, num_threads=BRINGERS))
    return {step.path for step in wanted} - set(failed), failed


def _is_elsewhere(step: Step) -> bool:
    """Whether the result that stands is in S3 and not here."""
    return bool(step.reason and step.unpublished is None) or step.task.reason_to_make(step.inputs) is not None


def _is_made(step: Step) -> bool:
    """Whether the result is here though its task failed: made, and not published."""
    return step.upload is not None and not step.missing and step.task.reason_to_make(step.inputs) is None


def _gone(steps: Sequence[Step], outcome: RunResult) -> list[str]:
    """The addresses of inputs that the look saw and the run did not."""
    sources = {source.task_id: source for step in steps for source in step.task.requires().values()}
    return [str(sources[task_id].uri) for task_id in outcome.missing if task_id in sources]


def _named(task_id: str, steps: Sequence[Step]) -> str:
    """Say whose failure it is, where more than one result was asked for."""
    own = owner_of(task_id, steps)
    return f"{own.task.image} with {own.task.model}: " if own is not None and len(steps) > 1 else ""


def _summary(steps: Sequence[Step], *, there: Sequence[Step], brought: set[str], outcome: RunResult) -> str:
    """Count what was made, published, fetched and found."""
    if all(step.holds for step in steps):
        return f"nothing to do: {count_of_results(len(steps))} up to date"
    num_published = sum(step.upload is not None and step.upload.task_id in outcome.done for step in there)
    num_made = sum(bool(step.reason) and step.path not in brought for step in there)
    num_current = len(there) - num_made - len(brought)
    parts = [f"{count_of_results(num_made)} made"]
    unpublished = sum(bool(step.unpublished) for step in there) - num_published
    parts += [f"{num_published} published"] if any(step.upload for step in steps) else []
    parts += [f"{unpublished} not published"] if unpublished > 0 else []
    parts += [f"{len(brought)} fetched as published by others"] if brought else []
    parts += [f"{num_current} up to date"]
    parts += [f"{len(steps) - len(there)} not made"] if len(there) < len(steps) else []
    return ", ".join(parts)


def count_of_results(number: int) -> str:
    """Say it, in the singular or the plural."""
    return f"{number} result" if number == 1 else f"{number} results"
