"""`Train`: a style painting and a dataset in S3 become a model here, with a record of what it was made from."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import luigi

from csci_utils.copies import CopyRecord, fetch, push
from csci_utils.folder_look import FolderInfo
from csci_utils.io import read_record, record_path, sha256_of, write_record
from csci_utils.lock import locked
from csci_utils.luigi.run import ExplainedTask
from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.remote_notes import get_text
from csci_utils.s3 import ObjectInfo, ObjectMissingError, S3Uri, head
from neural_style.train_config import ALGORITHM, TrainConfig, config_for
from pipeline import progress, settings
from pipeline.errors import InputChangedError, ModelInTheWayError
from pipeline.names import model_file_name
from pipeline.results import Source
from pipeline.tasks.data import SAVED_MODELS, SavedModel, StyleImage, refuse_offline, style_parameter
from pipeline.tasks.dataset import Dataset, dataset_parameter
from pipeline.tasks.request import DeviceParameter
from pipeline.tasks.roots import RootedTask

RECORD_FORMAT = 1
VGG16 = "vgg16-397923af.pth"
"""torchvision's weights of VGG16, as a bucket's owner puts them below saved_models/."""

_CHECKPOINTS = ".training"
"""Folder below the local root where the checkpoints of unfinished runs lie."""


def _number(kind: type, description: str) -> Any:
    return luigi.OptionalNumericalParameter(  # type: ignore[call-arg]  # Luigi's mixin hides what it takes
        default=None, min_value=0, max_value=2**53, var_type=kind, description=description
    )


class Published(NamedTuple):
    """A model in S3, and the record of training that describes it; None where there is none, or another's."""

    held: ObjectInfo | None
    record: dict[str, Any] | None


