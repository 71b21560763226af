"""By what a body that arrives is checked: our own digest, else what the store offers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from csci_utils.s3.errors import DigestMismatchError

SHA256_METADATA = "sha256"
"""The name of the metadata under which an object carries the sha256 of its bytes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")


def sha256_in(answer: Mapping[str, Any]) -> str | None:
    """Return the sha256 that an object carries as metadata, None when it carries none that reads as one."""
    text = str(answer.get("Metadata", {}).get(SHA256_METADATA, "")).strip().lower()
    return text if _SHA256.fullmatch(text) else None


def etag_in(answer: Mapping[str, Any]) -> str:
    """Return an answer's ETag without its quotes."""
    return str(answer.get("ETag", "")).strip('"')


def md5_in(answer: Mapping[str, Any]) -> str | None:
    """Return the ETag where it is the MD5 of the bytes: a single part, not encrypted with keys of KMS or the user's."""
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or answer.get("SSECustomerAlgorithm")
    etag = etag_in(answer).lower()
    return etag if not encrypted and _MD5.fullmatch(etag) else None


class BodyCheck:
    """Takes the bytes of one body as they come, and says at the end what they were checked by."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self._answer = answer
        self._wanted_sha256 = sha256_in(answer)
        self._wanted_md5 = None if self._wanted_sha256 else md5_in(answer)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if self._wanted_md5 else None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)

    @property
    def sha256(self) -> str:
        """The digest of what was taken so far."""
        return self._sha256.hexdigest()

    def finish(self) -> str:
        """Compare, and name what was compared: "sha256", "etag", a stored checksum like "crc32", or "size".

        Stored checksums are compared by botocore while it reads (it raises `FlexibleChecksumError`); their names are
        left here. The length was compared by the reader.

        Raises:
            DigestMismatchError: the bytes are not those that were stored.
        """
        if self._wanted_sha256:
            _compare("sha256", wanted=self._wanted_sha256, found=self.sha256)
            return "sha256"
        if self._md5 is not None and self._wanted_md5:
            _compare("MD5 (its ETag)", wanted=self._wanted_md5, found=self._md5.hexdigest())
            return "etag"
        return _stored_checksum(self._answer) or "size"


def _compare(name: str, *, wanted: str, found: str) -> None:
    if wanted != found:
        raise DigestMismatchError(f"the store says {name} {wanted}, the bytes that came have {found}")


def _stored_checksum(answer: Mapping[str, Any]) -> str | None:
    """Name the stored checksum that botocore compared: it wraps the body in a class of its own when it does."""
    checksum = getattr(answer.get("Body"), "checksum", None)
    if checksum is None:
        return None
    return type(checksum).__name__.lower().removeprefix("crt").removesuffix("checksum")
