"""`StyleRequest`: what a styled picture is asked for with, whoever makes it and wherever it is to lie."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import luigi

from csci_utils.io import read_record
from csci_utils.luigi.page import ShownTask
from csci_utils.luigi.run import ExplainedTask
from csci_utils.s3 import ObjectInfo
from neural_style.contract import (
    ALGORITHM_VERSION,
    DEFAULT_MAX_PIXELS,
    DEFAULT_QUALITY,
    LOSSY_SUFFIXES,
    result_suffix,
)
from pipeline import settings
from pipeline.choices import CHECKS
from pipeline.folders import IMAGES, SAVED_MODELS, STYLIZED
from pipeline.results import Parameters, reason_to_make, result_name
from pipeline.tasks.data import ContentImage, S3Input, SavedModel, image_parameter, model_parameter
from pipeline.tasks.roots import RootedTask

IN_PROCESS = "in-process"
PROGRAM = "program"


class ChoiceParameter(luigi.OptionalStrParameter):
    """One of `pipeline.choices`, or nothing: then the settings have it."""

    def __init__(self, *, of: str, **kwargs: Any) -> None:
        super().__init__(default=None, significant=False, **kwargs)
        self._of = of

    def normalize(self, x: str | None) -> str | None:
        """Check the form; whether it is there is seen where the net is loaded."""
        return CHECKS[self._of](x) if x else None


class PrecisionParameter(luigi.Parameter):
    """A precision. It changes the pixels, so that the settings' is part of a task's identity as well."""

    def normalize(self, x: str) -> str:
        """Check the name, and take the settings' where none is given."""
        return CHECKS["precision"](x or settings.current().precision)


def max_side_parameter() -> luigi.OptionalNumericalParameter[int]:
    """The longest edge that pictures are shrunk to."""
    return luigi.OptionalNumericalParameter(  # type: ignore[call-arg]  # Luigi's mixin hides what it takes
        default=None, min_value=1, max_value=2**31, var_type=int, description="shrink the longest edge to it, pixels"
    )


def quality_parameter() -> luigi.NumericalParameter[int]:
    """The quality of lossy results."""
    return luigi.NumericalParameter(
        default=DEFAULT_QUALITY, min_value=1, max_value=101, var_type=int, description="of JPEG and WebP"
    )


def precision_parameter() -> PrecisionParameter:
    """The precision that the net computes in."""
    return PrecisionParameter(default="", description="float32 or fast [default: the settings']")


def max_pixels_parameter() -> luigi.IntParameter:
    """The most pixels that a picture may declare."""
    return luigi.IntParameter(
        default=DEFAULT_MAX_PIXELS, significant=False, description="refuse a picture that declares more"
    )


def forced_parameter() -> luigi.Parameter:
    """The token of a run that makes again what is there."""
    return luigi.Parameter(
        default="", significant=False, positional=False, description="a token: make it again in the run that has it"
    )


def gpu_resources(device: str, engine: str) -> dict[str, int]:
    """One GPU of this host as one of Luigi's resources, where one is used; nothing elsewhere."""
    may_use_gpu = device == "auto" and engine != "openvino" and os.path.exists("/dev/nvidia0")
    uses_gpu = device.startswith(("cuda", "mps")) or may_use_gpu
    return {f"gpu-{socket.gethostname()}": 1} if uses_gpu else {}


class StyleRequest(ShownTask, ExplainedTask, RootedTask):
    """A picture, a model, and the parameters to style the one with the other; the base of tasks that see to it."""

    SHARED_RELATIVE_PATH = STYLIZED

    image = image_parameter()
    model = model_parameter()
    max_side = max_side_parameter()
    quality = quality_parameter()
    precision = precision_parameter()
    max_pixels = max_pixels_parameter()
    mode = luigi.ChoiceParameter(
        choices=(IN_PROCESS, PROGRAM), default=IN_PROCESS, significant=False, description="where the net runs"
    )
    device = ChoiceParameter(of="device", description="auto, cpu, cuda, cuda:1 or mps [default: the settings']")
    engine = ChoiceParameter(of="engine", description="auto, torch, openvino or onnxruntime [default: the settings']")
    memory = ChoiceParameter(of="memory", description="what a picture may take, as 2GiB [default: the settings']")
    forced = forced_parameter()

    def requires(self) -> dict[str, S3Input]:
        """The two objects in S3; `run` brings them here, as local copies are each host's own affair."""
        return {
            "image": self.clone(ContentImage),
            "model": self.clone(SavedModel),
        }

    @property
    def result_name(self) -> str:
        """Where the result lies below `SHARED_RELATIVE_PATH`."""
        return result_name(self.image, self.model, max_side=self.max_side, suffix=result_suffix(self.image))

    @property
    def local_result(self) -> Path:
        """Where the result lies on this host."""
        return Path(self.LOCAL_ROOT, self.SHARED_RELATIVE_PATH, self.result_name)

    @property
    def resources(self) -> dict[str, int]:  # type: ignore[override]  # Luigi reads it, and never sets it
        """One GPU of this host, where one is used: two nets do not share it."""
        return gpu_resources(self.device_name, self.engine_name)

    def look(self) -> dict[str, ObjectInfo]:
        """The picture and the model as S3 holds them now; what it does not hold is left out.

        Raises:
            S3Error: the store refused or did not answer, or there is no such bucket.
        """
        found = {name: task.look() for name, task in self.requires().items()}
        return {name: info for name, info in found.items() if info is not None}

    def reason_to_make(self, inputs: Mapping[str, ObjectInfo]) -> str | None:
        """Why the result on this host has to be made (again); None when it holds.

        Args:
            inputs: ``image`` and ``model`` as S3 holds them now.
        """
        return reason_to_make(self.local_result, inputs=inputs, parameters=self.wanted_parameters, forced=self.forced)

    def made(self) -> dict[str, Any]:
        """The record of the result on this host; empty without one."""
        return read_record(self.local_result) or {}

    def local_copies(self) -> dict[str, Path]:
        """Where the copies of ``image`` and ``model`` lie on this host."""
        return {
            "image": Path(self.LOCAL_ROOT, IMAGES, self.image),
            "model": Path(self.LOCAL_ROOT, SAVED_MODELS, self.model),
        }

    @property
    def device_name(self) -> str:
        """The device asked for."""
        return self.device or settings.current().device

    @property
    def engine_name(self) -> str:
        """The engine asked for."""
        return self.engine or settings.current().engine

    @property
    def memory_wanted(self) -> str:
        """The memory asked for, as a text."""
        return self.memory or settings.current().memory

    @property
    def wanted_parameters(self) -> Parameters:
        """What changes the pixels, besides the picture and the model."""
        lossy = self.local_result.suffix.lower() in LOSSY_SUFFIXES
        return Parameters(
            max_side=self.max_side,
            quality=self.quality if lossy else None,
            precision=self.precision,
            algorithm=ALGORITHM_VERSION,
        )