class TrainRequest(ExplainedTask, RootedTask):
    """A painting, a dataset, and what else changes the weights; the base of tasks that see to a trained model."""

    SHARED_RELATIVE_PATH = SAVED_MODELS

    style = style_parameter()
    dataset = dataset_parameter()
    name = luigi.Parameter(default="", description="of the model below saved_models/ [default: the painting's]")
    features = luigi.ChoiceParameter(choices=("vgg16", "random"), default="vgg16", description="what judges")
    epochs = _number(int, "how often every picture is shown")
    steps = _number(int, "batches, instead of epochs")
    batch_size = _number(int, "pictures a step")
    image_px = _number(int, "side of a training picture")
    style_px = _number(int, "side of the painting")
    learning_rate = _number(float, "of Adam")
    content_weight = _number(float, "of the content's loss")
    style_weight = _number(float, "of the style's loss")
    total_variation_weight = _number(float, "of the loss for differences between neighbours")
    seed = _number(int, "of all random numbers")
    widths = luigi.OptionalListParameter(default=None, description="channels of the net, as in [16,32,64]")
    precision = luigi.ChoiceParameter(choices=("float32", "bf16"), default="float32", description="of the arithmetic")
    crop = luigi.OptionalChoiceParameter(choices=("center", "random"), default=None, description="of the pictures")

    device = DeviceParameter(default=None, significant=False, description="auto, cpu, cuda or mps")
    checkpoint_every = luigi.IntParameter(default=500, significant=False, description="steps between checkpoints")
    note_every = luigi.IntParameter(default=100, significant=False, description="steps between notes of the losses")
    forced = luigi.Parameter(default="", significant=False, positional=False, description="a token: train it again")

    def requires(self) -> dict[str, luigi.Task]:
        """The painting and the dataset in S3; `run` brings them here, as local copies are each host's own affair."""
        style, dataset = self.inputs()
        return {"style": style, "dataset": dataset}

    def inputs(self) -> tuple[StyleImage, Dataset]:
        """The same, as what they are."""
        return self.clone(StyleImage), self.clone(Dataset)

    @property
    def config(self) -> TrainConfig:
        """All that changes the weights besides painting and dataset.

        Raises:
            SettingError: a value is outside what it may be.
        """
        given = {field.name: getattr(self, field.name) for field in fields(TrainConfig)}
        return config_for({name: value for name, value in given.items() if value is not None})

    @property
    def model(self) -> str:
        """The name of the model below saved_models/."""
        return model_file_name(self.name or str(Path(self.style).with_suffix(".pth")))

    @property
    def local_model(self) -> Path:
        """Where the model lies on this host."""
        return Path(self.LOCAL_ROOT, SAVED_MODELS, self.model)

    @property
    def uri(self) -> S3Uri:
        """Where it lies once it is published."""
        return S3Uri.parse(f"{self.S3_ROOT}/{SAVED_MODELS}/{self.model}")

    @property
    def resources(self) -> dict[str, int]:  # type: ignore[override]  # Luigi reads it, and never sets it
        """One GPU of this host, where one is used."""
        device = self.device_name
        uses_gpu = device.startswith(("cuda", "mps")) or (device == "auto" and os.path.exists("/dev/nvidia0"))
        return {f"gpu-{socket.gethostname()}": 1} if uses_gpu else {}

    @property
    def device_name(self) -> str:
        """The device asked for."""
        return self.device or settings.current().device

    def reason_to_train(self) -> str | None:
        """Why the model on this host has to be trained (again); None when it holds.

        Raises:
            S3Error: the store refused or did not answer.
        """
        if not self.local_model.is_file():
            return "not trained yet"
        record = read_record(training_of(self.local_model))
        reason = self.reason_in(record)
        if reason is None and (record or {})["result"]["sha256"] != sha256_of(self.local_model):
            return "the file is not the one that was trained"
        return reason

    def reason_in(self, record: Mapping[str, Any] | None) -> str | None:
        """Why what a record of training describes is not what is wanted now; None when it is."""
        if record is None or record.get("format") != RECORD_FORMAT or not isinstance(record.get("result"), dict):
            return "it has no record of what it was trained from"
        if self.forced and record.get("forced") != self.forced:
            return "asked to train it again"
        if record.get("config") != self.config.digest():
            return "the configuration changed"
        return self._changed_style(record) or self._changed_dataset(record)

    def _changed_style(self, record: Mapping[str, Any]) -> str | None:
        now = self.inputs()[0].look()
        then = Source.from_record(record.get("made_from", {}).get("style"))
        if now is None:
            return "the style picture is gone"
        if then is None or not _is_same(now, then):
            return f"style changed: {then.sha256[:12] if then else 'unknown'} -> {(now.sha256 or now.etag)[:12]}"
        return None

    def _changed_dataset(self, record: Mapping[str, Any]) -> str | None:
        now = self.inputs()[1].look()
        then = record.get("made_from", {}).get("dataset", {})
        if now is None:
            return "the dataset is gone"
        if now.digest != then.get("digest"):
            return f"dataset changed: {str(then.get('digest'))[:12]} -> {now.digest[:12]}"
        return None

    @property
    def record_uri(self) -> S3Uri:
        """Where the record of a published model lies."""
        return S3Uri.parse(f"{self.S3_ROOT}/{SAVED_MODELS}/{record_path(training_of(Path(self.model)))}")

    def published(self) -> Published:
        """Look at the model in S3, and at the record that was published with it."""
        held = head(self.uri)
        record = None if held is None else self._published_record()
        is_its = record is not None and held is not None and record["result"].get("sha256") == held.sha256
        return Published(held, record if is_its else None)

    def _published_record(self) -> dict[str, Any] | None:
        try:
            record = json.loads(get_text(self.record_uri))
        except (ObjectMissingError, ValueError, RecursionError):
            return None
        sound = isinstance(record, dict) and isinstance(record.get("result"), dict)
        return record if sound and isinstance(record.get("made_from"), dict) else None

    def say(self, message: str, *, percent: int) -> None:
        """Show on Luigi's page what this task is doing; Luigi sets both while it runs the task, and only then."""
        if self.set_status_message is not None and self.set_progress_percentage is not None:
            self.set_status_message(message)
            self.set_progress_percentage(percent)


