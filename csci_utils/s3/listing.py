"""What lies under a prefix, one request a page."""

from __future__ import annotations

from collections.abc import Iterator

from csci_utils.s3.backend import ObjectInfo, backend
from csci_utils.s3.uri import S3Uri


def list_objects(prefix: S3Uri) -> Iterator[ObjectInfo]:
    """Give the objects whose keys begin with a prefix's key, as the store sorts them; a page is asked for when needed.

    A listing tells no metadata: ``sha256`` is None in all of them. A prefix is no folder: that of ``images`` is
    ``images/``.

    Raises:
        BucketMissingError: there is no such bucket.
    """
    token = None
    while True:
        page = backend().list_page(prefix, token=token)
        yield from page.infos
        token = page.token
        if token is None:
            return
