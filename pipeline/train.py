"""The training job: look at what is there, say what would be trained and why, train it, tell what became of it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from csci_utils.luigi.run import ExitStatus, build
from neural_style.errors import SettingError
from neural_style.train_cli import in_options
from pipeline import progress, settings
from pipeline.errors import PipelineError
from pipeline.style import check_scheduler, tidy
from pipeline.tasks.data import ContentImage, S3Input
from pipeline.tasks.dataset import Dataset
from pipeline.tasks.train import Train, UploadTrained
from pipeline.tasks.train_request import TrainRequest

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """One style; fields that are None are left to their defaults.

    Attributes:
        style: Name of the painting below ``styles/``.
        dataset: Name of the pictures below ``datasets/``.
        name: Of the model below ``saved_models/``; "" is the painting's.
        features: ``vgg16`` or ``random``.
        widths: Channels of the net, three numbers with commas between.
        tensorboard: Folder of curves for TensorBoard; "" writes none.
        sample: Name of a picture below ``images/`` to style on the way; "" styles none.
        publish: Put the model into S3, too.
        force: Train also what is up to date.
        dry_run: Only say what would be trained, and why.
        scheduler: Address of a ``luigid`` that several runs share, or None.

    The other fields are those of `neural_style.train_config.TrainConfig`, and of `Train`.
    """

    style: str
    dataset: str
    name: str = ""
    features: str = "vgg16"
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    image_px: int | None = None
    style_px: int | None = None
    learning_rate: float | None = None
    content_weight: float | None = None
    style_weight: float | None = None
    total_variation_weight: float | None = None
    seed: int | None = None
    widths: str | None = None
    precision: str = "float32"
    crop: str | None = None
    device: str | None = None
    threads: int | None = None
    loaders: int | None = None
    compiled: bool = False
    nondeterministic: bool = False
    max_broken: int = 100
    checkpoint_every: int = 500
    note_every: int = 100
    tensorboard: str = ""
    sample: str = ""
    sample_every: int = 500
    publish: bool = False
    force: bool = False
    dry_run: bool = False
    scheduler: str | None = None


def run(job: TrainJob, *, result: Callable[[str], None], tell: Tell) -> int:
    """Do the job.

    Args:
        job: What to train.
        result: Called with the model's path, trained or already there.
        tell: Called with each line for people.

    Returns:
        The exit status.

    Raises:
        PipelineError: the request makes no sense.
        S3Error: the store refused or did not answer while looking.
    """
    if job.publish and settings.current().offline:
        raise PipelineError("--publish sends the model to S3, and --offline asks it nothing; leave one of them out")
    check_scheduler(job.scheduler)
    task = _task(job)
    wanted: Train | UploadTrained = task.clone(UploadTrained) if job.publish else task
    missing = _missing(task)
    for sentence in missing:
        tell(f"error: {sentence}")
    if missing:
        return ExitStatus.INPUT_MISSING
    if job.dry_run:
        tell(_forecast(task, wanted))
        return ExitStatus.OK
    tidy()
    logging.getLogger("pipeline.tasks.train").setLevel(logging.INFO)  # the losses: a run is long
    with progress.shown(total_bytes=0, total_pictures=0):
        outcome = build([wanted], scheduler_url=job.scheduler, log_level="ERROR")
        if outcome.exit_status == ExitStatus.OK and task is not wanted:  # published by another host, it is not yet here
            outcome = outcome.followed_by(build([task], scheduler_url=job.scheduler, log_level="ERROR"))
    for failure in outcome.failures.values():
        tell(f"error: {failure.sentence}")
    if outcome.exit_status == ExitStatus.OK:
        result(str(task.local_model))
        tell(_summary(task, wanted, done=outcome.done))
    return outcome.exit_status


def _missing(task: Train) -> list[str]:
    """Say what is not there to learn from, or to style on the way."""
    sources: list[S3Input | Dataset] = [*task.inputs()]
    if task.sample:
        sources.append(task.clone(ContentImage, image=task.sample))
    where = "is not here, and S3 is not to be asked" if settings.current().offline else "is not in S3"
    found = []
    for source in sources:
        if source.look() is None:
            holds = ", or has no pictures in it" if isinstance(source, Dataset) else ""
            found.append(f"{source.uri} {where}{holds}; put it there with `put FILE... --as`, or correct the name")
    return found


def _forecast(task: Train, wanted: TrainRequest) -> str:
    """Say what a run would do.

    Raises:
        ModelInTheWayError: it would end with that.
    """
    reason = task.reason_to_train()
    if reason is None:
        return f"up to date {task.local_model}" if wanted.complete() else f"would publish {task.uri}"
    return f"would {'train' if task.fetchable() is None else 'fetch'} {task.local_model}: {reason}"


def _summary(task: Train, wanted: Train | UploadTrained, *, done: Sequence[str]) -> str:
    """Say what has become of the model, here and in S3."""
    ending = next((each.ending for each in (wanted, task) if each.task_id in done), "")
    is_published = wanted is not task and wanted.task_id in done
    if ending:
        return f"{ending} {task.local_model}{', published' * is_published}"
    return f"published {task.uri}" if is_published else "up to date"


def _task(job: TrainJob) -> Train:
    of_job = ("publish", "force", "dry_run", "scheduler")
    given = {name: value for name, value in asdict(job).items() if value is not None and name not in of_job}
    if job.widths is not None:
        given["widths"] = _widths(job.widths)
    task = Train(**given, forced=secrets.token_hex(8) if job.force else "")
    try:
        task.config, task.model  # noqa: B018 - which are checked here, before anything is looked for
    except SettingError as err:
        raise PipelineError(in_options(str(err))) from err
    return task


def _widths(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise PipelineError(f"--widths wants three whole numbers such as 16,32,64, found {text!r}") from None
