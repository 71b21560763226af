"""The address of an object in S3."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_KEY_BYTES = 1024
"""What S3 takes, as UTF-8."""

_SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True, order=True)
class S3Uri:
    """A bucket and a key; an empty key is the bucket itself, a place to join relative keys to."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Read ``s3://bucket/key``; every character of the key counts, ``?`` and ``#`` too.

        Raises:
            ValueError: the text is something else.
        """
        if not text.startswith(_SCHEME):
            raise ValueError(f"wanted an address like s3://bucket/key, found {text!r}")
        bucket, _, key = text.removeprefix(_SCHEME).partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"wanted a bucket's name after s3://, found {bucket!r} in {text!r}")
        return cls(bucket, key)

    def joined(self, relative: str) -> S3Uri:
        """Return the address of a key below this one.

        Raises:
            ValueError: the relative key is empty or begins with a slash.
        """
        if not relative or relative.startswith("/"):
            raise ValueError(f"wanted a key relative to {self}, found {relative!r}")
        prefix = self.key.rstrip("/")
        return S3Uri(self.bucket, f"{prefix}/{relative}" if prefix else relative)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}"
