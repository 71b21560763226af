"""The training job: look at what is there, say what would be trained and why, train it, tell what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass

from csci_utils.luigi.run import ExitStatus, build
from neural_style.errors import SettingError
from pipeline import progress, settings
from pipeline.errors import PipelineError
from pipeline.style import tidy
from pipeline.tasks.train import Train, TrainRequest, UploadTrained

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
        publish: Put the model into S3, too.
        force: Train also what is up to date.
        dry_run: Only say what would be trained, and why.

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
    checkpoint_every: int = 500
    note_every: int = 100
    publish: bool = False
    force: bool = False
    dry_run: bool = False


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
    task = _task(job)
    wanted: TrainRequest = task.clone(UploadTrained) if job.publish else task
    missing = [str(source.uri) for source in task.inputs() if source.look() is None]
    for address in missing:
        tell(f"error: {address} is not in S3; put it there with `put FILE... --as`, or correct the name")
    if missing:
        return ExitStatus.INPUT_MISSING
    reason = task.reason_to_train()
    is_there = wanted.complete()
    if job.dry_run:
        verb = "publish" if job.publish and reason is None else "train"
        tell(
            f"up to date {task.local_model}"
            if is_there
            else f"would {verb} {task.local_model}: {reason or 'not there'}"
        )
        return ExitStatus.OK
    tidy()
    with progress.shown(total_bytes=0, total_pictures=0):
        outcome = build([wanted], log_level="ERROR")
    for failure in outcome.failures.values():
        tell(f"error: {failure.sentence}")
    if outcome.exit_status == ExitStatus.OK:
        result(str(task.local_model))
        tell("up to date" if is_there else f"trained {task.local_model}{', published' * job.publish}")
    return outcome.exit_status


def _forecast(task: Train, *, reason: str | None, is_there: bool) -> str:
    if is_there:
        return f"up to date {task.local_model}"
    return f"would publish {task.uri}" if reason is None else f"would train {task.local_model}: {reason}"


def _task(job: TrainJob) -> Train:
    given = {name: value for name, value in asdict(job).items() if value is not None}
    for name in ("publish", "force", "dry_run"):
        given.pop(name)
    if job.widths is not None:
        given["widths"] = _widths(job.widths)
    task = Train(**given, forced=secrets.token_hex(8) if job.force else "")
    try:
        task.config  # noqa: B018 - which is checked here, before anything is looked for
    except SettingError as err:
        raise PipelineError(str(err)) from err
    return task


def _widths(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise PipelineError(f"--widths wants three whole numbers such as 16,32,64, found {text!r}") from None
