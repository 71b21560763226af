"""What lies under a prefix, one request a page."""

from __future__ import annotations

from collections.abc import Iterator

from csci_utils.s3.backend import ObjectInfo, backend
from csci_utils.s3.uri import S3Uri


def list_objects(prefix: S3Uri, *, after: S3Uri | None = None, first_keys: int | None = None) -> Iterator[ObjectInfo]:
    """Give the objects whose keys begin with a prefix's key, as the store sorts them; a page is asked for when needed.

    A listing tells no metadata: ``sha256`` is None in all of them. A prefix is no folder: that of ``images`` is
    ``images/``.

    Args:
        prefix: what all the keys begin with.
        after: leave out this key and what sorts before it, by its UTF-8; it need not be there. What is left out costs
            nothing.
        first_keys: how many the first page is to hold at most; all others hold what the store gives, a thousand mostly.

    Raises:
        BucketMissingError: there is no such bucket.
    """
    page = backend().list_page(prefix, after=after, max_keys=first_keys)
    yield from page.infos
    while page.token is not None:
        page = backend().list_page(prefix, token=page.token)
        yield from page.infos
