"""The manifest of a shard: a line for each of its pictures, which is the record of its result, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from csci_utils.s3 import ObjectMissingError, S3Uri, get_text, put_text
from pipeline.results import sha256_in

Line = Mapping[str, Any]

OF_PICTURE, PASSING = "picture", "passing"
"""Kinds of errors: one that the same picture gives each time, and one that the next run may not meet."""

_KEYS_OF_RECORD = ("format", "made_from", "parameters", "made_by", "forced")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What became of a shard's pictures.

    A line holds ``image`` and ``seconds`` and either the record of the result (`pipeline.results.make_record`), with
    the result's ``name`` below ``stylized/`` and its ``etag`` in ``result``; or an ``error`` with ``kind`` and
    ``sentence``, and what is known of ``made_from``.

    Attributes:
        lines: By the picture's name; a run that ended early wrote only some.
    """

    lines: Mapping[str, Line] = field(default_factory=dict)

    @property
    def made(self) -> dict[str, Line]:
        """The lines of results."""
        return {image: line for image, line in self.lines.items() if "result" in line}

    @property
    def failed(self) -> dict[str, Line]:
        """The lines of pictures that failed."""
        return {image: line for image, line in self.lines.items() if "error" in line}

    def to_text(self) -> str:
        """JSON lines, by name."""
        lines = (self.lines[image] for image in sorted(self.lines))
        return "".join(f"{json.dumps(line, ensure_ascii=False, sort_keys=True)}\n" for line in lines)


def made_line(image: str, record: Mapping[str, Any], *, name: str, etag: str, seconds: float) -> Line:
    """The line of a result.

    Args:
        image: Name of the picture.
        record: Of the result.
        name: Of the result below ``stylized/``.
        etag: Of the result's object.
        seconds: That its styling took, decoding and encoding included.
    """
    return {
        "image": image,
        "seconds": round(seconds, 3),
        **record,
        "result": {**record["result"], "name": name, "etag": etag},
    }


def record_of(line: Line) -> dict[str, object]:
    """The record of a result by its line."""
    result = {name: line["result"][name] for name in ("sha256", "size_bytes")}
    return {name: line[name] for name in _KEYS_OF_RECORD if name in line} | {"result": result}


def failed_line(
    image: str,
    *,
    kind: str,
    sentence: str,
    made_from: Mapping[str, Any],
    parameters: Mapping[str, Any],
    max_pixels: int,
) -> Line:
    """The line of a picture that failed.

    Args:
        image: Its name.
        kind: `OF_PICTURE` or `PASSING`.
        sentence: What was wrong.
        made_from: What is known of picture and model.
        parameters: What was asked for.
        max_pixels: The limit in force.
    """
    return {
        "image": image,
        "max_pixels": max_pixels,
        "error": {"kind": kind, "sentence": sentence},
        "made_from": dict(made_from),
        "parameters": dict(parameters),
    }


def parse_manifest(text: str) -> Manifest:
    """Read a manifest; lines that are none are left out, so that their pictures are looked at anew."""
    return Manifest(lines={line["image"]: line for line in _lines_in(text)})


def read_manifest(uri: S3Uri) -> Manifest | None:
    """Fetch a manifest; None where there is none.

    Raises:
        S3Error: the store refused or did not answer.
    """
    try:
        return parse_manifest(get_text(uri))
    except ObjectMissingError:
        return None


def write_manifest(uri: S3Uri, manifest: Manifest) -> None:
    """Put a manifest into S3, whole, in place of an older one.

    Raises:
        S3Error: the store refused or did not answer.
    """
    put_text(manifest.to_text(), uri, content_type="application/x-ndjson")


def _lines_in(text: str) -> Iterable[Line]:
    for row in text.split("\n"):  # not at all that str.splitlines takes for an end: names hold some of it
        try:
            line = json.loads(row) if row else None
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("image"), str) and _is_sound(line):
            yield line


def _is_sound(line: Mapping[str, Any]) -> bool:
    result, error = line.get("result"), line.get("error")
    if isinstance(result, dict) and "error" not in line:
        return sha256_in(line) is not None and all(isinstance(result.get(name), str) for name in ("name", "etag"))
    if isinstance(error, dict) and "result" not in line:
        return all(isinstance(error.get(name), str) for name in ("kind", "sentence"))
    return False
