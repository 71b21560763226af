"""A result's record as metadata of its object: one HEAD tells what it was made from, one PUT writes both.

Values are ASCII and at most 256 bytes each, which is what stores take (Swift no more).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from csci_utils.s3 import S3Uri
from pipeline.results import RECORD_FORMAT, Source, parameters_in, sources_in

LONGEST_BYTES = 256

_FORMAT, _IMAGE, _MODEL, _PARAMETERS, _MADE_BY, _FORCED = (
    "record",
    "made-from-image",
    "made-from-model",
    "parameters",
    "made-by",
    "forced",
)
_MADE_BY_FIRST = ("engine", "engine_version", "precision", "arithmetic", "device", "threads")


def to_metadata(record: Mapping[str, Any]) -> dict[str, str]:
    """A record (`pipeline.results.make_record`) as metadata, without the addresses, which its reader knows.

    Of how it was made only the beginning is told where all is too long.

    Raises:
        ValueError: something else is too long.
    """
    made_by = record["made_by"]
    if len(_text(made_by)) > LONGEST_BYTES:
        made_by = {name: made_by[name] for name in _MADE_BY_FIRST if name in made_by}
    metadata = {
        _FORMAT: _text(record["format"]),
        **{key: _text(_without_uri(record["made_from"][name])) for key, name in ((_IMAGE, "image"), (_MODEL, "model"))},
        _PARAMETERS: _text(record["parameters"]),
        _MADE_BY: _text(made_by),
    }
    if "forced" in record:
        metadata[_FORCED] = record["forced"]
    if longest := next((key for key, value in metadata.items() if len(value) > LONGEST_BYTES), None):
        raise ValueError(f"{longest}: wanted at most {LONGEST_BYTES} bytes of metadata, found {metadata[longest]!r}")
    return metadata


def from_metadata(
    metadata: Mapping[str, str], *, uris: Mapping[str, S3Uri], sha256: str | None, size_bytes: int
) -> dict[str, Any] | None:
    """The record of a result by its object's metadata; None where that holds none, or something else.

    Args:
        metadata: Of the object.
        uris: Where ``image`` and ``model`` lie that it is asked about; whether it was made from these is told by ETag
            and digest.
        sha256: Of the result's bytes, as the object carries it.
        size_bytes: Of the result.
    """
    texts = {key: metadata.get(key, "") for key in (_FORMAT, _IMAGE, _MODEL, _PARAMETERS, _MADE_BY)}
    try:
        found = {key: json.loads(text) for key, text in texts.items()}
    except (ValueError, RecursionError):
        return None
    if sha256 is None or found[_FORMAT] != RECORD_FORMAT or not isinstance(found[_MADE_BY], dict):
        return None
    record = {
        "format": RECORD_FORMAT,
        "made_from": {
            name: {"uri": str(uris[name]), **found[key]} if isinstance(found[key], dict) else None
            for key, name in ((_IMAGE, "image"), (_MODEL, "model"))
        },
        "parameters": found[_PARAMETERS],
        "made_by": found[_MADE_BY],
        "result": {"sha256": sha256, "size_bytes": size_bytes},
    }
    if len(sources_in(record)) < len(uris) or parameters_in(record) is None:
        return None
    return record | ({"forced": metadata[_FORCED]} if _FORCED in metadata else {})


def _without_uri(source: Mapping[str, Any]) -> dict[str, Any]:
    found = Source.from_record(dict(source))
    assert found is not None
    return {name: value for name, value in source.items() if name != "uri"}


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
