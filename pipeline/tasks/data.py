"""What a run starts from: objects in S3 (`ContentImage`, ...), their local copies (`Download...`), and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi

from csci_utils.copies import NotHereError, trusted
from csci_utils.luigi.mirror import Download, Upload
from csci_utils.luigi.run import ExplainedTask
from csci_utils.luigi.target import ExactKeyS3Target
from csci_utils.s3 import AccessRefusedError, BucketMissingError, ObjectInfo, S3Error, S3Uri, head, missing
from pipeline import progress, settings
from pipeline.errors import OfflineError
from pipeline.folders import IMAGES, SAVED_MODELS, STYLES
from pipeline.names import ModelParameter, NameParameter
from pipeline.tasks.roots import RootedTask, RootProperty


def image_parameter(**kwargs: Any) -> NameParameter:
    """The name of a picture below ``images/``."""
    return NameParameter(kind="picture", description="name of the picture below images/", **kwargs)


def style_parameter(**kwargs: Any) -> NameParameter:
    """The name of a painting below ``styles/``."""
    return NameParameter(kind="style", description="name of the painting below styles/", **kwargs)


def model_parameter(**kwargs: Any) -> ModelParameter:
    """The name of a model below ``saved_models/``."""
    return ModelParameter(kind="model", description="name of the model below saved_models/ [.pth]", **kwargs)


class Mirrored(RootedTask):
    """Something that lies at the same relative path below the S3 root and below the local root."""

    SHARED_RELATIVE_PATH: str

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        raise NotImplementedError

    @property
    def local_path(self) -> Path:
        """Where the local copy lies."""
        return Path(self.LOCAL_ROOT, self.SHARED_RELATIVE_PATH, self.file_name)

    @property
    def uri(self) -> S3Uri:
        """Where the object lies."""
        return S3Uri.parse(f"{self.S3_ROOT}/{self.SHARED_RELATIVE_PATH}/{self.file_name}")


class OfImages(Mirrored):
    """A picture."""

    SHARED_RELATIVE_PATH = IMAGES
    image = image_parameter()

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        return self.image


class OfModels(Mirrored):
    """A trained model; without a suffix it is a ``.pth``."""

    SHARED_RELATIVE_PATH = SAVED_MODELS
    model = model_parameter()

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        return self.model


class OfStyles(Mirrored):
    """A style painting."""

    SHARED_RELATIVE_PATH = STYLES
    style = style_parameter()

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        return self.style


class S3Input(Mirrored, luigi.ExternalTask):
    """An object that somebody put into S3: never run, only looked for."""

    def complete(self) -> bool:
        """One HEAD of the exact key; on a miss a second request tells a missing object from a missing bucket.

        Raises:
            S3Error: the store refused or did not answer, or there is no such bucket.
        """
        return self.look() is not None

    def look(self) -> ObjectInfo | None:
        """The object as S3 holds it now, None when there is none; offline, as the local copy remembers it.

        Raises:
            S3Error: the store refused or did not answer, or there is no such bucket.
        """
        uri = self.output().uri
        if settings.current().offline:
            return remembered(uri, self.local_path)
        info = head(uri)
        if info is None:
            require_bucket(uri)
        return info

    def output(self) -> ExactKeyS3Target:
        """The object, read and written as bytes."""
        return ExactKeyS3Target(str(self.uri))


class ContentImage(OfImages, S3Input):
    """A picture in S3, below `IMAGE_ROOT`."""

    IMAGE_ROOT = RootProperty(lambda holder: f"{holder.S3_ROOT}/{IMAGES}", "Where the pictures lie in S3.")

    @property
    def uri(self) -> S3Uri:
        """Where the picture lies."""
        return S3Uri.parse(f"{self.IMAGE_ROOT}/{self.image}")


class SavedModel(OfModels, S3Input):
    """A trained model in S3, below `MODEL_ROOT`; without a suffix it is a ``.pth``."""

    MODEL_ROOT = RootProperty(lambda holder: f"{holder.S3_ROOT}/{SAVED_MODELS}", "Where the models lie in S3.")

    @property
    def uri(self) -> S3Uri:
        """Where the model lies."""
        return S3Uri.parse(f"{self.MODEL_ROOT}/{self.model}")


class StyleImage(OfStyles, S3Input):
    """A style painting in S3."""


class MirrorDownload(Mirrored, Download):
    """A local copy at the same relative path below the local root as below the S3 root."""

    @property
    def destination(self) -> Path:
        """Where the copy goes."""
        return self.local_path

    @property
    def offline(self) -> bool:
        """Whether the local copy is trusted and S3 not asked."""
        return settings.current().offline

    def count_bytes(self, num_bytes: int) -> None:
        """Count what arrives on the bar of this run, if there is one."""
        progress.add_bytes(num_bytes)


class DownloadImage(OfImages, MirrorDownload):
    """The local copy of a `ContentImage`."""

    def requires(self) -> ContentImage:
        """The picture in S3."""
        source: ContentImage = self.clone(ContentImage)
        return source


class DownloadModel(OfModels, MirrorDownload):
    """The local copy of a `SavedModel`."""

    def requires(self) -> SavedModel:
        """The model in S3."""
        source: SavedModel = self.clone(SavedModel)
        return source


class DownloadStyle(OfStyles, MirrorDownload):
    """The local copy of a `StyleImage`."""

    def requires(self) -> StyleImage:
        """The painting in S3."""
        source: StyleImage = self.clone(StyleImage)
        return source


class MirrorUpload(Mirrored, ExplainedTask, Upload):
    """The object at the same relative path below the S3 root as the file below the local root."""

    @property
    def source(self) -> Path:
        """Where the file lies."""
        return self.local_path

    @property
    def destination(self) -> S3Uri:
        """Where the object goes."""
        return self.uri

    @property
    def journal(self) -> Path:
        """Where sends in parts are noted, so that the next start can end those of a process that died."""
        return settings.current().journal

    def complete(self) -> bool:
        """Tell by one HEAD whether S3 holds what is here.

        Raises:
            OfflineError: S3 is not to be asked.
        """
        refuse_offline("sends a file to S3")
        return super().complete()


def refuse_offline(what: str) -> None:
    """Raise OfflineError where S3 is not to be asked, for a task that does nothing else."""
    if settings.current().offline:
        raise OfflineError(f"this task {what}, and PIPELINE_OFFLINE forbids to ask it anything; unset it")


class UploadImage(OfImages, MirrorUpload):
    """The object of a local picture."""


class UploadModel(OfModels, MirrorUpload):
    """The object of a local model."""


class UploadStyle(OfStyles, MirrorUpload):
    """The object of a local style painting."""


def remembered(uri: S3Uri, path: Path) -> ObjectInfo | None:
    """What a whole local copy remembers of its object; None without such a copy."""
    try:
        copy = trusted(uri, path)
    except NotHereError:
        return None
    return ObjectInfo(uri, copy.etag, copy.size_bytes, copy.sha256)


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
