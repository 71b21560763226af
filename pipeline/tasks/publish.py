"""`UploadStylized`: a styled picture goes to S3, with its record after it, so that any host can tell what it is.

The wrapper around `Stylize` for those who want the results in S3: it makes what nobody has made, and sends it. On
several hosts that share a scheduler this is the task to ask for, since its output is the same for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from csci_utils.copies import push
from csci_utils.io import atomic_path, record_path, write_record
from csci_utils.lock import locked
from csci_utils.luigi.target import ExactKeyS3Target
from csci_utils.s3 import DigestMismatchError, ObjectInfo, ObjectMissingError, S3Uri, get
from pipeline import progress, settings
from pipeline.published import PublishedResult, published_record, record_uri
from pipeline.results import precision_in, reason_in_record
from pipeline.tasks.data import refuse_offline
from pipeline.tasks.request import StyleRequest
from pipeline.tasks.stylize import STYLED, Stylize

logger = logging.getLogger(__name__)


class Published(NamedTuple):
    """What a look at a published result found.

    Attributes:
        reason: Why it has to be sent; None where it holds.
        sha256: Of its bytes.
        precision: As its record gives it.
    """

    reason: str | None
    sha256: str | None = None
    precision: object = None


class UploadStylized(StyleRequest):
    """Style a picture with a model, and put the result and its record into S3.

    Complete while S3 holds a result whose published record names the picture and the model as S3 holds them now.
    """

    @property
    def uri(self) -> S3Uri:
        """Where the published result lies."""
        return S3Uri.parse(f"{self.S3_ROOT}/{self.SHARED_RELATIVE_PATH}/{self.result_name}")

    @property
    def record_uri(self) -> S3Uri:
        """Where its record lies: under the same relative key as here."""
        return record_uri(self.uri)

    def output(self) -> ExactKeyS3Target:
        """The published result."""
        return ExactKeyS3Target(str(self.uri))

    def complete(self) -> bool:
        """Whether what S3 holds is what is wanted.

        Raises:
            S3Error: the store refused or did not answer.
        """
        refuse_offline("sends a result to S3")
        inputs = self.look()
        return len(inputs) == len(self.requires()) and self.look_at_published(inputs).reason is None

    def look_at_published(self, inputs: Mapping[str, ObjectInfo]) -> Published:
        """Look whether the published result holds.

        Args:
            inputs: ``image`` and ``model`` as S3 holds them now.

        Raises:
            S3Error: the store refused or did not answer.
        """
        found = self._published()
        if found is None:
            return Published("not published yet")
        published, record = found
        if record is None:
            return Published("what is published has no record", published.sha256)
        if published.sha256 != record["result"]["sha256"]:
            return Published("what is published is not what its record describes", published.sha256)
        reason = reason_in_record(record, inputs=inputs, parameters=self.wanted_parameters, forced=self.forced)
        return Published(reason, published.sha256, precision_in(record))

    def run(self) -> None:
        """Make the result if this host has none that holds, then send it, and its record last."""
        made = self.stylize()
        with self.shown(made):
            if not made.complete():
                made.run()
            self.say("publishing", percent=STYLED)
            self._publish()
            self.say("published", percent=100)

    def _publish(self) -> None:
        """Send the result, and the record of the very same: nobody replaces it here meanwhile, in another precision."""
        journal = settings.current().journal
        with locked(self.local_result):
            for path, uri in ((self.local_result, self.uri), (record_path(self.local_result), self.record_uri)):
                push(path, uri, replace=True, journal=journal)

    def bring(self) -> None:
        """Fetch the published result and its record to where `Stylize` would have put them.

        Raises:
            ObjectMissingError: nothing is published.
            DigestMismatchError: what is published is not what its record describes.
        """
        found = self._published()
        if found is None or found.record is None:
            raise ObjectMissingError(f"{self.record_uri}: wanted the record of a published result, found none")
        record = found.record
        with atomic_path(self.local_result) as scratch:
            fetched = get(self.uri, scratch, on_bytes=progress.add_bytes)
            if fetched.sha256 != record["result"]["sha256"]:
                raise DigestMismatchError(
                    f"{self.uri}: wanted sha256 {record['result']['sha256']} as its record says, "
                    f"found {fetched.sha256}; it was replaced meanwhile, run it again"
                )
        write_record(self.local_result, record)
        logger.info("%s: fetched from %s, where it was published", self.local_result, self.uri)

    def stylize(self) -> Stylize:
        """The task that makes the result, and says as this one where it lies."""
        made: Stylize = self.clone(Stylize)
        made.set_tracking_url = self.set_tracking_url
        return made

    def _published(self) -> PublishedResult | None:
        uris = {name: source.uri for name, source in self.requires().items()}
        return published_record(self.uri, uris=uris)
