"""What a published result was made from: its own metadata say it, or the record beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from csci_utils.io import record_path
from csci_utils.s3 import ObjectInfo, S3Uri, get_record, look
from pipeline.result_metadata import from_metadata


class PublishedResult(NamedTuple):
    """A published result.

    Attributes:
        info: The object.
        record: What it was made from; None where nothing says that.
    """

    info: ObjectInfo
    record: dict[str, Any] | None


def record_uri(uri: S3Uri) -> S3Uri:
    """Where the record of a published result lies, if it has one of its own: under the same relative key as here."""
    return S3Uri(uri.bucket, str(record_path(uri.key)))


def published_record(uri: S3Uri, *, uris: Mapping[str, S3Uri]) -> PublishedResult | None:
    """Look a published result up, and what it was made from; None where there is none.

    Its metadata, written with its bytes, come first: a record beside it may be of an older result.

    Args:
        uri: Of the result.
        uris: Where its ``image`` and ``model`` lie.

    Raises:
        S3Error: the store refused or did not answer.
    """
    stored = look(uri)
    if stored is None:
        return None
    info = stored.info
    record = from_metadata(stored.metadata, uris=uris, sha256=info.sha256, size_bytes=info.size_bytes)
    return PublishedResult(info, record or _record_beside(uri))


def _record_beside(uri: S3Uri) -> dict[str, Any] | None:
    record = get_record(record_uri(uri))
    sound = record is not None and isinstance(record.get("result"), dict) and "sha256" in record["result"]
    return record if sound else None
