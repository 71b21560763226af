"""Small texts as objects, and records: JSON objects."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csci_utils.s3.errors import ObjectMissingError
from csci_utils.s3.transfer import get
from csci_utils.s3.upload import put
from csci_utils.s3.uri import S3Uri


def put_text(text: str, uri: S3Uri, *, content_type: str = "application/json") -> None:
    """Make a text an object, in UTF-8.

    Raises:
        S3Error: the store refused or failed.
    """
    with _scratch() as path:
        path.write_text(text, encoding="utf-8")
        put(path, uri, extra={"ContentType": content_type})


def get_text(uri: S3Uri) -> str:
    """Return the text of an object; what is no UTF-8 in it becomes U+FFFD.

    Raises:
        ObjectMissingError: there is none.
        S3Error: the store refused or failed.
    """
    return _get_bytes(uri).decode("utf-8", errors="replace")


def get_record(uri: S3Uri) -> dict[str, Any] | None:
    """Return the record that an object is; None when it is missing or not a JSON object in UTF-8.

    Raises:
        S3Error: the store refused or failed.
    """
    try:
        record = json.loads(_get_bytes(uri).decode("utf-8"))
    except (ObjectMissingError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _get_bytes(uri: S3Uri) -> bytes:
    with _scratch() as path:
        get(uri, path)
        return path.read_bytes()


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield the path of a small file that nobody else can read, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="text-") as folder:
        yield Path(folder, "text")
