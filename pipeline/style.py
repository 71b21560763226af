"""The main job: look at what is there, say what would be made and why, make it, tell what became of it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

import luigi

from csci_utils.io import sweep
from csci_utils.luigi.mirror import recorded, why_stale
from csci_utils.luigi.run import ExitStatus, build
from csci_utils.s3 import ObjectInfo, head
from pipeline import progress, settings
from pipeline.errors import PipelineError
from pipeline.tasks.data import SAVED_MODELS, S3Input, require_bucket
from pipeline.tasks.stylize import Stylize

MODEL_SUFFIXES = (".pth", ".pt", ".onnx")

LOOKERS = 16
"""Objects looked for at once."""

logger = logging.getLogger(__name__)


class AmbiguousResultError(PipelineError):
    """Two requests would write one file."""


@dataclass(frozen=True, kw_only=True)
class StyleJob:
    """Pictures times models.

    Attributes:
        images: Names below ``images/``; none means luigi.cfg's ``[Stylize] image``.
        models: Names below ``saved_models/``; none means luigi.cfg's ``[Stylize] model``.
        max_side: Longest edge in pixels to shrink pictures to, or None.
        quality: Of JPEG and WebP results, 1 to 100.
        max_pixels: A picture that declares more is refused before it is decoded.
        mode: ``in-process`` or ``program``.
        workers: Processes that work at once.
        dry_run: Only say what would be made, and why.
    """

    images: tuple[str, ...]
    models: tuple[str, ...]
    max_side: int | None
    quality: int
    max_pixels: int
    mode: str
    workers: int
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Step:
    """One result and what is to be done about it.

    Attributes:
        task: Makes it.
        inputs: Its picture and model as S3 holds them; what is not there is left out.
        missing: Addresses of the inputs that S3 does not hold.
        reason: Why it has to be made; None when it is up to date or cannot be made.
    """

    task: Stylize
    inputs: dict[str, ObjectInfo]
    missing: tuple[str, ...]
    reason: str | None

    @property
    def path(self) -> str:
        """Where the result lies."""
        return str(self.task.output().path)

    @property
    def holds(self) -> bool:
        """Whether the result is there and up to date."""
        return not self.missing and self.reason is None


def run(job: StyleJob, *, result: Callable[[str], None], tell: Callable[[str], None]) -> int:
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
    steps = plan(_tasks(job))
    for address in dict.fromkeys(itertools.chain.from_iterable(step.missing for step in steps)):
        tell(f"error: {address} is not in S3; put it there, or correct the name{_hint(address)}")
    status = ExitStatus.INPUT_MISSING if any(step.missing for step in steps) else ExitStatus.OK
    if job.dry_run:
        for step in steps:
            tell(_forecast(step))
        return status
    return max(status, _make(steps, job=job, result=result, tell=tell))


def _hint(address: str) -> str:
    """What may be wrong with the name of a model whose stem holds a dot: DESIGN takes its end for a suffix."""
    suffix = PurePosixPath(address).suffix
    if f"/{SAVED_MODELS}/" not in address or suffix in MODEL_SUFFIXES:
        return ""
    return f" ({suffix!r} was taken for its suffix; name a model with a dot in its stem in full, as in 'style.v2.pth')"


def plan(tasks: Sequence[Stylize]) -> list[Step]:
    """Look once at each distinct input, and decide what each result needs.

    Raises:
        S3Error: the store refused or did not answer, or there is no such bucket.
    """
    sources = {source.task_id: source for task in tasks for source in task.requires().values()}
    with ThreadPoolExecutor(max_workers=LOOKERS) as lookers:
        found = dict(zip(sources, lookers.map(_look, sources.values()), strict=True))
    return [_step(task, found) for task in tasks]


def _tasks(job: StyleJob) -> list[Stylize]:
    pairs = itertools.product(job.images or (None,), job.models or (None,))
    tasks = list(dict.fromkeys(_task(job, image, model) for image, model in pairs))
    by_path: dict[str, Stylize] = {}
    for task in tasks:
        other = by_path.setdefault(task.output().path, task)
        if other is not task:
            raise AmbiguousResultError(
                f"{other.image!r} with {other.model!r} and {task.image!r} with {task.model!r} "
                f"would both become {task.output().path}; ask for one at a time"
            )
    return tasks


def _task(job: StyleJob, image: str | None, model: str | None) -> Stylize:
    given = {name: value for name, value in {"image": image, "model": model}.items() if value is not None}
    try:
        return Stylize(
            **given, max_side=job.max_side, quality=job.quality, max_pixels=job.max_pixels, mode=job.mode
        )  # fmt: skip
    except luigi.parameter.MissingParameterException as err:
        raise PipelineError(
            "no picture or no model is named: give -i PICTURE and -m MODEL, or set them in luigi.cfg under [Stylize]"
        ) from err


def _look(source: S3Input) -> ObjectInfo | None:
    """The object as S3 holds it; a missing bucket raises, a missing object is None."""
    info = head(source.output().uri)
    if info is None:
        require_bucket(source.output().uri)
    return info


def _step(task: Stylize, found: dict[str, ObjectInfo | None]) -> Step:
    looked = {name: (source, found[source.task_id]) for name, source in task.requires().items()}
    inputs = {name: info for name, (_, info) in looked.items() if info is not None}
    missing = tuple(source.output().path for source, info in looked.values() if info is None)
    reason = None if missing else task.reason_to_make(inputs)
    return Step(task=task, inputs=inputs, missing=missing, reason=reason)


def _forecast(step: Step) -> str:
    if step.missing:
        return f"cannot make {step.path}: {', '.join(step.missing)} is not in S3"
    return f"would make {step.path}: {step.reason}" if step.reason else f"up to date {step.path}"


def _make(steps: Sequence[Step], *, job: StyleJob, result: Callable[[str], None], tell: Callable[[str], None]) -> int:
    """Make what has to be made, hand out the paths of all that is there now, and sum up."""
    wanted = [step for step in steps if step.reason]
    for step in wanted:
        logger.info("making %s: %s", step.path, step.reason)
    if wanted:
        sweep(settings.current().local_root, recursive=True)
    with progress.shown(total_bytes=_bytes_to_fetch(wanted), total_pictures=len(wanted)):
        outcome = build([step.task for step in wanted], workers=job.workers, log_level="ERROR")
    for task_id, failure in outcome.failures.items():
        tell(f"error: {_named(task_id, wanted)}{failure.sentence}")
    made = {step.task.task_id for step in wanted}.intersection([*outcome.done, *outcome.already_done])
    for step in steps:
        if step.task.task_id in made or step.holds:
            result(step.path)
    tell(_summary(num_made=len(made), num_current=sum(step.holds for step in steps), num_steps=len(steps)))
    return outcome.exit_status


def _bytes_to_fetch(steps: Iterable[Step]) -> int:
    """Bytes of the distinct inputs that have no current copy here."""
    sizes = {}
    for step in steps:
        for name, path in step.task.local_copies().items():
            if why_stale(step.inputs[name], recorded(path), path=path) is not None:
                sizes[path] = step.inputs[name].size_bytes
    return sum(sizes.values())


def _named(task_id: str, steps: Iterable[Step]) -> str:
    """Say whose failure it is, where more than one result was asked for."""
    steps = list(steps)
    own = next((step for step in steps if step.task.task_id == task_id), None)
    return f"{own.task.image} with {own.task.model}: " if own is not None and len(steps) > 1 else ""


def _summary(*, num_made: int, num_current: int, num_steps: int) -> str:
    if num_current == num_steps:
        return f"nothing to do: {_count(num_steps)} up to date"
    failed = num_steps - num_current - num_made
    return f"{_count(num_made)} made, {num_current} up to date" + (f", {failed} not made" if failed else "")


def _count(number: int) -> str:
    return f"{number} result" if number == 1 else f"{number} results"
