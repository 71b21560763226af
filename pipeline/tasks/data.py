"""The objects that a run starts from: in S3 (`ContentImage`, `SavedModel`), and their local copies (`Download...`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi

from csci_utils.luigi.mirror import Download
from csci_utils.luigi.target import ExactKeyS3Target
from csci_utils.s3 import AccessRefusedError, BucketMissingError, S3Error, S3Uri, missing
from pipeline import progress
from pipeline.names import ModelParameter, NameParameter
from pipeline.tasks.roots import RootedTask, RootProperty

IMAGES = "images"
SAVED_MODELS = "saved_models"


def image_parameter(**kwargs: Any) -> NameParameter:
    """The name of a picture below ``images/``."""
    return NameParameter(kind="picture", description="name of the picture below images/", **kwargs)


def model_parameter(**kwargs: Any) -> ModelParameter:
    """The name of a model below ``saved_models/``."""
    return ModelParameter(kind="model", description="name of the model below saved_models/ [.pth]", **kwargs)


class S3Input(RootedTask, luigi.ExternalTask):
    """An object that somebody put into S3: never run, only looked for."""

    def complete(self) -> bool:
        """One HEAD of the exact key; on a miss a second request tells a missing object from a missing bucket.

        Raises:
            S3Error: the store refused or did not answer, or there is no such bucket.
        """
        if self.output().exists():
            return True
        require_bucket(self.output().uri)
        return False

    def output(self) -> ExactKeyS3Target:
        """The object, read and written as bytes."""
        raise NotImplementedError


class ContentImage(S3Input):
    """A picture in S3, below `IMAGE_ROOT`."""

    IMAGE_ROOT = RootProperty(lambda holder: f"{holder.S3_ROOT}/{IMAGES}", "Where the pictures lie in S3.")
    image = image_parameter()

    def output(self) -> ExactKeyS3Target:
        """The picture's object."""
        return ExactKeyS3Target(f"{self.IMAGE_ROOT}/{self.image}")


class SavedModel(S3Input):
    """A trained model in S3, below `MODEL_ROOT`; without a suffix it is a ``.pth``."""

    MODEL_ROOT = RootProperty(lambda holder: f"{holder.S3_ROOT}/{SAVED_MODELS}", "Where the models lie in S3.")
    model = model_parameter()

    def output(self) -> ExactKeyS3Target:
        """The model's object."""
        return ExactKeyS3Target(f"{self.MODEL_ROOT}/{self.model}")


class MirrorDownload(RootedTask, Download):
    """A local copy at the same relative path below the local root as below the S3 root."""

    SHARED_RELATIVE_PATH: str

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        raise NotImplementedError

    @property
    def destination(self) -> Path:
        """Where the copy lies."""
        return Path(self.LOCAL_ROOT, self.SHARED_RELATIVE_PATH, self.file_name)

    def count_bytes(self, num_bytes: int) -> None:
        """Count what arrives on the bar of this run, if there is one."""
        progress.add_bytes(num_bytes)


class DownloadImage(MirrorDownload):
    """The local copy of a `ContentImage`."""

    SHARED_RELATIVE_PATH = IMAGES
    image = image_parameter()

    def requires(self) -> ContentImage:
        """The picture in S3."""
        return ContentImage(image=self.image, s3_root=self.s3_root)

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        return self.image


class DownloadModel(MirrorDownload):
    """The local copy of a `SavedModel`."""

    SHARED_RELATIVE_PATH = SAVED_MODELS
    model = model_parameter()

    def requires(self) -> SavedModel:
        """The model in S3."""
        return SavedModel(model=self.model, s3_root=self.s3_root)

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        return self.model


def require_bucket(uri: S3Uri) -> None:
    """Tell a missing object from a missing bucket, after a miss.

    Raises:
        BucketMissingError: there is no such bucket. A store that will not say is taken at its word about the object.
    """
    try:
        error: S3Error = missing(uri)
    except AccessRefusedError:
        return
    if isinstance(error, BucketMissingError):
        raise error
