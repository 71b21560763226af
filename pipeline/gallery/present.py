"""What S3 holds at present of what results were made from, as far as it tells."""

from __future__ import annotations

from collections.abc import Iterable

from csci_utils.luigi.listing import look_many
from csci_utils.s3 import (
    AccessRefusedError,
    ObjectInfo,
    ObjectUnreadableError,
    S3Uri,
    each,
    head,
)
from pipeline import settings
from pipeline.results import Source

_UNTOLD = (AccessRefusedError, ObjectUnreadableError)


def held_at(uris: Iterable[S3Uri]) -> dict[S3Uri, ObjectInfo]:
    """Tell what lies at those of the addresses at which something lies; nothing of those that S3 tells nothing of.

    Raises:
        S3Error: the store refused altogether, or did not answer.
    """
    wanted = list(dict.fromkeys(uris))
    try:
        return look_many(wanted)
    except _UNTOLD:
        return {uri: info for uri, info in zip(wanted, each(wanted, _head), strict=True) if info is not None}


def address_below(source: Source, folder: str) -> S3Uri | None:
    """The address of an input, where it lies below a folder of the S3 root in force; None for any other."""
    prefix = f"{settings.current().s3_root}/{folder}/"
    try:
        source.uri.encode()
    except UnicodeEncodeError:
        return None
    return S3Uri.parse(source.uri) if source.uri.startswith(prefix) and source.uri != prefix else None


def _head(uri: S3Uri) -> ObjectInfo | None:
    try:
        return head(uri)
    except _UNTOLD:
        return None
