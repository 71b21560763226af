"""`TrainRequest`: what a trained model is asked for with, and whether the one that is there is it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import luigi

from csci_utils.io import read_record, record_path, sha256_of
from csci_utils.luigi.page import ShownTask
from csci_utils.luigi.run import ExplainedTask
from csci_utils.s3 import ObjectInfo, S3Uri, get_record, head
from neural_style.train_config import ALGORITHM, TrainConfig, config_for
from pipeline import settings
from pipeline.errors import BadNameError
from pipeline.folders import SAVED_MODELS
from pipeline.names import NewModelParameter, OptionalNameParameter
from pipeline.results import Source
from pipeline.tasks.data import StyleImage, style_parameter
from pipeline.tasks.dataset import Dataset, dataset_parameter
from pipeline.tasks.request import ChoiceParameter
from pipeline.tasks.roots import RootedTask

RECORD_FORMAT = 1
VGG16 = "vgg16-397923af.pth"
"""torchvision's weights of VGG16, as a bucket's owner puts them below saved_models/."""


def _number(kind: type, description: str, *, least: int = 0, significant: bool = True) -> Any:
    return luigi.OptionalNumericalParameter(  # type: ignore[call-arg]  # Luigi's mixin hides what it takes
        default=None,
        min_value=least,
        max_value=2**53,
        var_type=kind,
        description=description,
        significant=significant,
    )


class Published(NamedTuple):
    """A model in S3, and the record of training that describes it; None where there is none, or another's."""

    held: ObjectInfo | None
    record: dict[str, Any] | None


class TrainRequest(ShownTask, ExplainedTask, RootedTask):
    """A painting, a dataset, and what else changes the weights; the base of tasks that see to a trained model."""

    SHARED_RELATIVE_PATH = SAVED_MODELS

    style = style_parameter()
    dataset = dataset_parameter()
    name = NewModelParameter(
        kind="model", default="", description="of the model below saved_models/ [default: the painting's]"
    )
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

    device = ChoiceParameter(of="device", description="auto, cpu, cuda or mps")
    threads = _number(int, "of the arithmetic on the CPU", least=1, significant=False)
    loaders = _number(int, "threads that decode pictures", significant=False)
    compiled = luigi.BoolParameter(significant=False, description="let torch.compile fuse what it can")
    nondeterministic = luigi.BoolParameter(significant=False, description="let CUDA take what is fastest")
    max_broken = luigi.IntParameter(default=100, significant=False, description="pictures that may be broken")
    checkpoint_every = luigi.IntParameter(default=500, significant=False, description="steps between checkpoints")
    note_every = luigi.IntParameter(default=100, significant=False, description="steps between notes of the losses")
    tensorboard = luigi.Parameter(default="", significant=False, description="folder of curves for TensorBoard")
    sample = OptionalNameParameter(
        kind="picture", default="", significant=False, description="below images/, styled on the way"
    )
    sample_every = luigi.IntParameter(default=500, significant=False, description="steps between samples")
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
        """The name of the model below saved_models/.

        Raises:
            BadNameError: it is that of VGG16's weights, which a model would hide.
        """
        name = self.name or str(Path(self.style).with_suffix(".pth"))
        if name == VGG16:
            raise BadNameError(f"{name!r} cannot name a model: it is kept for VGG16's weights; give another --name")
        return name

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
        record = read_training(self.local_model)
        if record is None:
            return "it has no record of what it was trained from"
        reason = self.reason_in(record)
        if reason is None and record["result"]["sha256"] != sha256_of(self.local_model):
            return "the file is not the one that was trained"
        return reason

    def reason_in(self, record: Mapping[str, Any]) -> str | None:
        """Why what a whole record of training describes is not what is wanted now; None when it is."""
        if self.forced and record.get("forced") != self.forced:
            return "asked to train it again"
        return self._changed_parameter(record) or self._changed_style(record) or self._changed_dataset(record)

    def _changed_parameter(self, record: Mapping[str, Any]) -> str | None:
        if record["config"] == self.config.digest():
            return None
        wanted = asdict(self.config) | {"widths": list(self.config.widths), "algorithm": ALGORITHM}
        for name, value in wanted.items():
            if (found := record["parameters"].get(name)) != value:
                return f"{name} changed: {found} -> {value}"
        return "the configuration changed"

    def _changed_style(self, record: Mapping[str, Any]) -> str | None:
        now = self.inputs()[0].look()
        then = Source.from_record(record["made_from"]["style"])
        if now is None:
            return "the style picture is gone"
        if then is None or not _is_same(now, then):
            return f"style changed: {then.sha256[:12] if then else 'unknown'} -> {(now.sha256 or now.etag)[:12]}"
        return None

    def _changed_dataset(self, record: Mapping[str, Any]) -> str | None:
        now = self.inputs()[1].look()
        then = record["made_from"]["dataset"]
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
        record = None if held is None else _whole(get_record(self.record_uri))
        is_its = record is not None and held is not None and record["result"]["sha256"] == held.sha256
        return Published(held, record if is_its else None)


def training_of(model: Path) -> Path:
    """Name what the record of training lies beside: the record of the model itself says what it is a copy of."""
    return model.with_name(f"{model.name}.training")


def read_training(model: Path) -> dict[str, Any] | None:
    """Read the record of a model's training; None where there is no whole one."""
    return _whole(read_record(training_of(model)))


def _whole(record: object) -> dict[str, Any] | None:
    """Return a record if it says all that is asked of it."""
    if not isinstance(record, dict) or record.get("format") != RECORD_FORMAT:
        return None
    parts = (record.get(name) for name in ("made_from", "parameters", "result"))
    made_from, parameters, result = (part if isinstance(part, dict) else {} for part in parts)
    sources = all(isinstance(made_from.get(name), dict) for name in ("style", "dataset"))
    digests = isinstance(record.get("config"), str) and isinstance(result.get("sha256"), str)
    return record if sources and digests and parameters else None


def _is_same(now: ObjectInfo, then: Source) -> bool:
    if now.sha256 is not None:
        return now.sha256 == then.sha256
    return (str(now.uri), now.etag) == (then.uri, then.etag)
