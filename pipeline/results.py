"""What a styled picture was made from, and whether that still holds (DESIGN rule 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.copies import CopyRecord
from csci_utils.io import read_record, sha256_of
from csci_utils.s3 import FetchedObject, ObjectInfo, S3Uri
from pipeline.names import model_file_name

RECORD_FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What changes the pixels of a result, besides its picture and model.

    Attributes:
        max_side: Longest edge in pixels that the picture was shrunk to, or None.
        quality: Of the lossy format that the result has, 1 to 100; None for a lossless one.
        precision: Asked for, or, of what is made, kept: one of `neural_style.contract.PRECISIONS`.
        algorithm: `neural_style.contract.ALGORITHM_VERSION` that made the result.
    """

    max_side: int | None
    quality: int | None
    precision: str
    algorithm: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """An input as a record keeps it.

    Attributes:
        uri: ``s3://bucket/key``.
        etag: As S3 gave it when the bytes were fetched.
        sha256: Of those bytes, hexadecimal.
        size_bytes: Their number.
        checked_by: What the fetched bytes were compared with (``csci_utils.s3.get``).
    """

    uri: str
    etag: str
    sha256: str
    size_bytes: int
    checked_by: str

    @classmethod
    def of_copy(cls, copy: CopyRecord) -> Source:
        """That of a local copy."""
        return cls(
            uri=copy.uri, etag=copy.etag, sha256=copy.sha256, size_bytes=copy.size_bytes, checked_by=copy.checked_by
        )

    @classmethod
    def of_object(cls, got: FetchedObject) -> Source:
        """That of an object that was fetched."""
        return cls(
            uri=str(got.info.uri),
            etag=got.info.etag,
            sha256=got.sha256,
            size_bytes=got.info.size_bytes,
            checked_by=got.checked_by,
        )

    @classmethod
    def from_record(cls, found: object) -> Source | None:
        """Read one back; None where the record holds something else."""
        if not isinstance(found, dict) or found.keys() != cls.__dataclass_fields__.keys():
            return None
        if not all(isinstance(value, str) for name, value in found.items() if name != "size_bytes"):
            return None
        try:
            S3Uri.parse(found["uri"])
        except ValueError:
            return None
        return cls(**found)


def result_name(image: str, model: str, *, max_side: int | None, suffix: str) -> str:
    """Where a result lies below ``stylized/``.

    Args:
        image: Name of the picture below ``images/``; its folders are kept.
        model: Name of the model below ``saved_models/``; its suffix is not.
        max_side: Part of the name when given.
        suffix: Of the result's format, dot included.
    """
    picture = PurePosixPath(image)
    stem = picture.stem if max_side is None else f"{picture.stem}@{max_side}"
    return str(results_folder(model) / picture.parent / f"{stem}{suffix}")


@lru_cache(maxsize=16)
def results_folder(model: str) -> PurePosixPath:
    """The folder of a model's results below ``stylized/``; kept, since thousands of names are put together with it."""
    return PurePosixPath(model_file_name(model)).with_suffix("")


def reason_to_make(
    result: Path, *, inputs: Mapping[str, ObjectInfo], parameters: Parameters, forced: str = ""
) -> str | None:
    """Why `result` has to be made (again), in a few words; None when it still holds.

    Args:
        result: The styled picture's path; its record lies beside it.
        inputs: ``image`` and ``model`` as S3 holds them now.
        parameters: Those wanted now.
        forced: The token of a run that makes everything again; "" for any other.
    """
    if not result.is_file():
        return "not made yet"
    record = read_record(result)
    return reason_in_record(record, inputs=inputs, parameters=parameters, forced=forced) or changed_result(
        record or {}, result
    )


def reason_in_record(
    record: dict[str, Any] | None, *, inputs: Mapping[str, ObjectInfo], parameters: Parameters, forced: str = ""
) -> str | None:
    """Why what a record describes is not what is wanted now, as `reason_to_make`; the file itself is not looked at."""
    if record is None or record.get("format") != RECORD_FORMAT:
        return "it has no record of what it was made from"
    if forced and record.get("forced") != forced:
        return "asked to make it again"
    return _changed_input(record, inputs) or _changed_parameter(record, parameters)


