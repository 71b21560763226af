"""By what a body that arrives is checked: our own digest, else what the store offers."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from csci_utils.s3.backend import Stored
from csci_utils.s3.errors import DigestMismatchError

SHA256_METADATA = "sha256"
"""The name of the metadata under which an object carries the sha256 of its bytes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_OF_PARTS = re.compile(r"([0-9a-f]{32})-([0-9]{1,5})")


def sha256_in(metadata: Mapping[str, str]) -> str | None:
    """Return the sha256 that an object carries as metadata, None when it carries none that reads as one."""
    text = metadata.get(SHA256_METADATA, "").strip().lower()
    return text if _SHA256.fullmatch(text) else None


def etag_in(answer: Mapping[str, Any]) -> str:
    """Return an answer's ETag without its quotes."""
    return str(answer.get("ETag", "")).strip('"')


def md5_in(stored: Stored) -> str | None:
    """Return the ETag where it is the MD5 of the bytes: a single part, not encrypted with keys of KMS or the user's."""
    etag = stored.info.etag.lower()
    return etag if stored.etag_is_digest and _MD5.fullmatch(etag) else None


def num_parts_in(stored: Stored) -> int | None:
    """Return of how many parts' MD5s the ETag is the MD5, None where it is something else."""
    found = _OF_PARTS.fullmatch(stored.info.etag.lower())
    return int(found[2]) if found and stored.etag_is_digest else None


def etag_of_parts(md5s: list[bytes]) -> str:
    """Return the ETag of an object that was put together from parts of these MD5s."""
    return f"{new_md5(b''.join(md5s)).hexdigest()}-{len(md5s)}"


def new_md5(data: bytes = b"") -> Digest:
    """Begin an MD5, which names bytes here and guards nothing."""
    return hashlib.md5(data, usedforsecurity=False)


class Digest(Protocol):
    """What `hashlib` gives."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of what was taken."""
        ...

    def hexdigest(self) -> str:
        """Return it in hexadecimal."""
        ...


class PartDigests:
    """The digests of a body's parts, all but the last of one size.

    Args:
        part_bytes: how big a part is.
        new: begins the digest of a part.
    """

    def __init__(self, part_bytes: int, new: Callable[[], Digest]) -> None:
        self._part_bytes = part_bytes
        self._new = new
        self._done: list[bytes] = []
        self._part, self._taken_bytes = new(), 0

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            if self._taken_bytes == self._part_bytes:
                self._done.append(self._part.digest())
                self._part, self._taken_bytes = self._new(), 0
            now = view[: self._part_bytes - self._taken_bytes]
            self._part.update(now)
            self._taken_bytes += len(now)
            view = view[len(now) :]

    def digests(self) -> list[bytes]:
        """Return the digest of each part; at least one."""
        return [*self._done, self._part.digest()]


class BodyCheck:
    """Takes the bytes of one body as they come, and says at the end what they were checked by.

    Args:
        stored: what the store said of the object.
        part_bytes: how big its parts are, where it was put together from parts of one size, and that is known.
    """

    def __init__(self, stored: Stored, *, part_bytes: int | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._others: list[Callable[[bytes], object]] = []
        self._finish: Callable[[], str | None] = lambda: None
        md5, checksum = md5_in(stored), next((name for name in stored.checksums if name in _CHECKSUMS), None)
        if stored.info.sha256:
            wanted = stored.info.sha256
            self._finish = lambda: _compare("sha256", wanted=wanted, found=self.sha256, by="sha256")
        elif md5:
            self._by_md5(md5)
        elif checksum:
            self._by_checksum(checksum, stored.checksums[checksum])
        elif part_bytes is not None:
            self._by_parts(stored.info.etag.lower(), part_bytes)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(chunk)
        for update in self._others:
            update(chunk)

    @property
    def sha256(self) -> str:
        """The digest of what was taken so far."""
        return self._sha256.hexdigest()

    def finish(self) -> str | None:
        """Compare, and name what was compared: "sha256", "etag", "etag of parts" or a stored checksum like "crc32".

        Returns:
            None where there was nothing to compare with.

        Raises:
            DigestMismatchError: the bytes are not those that were stored.
        """
        return self._finish()

    def _by_md5(self, wanted: str) -> None:
        md5 = new_md5()
        self._others.append(md5.update)
        self._finish = lambda: _compare("MD5 (its ETag)", wanted=wanted, found=md5.hexdigest(), by="etag")

    def _by_parts(self, wanted: str, part_bytes: int) -> None:
        parts = PartDigests(part_bytes, new_md5)
        self._others.append(parts.update)
        self._finish = lambda: _compare(
            "MD5 of its parts' MD5s (its ETag)", wanted=wanted, found=etag_of_parts(parts.digests()), by="etag of parts"
        )

    def _by_checksum(self, name: str, wanted: str) -> None:
        checksum = _CHECKSUMS[name]()
        self._others.append(checksum.update)
        self._finish = lambda: _compare(
            name, wanted=wanted, found=base64.b64encode(checksum.digest()).decode(), by=name
        )


def can_check(stored: Stored) -> bool:
    """Tell whether there is more than an ETag of parts to compare an object's bytes with."""
    return bool(stored.info.sha256 or md5_in(stored) or set(stored.checksums) & set(_CHECKSUMS))


class Crc32:
    """CRC-32 as `hashlib` would have it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Return the checksum, the highest byte first."""
        return self._value.to_bytes(4, "big")

    def hexdigest(self) -> str:
        """Return it in hexadecimal."""
        return self.digest().hex()


_CHECKSUMS: dict[str, Callable[[], Digest]] = {
    "sha256": hashlib.sha256,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "crc32": Crc32,
}


def _compare(name: str, *, wanted: str, found: str, by: str) -> str:
    if wanted != found:
        raise DigestMismatchError(f"the store says {name} {wanted}, the bytes that came have {found}")
    return by
