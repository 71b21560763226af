# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""`Download` and `Upload`: one general pair of tasks for what lies in S3 and here under the same name."""

from __future__ import annotations

from pathlib import Path

import luigi

from csci_utils.copies import fetch, is_current, push, why_different
from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.s3 import S3Uri, head


class Download(luigi.Task):
    """The half of a pair that brings an object here: complete while the local copy is the object in S3.

    A subclass says what it requires, one task whose output is the object in S3, and where the copy goes::

        class DownloadImage(Download):
            image = luigi.Parameter()

            def requires(self):
                return ContentImage(image=self.image)

            @property
            def destination(self):
                return Path("data/images", self.image)
    """

    @property
    def destination(self) -> Path:
        """Where the local copy goes."""
        raise NotImplementedError(f"{type(self).__name__} does not say its destination")

    @property
    def source(self) -> S3Uri:
        """Where the object lies: the output of the required task."""
        return S3Uri.parse(self.input().path)

    @property
    def offline(self) -> bool:
        """Whether the local copy is trusted and S3 not asked."""
        return False

    def output(self) -> SuffixPreservingLocalTarget:
        """Return the local copy."""
        return SuffixPreservingLocalTarget(str(self.destination))

    def complete(self) -> bool:
        """Tell whether the local copy is the object as it is now."""
        return is_current(self.source, self.destination, offline=self.offline)

    def run(self) -> None:
        """Fetch what is absent, changed or damaged."""
        fetch(self.source, self.destination, on_bytes=self.count_bytes, offline=self.offline)

    def count_bytes(self, num_bytes: int) -> None:
        """Take notice of bytes that arrived (a negative number: they have to come again); for a subclass's bar."""


class Upload(luigi.Task):
    """The half of a pair that brings a file to S3: complete while S3 holds the file's bytes under its key.

    It pushes what S3 lacks. Other bytes under that key are an error that names both digests, unless ``replace`` is
    set. Without the file it is complete when S3 holds the object: S3 is the truth. A subclass says what goes where::

        class UploadImage(Upload):
            image = luigi.Parameter()

            @property
            def source(self):
                return Path("data/images", self.image)

            @property
            def destination(self):
                return S3Uri.parse(f"s3://bucket/images/{self.image}")
    """

    replace = luigi.BoolParameter(default=False, significant=False, description="also in place of other bytes")

    @property
    def source(self) -> Path:
        """Where the file lies."""
        raise NotImplementedError(f"{type(self).__name__} does not say its source")

    @property
    def destination(self) -> S3Uri:
        """Where the object goes."""
        raise NotImplementedError(f"{type(self).__name__} does not say its destination")

    @property
    def journal(self) -> Path | None:
        """Where sends in parts are noted, see `csci_utils.s3.put`."""
        return None

    def output(self) -> ExactKeyS3Target:
        """Return the object."""
        return ExactKeyS3Target(str(self.destination))

    def complete(self) -> bool:
        """Tell by one HEAD whether S3 holds what is here."""
        info = head(self.destination)
        return info is not None and (not self.source.is_file() or why_different(info, self.source) is None)

    def run(self) -> None:
        """Send what S3 lacks.

        Raises:
            ObjectDiffersError: S3 holds other bytes there, and they are not to be replaced.
        """
        push(
            self.source, self.destination, replace=self.replace, on_bytes=self.count_bytes, journal=self.journal
        )  # fmt: skip

    def count_bytes(self, num_bytes: int) -> None:
        """Take notice of bytes that were sent; for a subclass's bar."""
