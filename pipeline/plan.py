"""What has to be done for each result that is asked for, and why: one look at each input, nothing made."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import luigi

from csci_utils.copies import recorded, why_stale
from csci_utils.s3 import ObjectInfo, each
from neural_style.contract import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY
from pipeline import settings
from pipeline.errors import AmbiguousResultError, PipelineError
from pipeline.folders import SAVED_MODELS
from pipeline.results import is_precise_enough, precision_in, sha256_in
from pipeline.tasks.publish import Published, UploadStylized
from pipeline.tasks.request import StyleRequest
from pipeline.tasks.stylize import Stylize

MODEL_SUFFIXES = (".pth", ".pt", ".onnx")

LOOKERS = 16
"""Objects looked for at once."""


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
        force: Make also what is up to date.
        publish: Put the results into S3, too.
        scheduler: Address of a ``luigid`` that several hosts share, or None.
    """

    images: tuple[str, ...]
    models: tuple[str, ...]
    max_side: int | None = None
    quality: int = DEFAULT_QUALITY
    max_pixels: int = DEFAULT_MAX_PIXELS
    mode: str = "in-process"
    workers: int = 1
    dry_run: bool = False
    force: bool = False
    publish: bool = False
    scheduler: str | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One result and what is to be done about it.

    Attributes:
        task: Makes it here.
        upload: Makes it where need be and publishes it; None when that is not asked for.
        inputs: Its picture and model as S3 holds them; what is not there is left out.
        missing: Addresses of the inputs that S3 does not hold.
        reason: Why the result here does not hold; None when it does, or cannot be made.
        unpublished: Why it has to be published; None when it is, is not to be, or cannot be made.
    """

    task: Stylize
    upload: UploadStylized | None
    inputs: dict[str, ObjectInfo]
    missing: tuple[str, ...]
    reason: str | None
    unpublished: str | None

    @property
    def path(self) -> str:
        """Where the result lies."""
        return str(self.task.output().path)

    @property
    def wanted(self) -> StyleRequest | None:
        """The task to run; None when there is none to run, though a published result may have to be fetched."""
        if self.upload is not None:
            return self.upload if self.unpublished else None
        return self.task if self.reason else None

    @property
    def holds(self) -> bool:
        """Whether all that is wanted is there and up to date."""
        return not self.missing and self.reason is None and self.unpublished is None

    def forecast(self) -> str:
        """Say what would be done, and why."""
        if self.missing:
            return f"cannot make {self.path}: {', '.join(self.missing)} is not in S3"
        if self.upload is not None and self.unpublished is None and self.reason:
            return f"would fetch {self.path} from {self.upload.uri}, where it is published: {self.reason}"
        making = [f"would make {self.path}: {self.reason}"] if self.reason else []
        if self.upload is not None and self.unpublished:
            making.append(f"would publish {self.upload.uri}: {self.unpublished}")
        return "; ".join(making) or f"up to date {self.path}"


def plan(job: StyleJob) -> list[Step]:
    """Look once at each distinct input, and decide what each result needs.

    Raises:
        PipelineError: the request makes no sense.
        S3Error: the store refused or did not answer, or there is no such bucket.
    """
    tasks = tasks_of(job)
    sources = {source.task_id: source for task in tasks for source in task.requires().values()}
    looks = each(sources.values(), lambda source: source.look(), num_threads=LOOKERS)
    found = dict(zip(sources, looks, strict=True))
    return list(each(tasks, lambda task: _step(task, found, publish=job.publish), num_threads=LOOKERS))


def tasks_of(job: StyleJob) -> list[Stylize]:
    """The tasks of a job, each once.

    Raises:
        AmbiguousResultError: two of them would write one file.
    """
    forced = secrets.token_hex(8) if job.force else ""
    pairs = itertools.product(job.images or (None,), job.models or (None,))
    tasks = list(dict.fromkeys(_task(job, image, model, forced=forced) for image, model in pairs))
    by_path: dict[str, Stylize] = {}
    for task in tasks:
        other = by_path.setdefault(task.output().path, task)
        if other is not task:
            raise AmbiguousResultError(
                f"{other.image!r} with {other.model!r} and {task.image!r} with {task.model!r} "
                f"would both become {task.output().path}; ask for one at a time"
            )
    return tasks


def hint(address: str) -> str:
    """What may be wrong with the name of a model whose stem holds a dot: its end is taken for a suffix."""
    suffix = PurePosixPath(address).suffix
    if f"/{SAVED_MODELS}/" not in address or suffix in MODEL_SUFFIXES:
        return ""
    return f" ({suffix!r} was taken for its suffix; name a model with a dot in its stem in full, as in 'style.v2.pth')"


def bytes_to_fetch(steps: Iterable[Step]) -> int:
    """Bytes of the distinct inputs that have no current copy here."""
    sizes = {}
    for step in steps:
        for name, path in step.task.local_copies().items():
            if why_stale(step.inputs[name], recorded(path), path=path) is not None:
                sizes[path] = step.inputs[name].size_bytes
    return sum(sizes.values())


def owner_of(task_id: str, steps: Sequence[Step]) -> Step | None:
    """The step that a task belongs to."""
    return next((step for step in steps if step.wanted is not None and step.wanted.task_id == task_id), None)


def _task(job: StyleJob, image: str | None, model: str | None, *, forced: str) -> Stylize:
    given = {name: value for name, value in {"image": image, "model": model}.items() if value is not None}
    current = settings.current()
    try:
        return Stylize(
            **given,
            device=current.device,
            engine=current.engine,
            precision=current.precision,
            memory=current.memory,
            max_side=job.max_side,
            quality=job.quality,
            max_pixels=job.max_pixels,
            mode=job.mode,
            forced=forced,
        )
    except luigi.parameter.MissingParameterException as err:
        raise PipelineError(
            "no picture or no model is named: give -i PICTURE and -m MODEL, or set them in luigi.cfg under [Stylize]"
        ) from err


def _is_replaced(task: Stylize, published: Published) -> bool:
    """Whether a published result that holds is to be fetched in place of the one here, which holds as well."""
    made = task.made()
    is_worse = not is_precise_enough(published.precision, precision_in(made))
    return published.sha256 != sha256_in(made) and not is_worse


def _step(task: Stylize, found: dict[str, ObjectInfo | None], *, publish: bool) -> Step:
    looked = {name: (source, found[source.task_id]) for name, source in task.requires().items()}
    inputs = {name: info for name, (_, info) in looked.items() if info is not None}
    missing = tuple(source.output().path for source, info in looked.values() if info is None)
    upload: UploadStylized | None = task.clone(UploadStylized) if publish else None
    reason = None if missing else task.reason_to_make(inputs)
    unpublished = None
    if upload is not None and not missing:
        published = upload.look_at_published(inputs)
        unpublished = published.reason
        if unpublished is None and reason is None and _is_replaced(task, published):
            reason = "others published other bytes, made from the same"  # as by two hosts at once: one result stands
    return Step(
        task=task, upload=upload, inputs=inputs, missing=missing, reason=reason, unpublished=unpublished
    )  # fmt: skip