class Train(TrainRequest):
    """Train a style.

    The model is complete while it is the file that its record describes, and the record names the painting and the
    dataset as S3 holds them now, and the same configuration. A run that was killed goes on from its last checkpoint.
    """

    def output(self) -> SuffixPreservingLocalTarget:
        """The model."""
        return SuffixPreservingLocalTarget(str(self.local_model))

    def complete(self) -> bool:
        """Whether the model holds.

        Raises:
            S3Error: the store refused or did not answer.
        """
        return self.reason_to_train() is None

    def run(self) -> None:
        """Fetch, train, check, place, record; of several processes that want the same model one trains it."""
        with locked(training_of(self.local_model)) as waited:  # `fetch` locks the model itself
            if not (waited and self.complete()) and not self._take_published():
                self._train()
        self.say("done", percent=100)

    def _take_published(self) -> bool:
        """Fetch the published model where it is what is wanted; another host may have trained it.

        Raises:
            ModelInTheWayError: S3 holds a model of that name that no training of ours put there; the next fetch would
                bring it back in place of what is trained here.
        """
        if settings.current().offline:
            return False
        published = self.published()
        if published.held is None:
            return False
        if published.record is None and published.held.sha256 != self._recorded_sha256():
            raise ModelInTheWayError(
                f"{self.uri}: S3 holds a model of that name without a record of its training; choose another --name, "
                "or remove it"
            )
        if published.record is None or self.reason_in(published.record) is not None:
            return False
        self.say("fetching the published model", percent=0)
        fetch(self.uri, self.local_model, on_bytes=progress.add_bytes)
        write_record(training_of(self.local_model), dict(published.record))
        return True

    def _recorded_sha256(self) -> str | None:
        result = (read_record(training_of(self.local_model)) or {}).get("result")
        return result.get("sha256") if isinstance(result, dict) else None

    def _train(self) -> None:
        style, dataset = self.inputs()
        self.say("fetching the painting and the dataset", percent=0)
        copy = fetch(style.uri, style.local_path, on_bytes=progress.add_bytes, offline=settings.current().offline)
        brought = dataset.bring()
        vgg = self._vgg()
        checkpoints = Path(self.LOCAL_ROOT, _CHECKPOINTS, self._run_name(copy, brought))
        from neural_style.train_style import Where, train_style

        with self.output().temporary_path() as scratch:
            trained = train_style(
                self.config,
                style=style.local_path,
                dataset=dataset.local_path,
                output=Path(scratch),
                vgg=vgg,
                where=Where(
                    device=self.device_name,
                    checkpoint_folder=checkpoints,
                    checkpoint_every=self.checkpoint_every,
                    note_every=self.note_every,
                ),
                on_step=self._show,
            )
            if not (copy.holds(style.local_path) and dataset.still_holds(brought)):
                raise InputChangedError(
                    f"{self.local_model}: painting or dataset were replaced meanwhile; run it again"
                )
            made = {"sha256": sha256_of(scratch), "size_bytes": Path(scratch).stat().st_size}
        write_record(training_of(self.local_model), self._record(copy, brought, trained.record(), made))
        shutil.rmtree(checkpoints, ignore_errors=True)

    def _vgg(self) -> Path | None:
        """Bring VGG16's weights here if the bucket has them; else it is left to torchvision."""
        if self.config.features != "vgg16":
            return None
        weights: SavedModel = self.clone(SavedModel, model=VGG16)
        if weights.look() is None:
            return None
        fetch(weights.uri, weights.local_path, on_bytes=progress.add_bytes, offline=settings.current().offline)
        return weights.local_path

    def _run_name(self, style: CopyRecord, dataset: FolderInfo) -> str:
        return "-".join((Path(self.model).stem, self.config.digest()[:12], style.sha256[:12], dataset.digest[:12]))

    def _show(self, step: int, total_steps: int) -> None:
        if step % 10 == 0 or step == total_steps:
            self.say(f"step {step} of {total_steps}", percent=min(100 * step // total_steps, 99))

    def _record(
        self, style: CopyRecord, dataset: FolderInfo, trained: Mapping[str, Any], made: Mapping[str, Any]
    ) -> dict[str, Any]:
        source = {name: getattr(style, name) for name in ("uri", "etag", "sha256", "size_bytes", "checked_by")}
        record = {
            "format": RECORD_FORMAT,
            "made_from": {"style": source, "dataset": asdict(dataset)},
            "config": self.config.digest(),
            "parameters": asdict(self.config) | {"algorithm": ALGORITHM},
            "training": {name: trained[name] for name in ("steps", "metrics", "curve")},
            "made_by": dict(trained["made_by"]),
            "result": dict(made),
        }
        return record | ({"forced": self.forced} if self.forced else {})


def training_of(model: Path) -> Path:
    """Name what the record of training lies beside: the record of the model itself says what it is a copy of."""
    return model.with_name(f"{model.name}.training")


def _is_same(now: ObjectInfo, then: Source) -> bool:
    if now.sha256 is not None:
        return now.sha256 == then.sha256
    return (str(now.uri), now.etag) == (then.uri, then.etag)


class UploadTrained(TrainRequest):
    """A trained model in S3, and then its record; it makes the model first where this host has none that holds.

    Complete by the published record, so that any host can tell. Models that no training of ours put there are never
    replaced.
    """

    def output(self) -> ExactKeyS3Target:
        """The model in S3."""
        return ExactKeyS3Target(str(self.uri))

    def complete(self) -> bool:
        """Whether what S3 holds is what is wanted.

        Raises:
            S3Error: the store refused or did not answer.
        """
        refuse_offline("sends a model to S3")
        record = self.published().record
        return record is not None and self.reason_in(record) is None

    def run(self) -> None:
        """Train if need be, then send the model, and its record last."""
        made = self.clone(Train)
        for shown in ("set_status_message", "set_progress_percentage", "set_tracking_url"):
            setattr(made, shown, getattr(self, shown))
        if not made.complete():
            made.run()
        self.say("publishing", percent=99)
        journal = settings.current().journal
        is_ours = self.published().record is not None
        push(self.local_model, self.uri, journal=journal, replace=is_ours, on_bytes=progress.add_bytes)
        push(record_path(training_of(self.local_model)), self.record_uri, journal=journal, replace=True)
        self.say("published", percent=100)
