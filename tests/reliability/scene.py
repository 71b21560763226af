"""What one trial plays in: a store, a proxy before it, one object, and one file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from csci_utils.s3 import S3Uri
from tests.servers.proxy import FaultProxy
from tests.servers.stores import Store

MIB = 1024 * 1024
SIZES = {"1 MiB": MIB, "20 MiB": 20 * MIB}
BIG = "20 MiB"
KEY = "saved_models/mosaic.pth"
OLD = b"what was there before"


@cache
def body_of(size: str) -> bytes:
    """The object's right bytes: the same each time, with no two stretches alike."""
    return hashlib.shake_256(size.encode()).digest(SIZES[size])


@dataclass(frozen=True)
class Scene:
    """The surroundings of one trial.

    Attributes:
        store: where the object goes to or comes from.
        proxy: on the way there; the tested code knows no other way.
        bucket: of the object.
        size: of the object, by name.
        folder: an empty one, for the file.
    """

    store: Store
    proxy: FaultProxy
    bucket: str
    size: str
    folder: Path

    @property
    def uri(self) -> S3Uri:
        """Where the object lies."""
        return S3Uri(self.bucket, KEY)

    @property
    def body(self) -> bytes:
        """The object's right bytes."""
        return body_of(self.size)

    def remove_object(self) -> None:
        """Remove what is there."""
        self.store.plain.delete_object(Bucket=self.bucket, Key=KEY)

    def remove_bucket(self) -> None:
        """Remove all that is there."""
        self.store.remove_bucket(self.bucket)

    def abort_uploads(self) -> None:
        """Give up every multipart upload, as somebody else might."""
        for each in self.store.plain.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()):
            self.store.plain.abort_multipart_upload(Bucket=self.bucket, Key=each["Key"], UploadId=each["UploadId"])


def right_object(store: Store, *, size: str, with_digest: bool) -> str:
    """Put the right bytes into a new bucket, with our digest or as others would, and return its name."""
    bucket, body = store.new_bucket(), body_of(size)
    metadata = {"sha256": hashlib.sha256(body).hexdigest()} if with_digest else {}
    store.plain.put_object(Bucket=bucket, Key=KEY, Body=body, Metadata=metadata)
    return bucket


def old_object(store: Store) -> str:
    """Put other bytes into a new bucket, and return its name."""
    bucket = store.new_bucket()
    store.plain.put_object(Bucket=bucket, Key=KEY, Body=OLD)
    return bucket