def is_precise_enough(found: object, wanted: object) -> bool:
    """Whether a result of one precision does where another is asked for: what is made ``float32`` is ``fast``, too."""
    return found == wanted or (found, wanted) == ("float32", "fast")


def precision_in(record: Mapping[str, Any]) -> object:
    """The precision that a record gives its result; None without one."""
    parameters = record.get("parameters")
    return parameters.get("precision") if isinstance(parameters, dict) else None


def sha256_in(record: Mapping[str, Any]) -> str | None:
    """The digest that a record gives its result; None without one that reads as one."""
    result = record.get("result")
    found = result.get("sha256") if isinstance(result, dict) else None
    return found if isinstance(found, str) and _SHA256.fullmatch(found) else None


def make_record(
    result: Path,
    *,
    inputs: Mapping[str, Source],
    parameters: Parameters,
    made_by: Mapping[str, Any],
    forced: str = "",
) -> dict[str, Any]:
    """The record of a finished result.

    Args:
        result: The file in its final place or about to be moved there.
        inputs: ``image`` and ``model``, with the digests of the bytes that were used.
        parameters: What else was asked for and changed the pixels.
        made_by: `neural_style.stylize.Styled.made_by`. Its precision is the result's, whichever was asked for; the rest
            is kept for the reader, and never a reason to make a result again.
        forced: The token of a run that made everything again.
    """
    record = {
        "format": RECORD_FORMAT,
        "made_from": {name: asdict(source) for name, source in inputs.items()},
        "parameters": asdict(parameters) | {"precision": made_by["precision"]},
        "made_by": dict(made_by),
        "result": {"sha256": sha256_of(result), "size_bytes": result.stat().st_size},
    }
    return record | ({"forced": forced} if forced else {})


def results_below(folder: Path) -> list[Path]:
    """Every result below a folder, in order; records and scratch files are none."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def sources_in(record: Mapping[str, Any]) -> dict[str, Source]:
    """What a record says its result was made from, by role; what cannot be read is left out."""
    made_from = record.get("made_from")
    found = made_from.items() if isinstance(made_from, dict) else ()
    sources = {name: Source.from_record(each) for name, each in found}
    return {name: source for name, source in sources.items() if source is not None}


def parameters_in(record: Mapping[str, Any]) -> Parameters | None:
    """The parameters that a result was made with; None where the record holds something else."""
    found = record.get("parameters")
    if not isinstance(found, dict) or set(found) != {field.name for field in fields(Parameters)}:
        return None
    numbers = [found[name] for name in ("max_side", "quality", "algorithm") if found[name] is not None]
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers)
    sound = whole and found["algorithm"] is not None and isinstance(found["precision"], str)
    return Parameters(**found) if sound and (found["quality"] or 1) <= 100 else None


def _changed_input(record: dict[str, Any], inputs: Mapping[str, ObjectInfo]) -> str | None:
    made_from = record.get("made_from")
    for name, now in inputs.items():
        then = Source.from_record(made_from.get(name)) if isinstance(made_from, dict) else None
        if then is None:
            return f"its record does not say which {name} it was made from"
        if now.sha256 is not None:
            if now.sha256 != then.sha256 and str(now.uri) != then.uri:
                return f"{name} changed: {then.uri} -> {now.uri}"
            if now.sha256 != then.sha256:
                return f"{name} changed: sha256 {then.sha256[:12]} -> {now.sha256[:12]}"
        elif (str(now.uri), now.etag) != (then.uri, then.etag):
            return f"{name} changed: {then.uri} etag {then.etag} -> {now.uri} etag {now.etag}"
    return None


def _changed_parameter(record: dict[str, Any], wanted: Parameters) -> str | None:
    made_with = record.get("parameters")
    for name, value in vars(wanted).items():
        found = made_with.get(name) if isinstance(made_with, dict) else None
        if not (is_precise_enough(found, value) if name == "precision" else found == value):
            return f"{name} changed: {found} -> {value}"
    return None


def changed_result(record: Mapping[str, Any], result: Path) -> str | None:
    """Why a file is not the one that its record describes, in a few words; None when it is."""
    made = record.get("result")
    if not isinstance(made, dict) or made.get("size_bytes") != result.stat().st_size:
        return "the file is not the one that was made"
    return None if made.get("sha256") == sha256_of(result) else "the file is not the one that was made"
