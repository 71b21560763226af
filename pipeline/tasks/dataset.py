"""`Dataset`: the pictures below ``datasets/<name>/`` in S3 as one thing, and how they come here."""

from __future__ import annotations

from typing import Any

import luigi

from csci_utils.folder_copy import fetch_folder_copy, remembered_folder
from csci_utils.folder_look import FolderInfo, is_there, look_at_flag, look_at_folder
from csci_utils.luigi.run import ExplainedTask
from csci_utils.s3 import ObjectMissingError, S3Uri
from neural_style.picture_set import is_dataset_file
from pipeline import progress, settings
from pipeline.folders import DATASETS
from pipeline.names import DatasetParameter
from pipeline.tasks.data import Mirrored, require_bucket


def dataset_parameter(**kwargs: Any) -> DatasetParameter:
    """The name of a dataset below ``datasets/``."""
    return DatasetParameter(kind="dataset", description="name of the dataset below datasets/", **kwargs)


class DatasetTarget(luigi.Target):
    """A folder in S3 that is there with its manifest, or, where it has none, with a picture or shard in it."""

    def __init__(self, uri: S3Uri) -> None:
        self.uri = uri
        self.path = str(uri)

    def exists(self) -> bool:
        """Tell by one HEAD, or by that and a listing.

        Raises:
            S3Error: the store refused or did not answer.
        """
        return is_there(self.uri, belongs=is_dataset_file)


class OfDatasets(Mirrored):
    """A dataset."""

    SHARED_RELATIVE_PATH = DATASETS
    dataset = dataset_parameter()

    @property
    def file_name(self) -> str:
        """Relative path below `SHARED_RELATIVE_PATH`."""
        return self.dataset


class Dataset(OfDatasets, luigi.ExternalTask):
    """Pictures and tar shards that somebody put into S3: never run, only looked for.

    A task that needs them requires this, looks with `look` whether what it made still holds, and calls `bring` in its
    `run`, since local copies are each host's own affair.
    """

    def output(self) -> DatasetTarget:
        """The folder."""
        return DatasetTarget(self.uri)

    def complete(self) -> bool:
        """Whether it is there; offline, whether its local copy is.

        Raises:
            S3Error: the store refused or did not answer, or there is no such bucket.
        """
        if settings.current().offline:
            return self.look() is not None
        if self.output().exists():
            return True
        require_bucket(self.uri)
        return False

    def look(self) -> FolderInfo | None:
        """The dataset as S3 holds it now, None when there is none; offline, as the local copy remembers it.

        Its ``digest`` is what a record names it by. One HEAD as long as the local copy has the same manifest.

        Raises:
            S3Error: the store refused or did not answer, or there is no such bucket.
            FolderDamagedError: its manifest cannot be read.
        """
        known = remembered_folder(self.local_path)
        if settings.current().offline:
            return known if known is not None and known.uri == str(self.uri) else None
        held, is_same = look_at_flag(self.uri, known)
        if is_same:
            return known
        try:
            return look_at_folder(self.uri, held, belongs=is_dataset_file).info
        except ObjectMissingError:
            return None

    def bring(self) -> FolderInfo:
        """Make the local copy the dataset as it is now, and say which that is: what is here already costs no transfer.

        Raises:
            ObjectMissingError, BucketMissingError: there is no such dataset.
            NotHereError: offline, and there is no whole copy.
            StrangeFileError: there is a local picture that S3 does not have.
            FolderDamagedError: an object is not what the manifest says, or that cannot be read.
            S3Error: the store refused or failed.
        """
        offline = settings.current().offline
        return fetch_folder_copy(
            self.uri, self.local_path, belongs=is_dataset_file, on_bytes=progress.add_bytes, offline=offline
        )

    def still_holds(self, brought: FolderInfo) -> bool:
        """Whether the local copy is still the one that `bring` brought, and not, by another process, a newer one."""
        found = remembered_folder(self.local_path)
        return found is not None and found.digest == brought.digest


class DownloadDataset(OfDatasets, ExplainedTask):
    """The local copy of a `Dataset`."""

    def requires(self) -> Dataset:
        """The dataset in S3."""
        source: Dataset = self.clone(Dataset)
        return source

    def output(self) -> luigi.LocalTarget:
        """The folder."""
        return luigi.LocalTarget(str(self.local_path))

    def complete(self) -> bool:
        """Whether the local copy is the dataset as it is now."""
        found, known = self.requires().look(), remembered_folder(self.local_path)
        return found is not None and known is not None and found.digest == known.digest

    def run(self) -> None:
        """Fetch what is absent, changed or damaged."""
        self.requires().bring()
