"""What a gallery shows: results with what they were made from, wherever they lie, and what failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.io import read_record, record_path, sha256_of
from csci_utils.luigi.failure import describe_failure
from csci_utils.s3 import S3Uri
from pipeline import settings
from pipeline.folders import IMAGES, SAVED_MODELS, STYLIZED
from pipeline.names import check_name
from pipeline.records import NoResultError, stylized_folder
from pipeline.results import results_below, sha256_in, sources_in

NO_RECORD = "it has no record of what it was made from"
NOT_AS_MADE = "the file is not the one that was made"


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture of the mirror, whose bytes are to be had in one place or two.

    Attributes:
        folder: ``images`` or ``stylized``.
        name: Below that folder.
        sha256: Of its bytes; of an object as the record has it that names it, or, where none does, a text of its own.
        size_bytes: Their number, where it is known.
        path: Where it lies here, if it does.
        uri: Where it lies in S3, if it does and S3 may be asked.
    """

    folder: str
    name: str
    sha256: str
    size_bytes: int | None
    path: Path | None = None
    uri: S3Uri | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A result.

    Attributes:
        result: The styled picture.
        image: Name of the picture that was styled, below ``images/``.
        style: Name of the model that styled it, without its suffix.
        record: What the result was made from (`pipeline.results.make_record`); empty where nothing says so.
        changed_s: When the file was written here, seconds since 1970.
        seconds: How long the styling took.
        notes: What is to be known of it, each a sentence without its end.
    """

    result: PictureFile
    image: str
    style: str
    record: Mapping[str, Any]
    changed_s: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is not to be seen, and why.

    Attributes:
        image: Name of the picture, below ``images/``.
        style: Name of the model without its suffix; empty where the picture itself cannot be shown.
        reason: A sentence.
    """

    image: str
    style: str
    reason: str


@dataclass(kw_only=True)
class Found:
    """Results and failures, from one place or several."""

    entries: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def local_entries() -> Found:
    """Every result below the local root, with its record."""
    found = Found()
    for path in results_below(stylized_folder()):
        name = path.relative_to(stylized_folder()).as_posix()
        try:
            name.encode()
            found.entries.append(_entry(path, name))
        except UnicodeEncodeError:  # no page can link to it
            shown = name.encode(errors="replace").decode()
            found.failures.append(Failure(image=shown, style="", reason="its name is not valid Unicode; rename it"))
        except OSError as err:
            image, style = names_of(name, {})
            found.failures.append(Failure(image=image, style=style, reason=describe_failure(err).sentence))
    return found


def chosen(found: Found, names: Sequence[str]) -> Found:
    """Those of the results, with their failures, that a user names; all of them where none are named.

    Args:
        found: What there is.
        names: Of results, or of folders of results, below ``stylized/``; also as paths.

    Raises:
        NoResultError: a name stands for nothing that was found.
    """
    if not names:
        return found
    wanted = [_relative(name) for name in names]
    entries = [entry for entry in found.entries if _is_below(entry.result.name, wanted)]
    failures = [each for each in found.failures if _is_below(f"{each.style}/{each.image}", wanted)]
    known = [entry.result.name for entry in entries] + [f"{each.style}/{each.image}" for each in failures]
    for given, name in zip(names, wanted, strict=True):
        if not any(_is_below(each, [name]) for each in known):
            raise NoResultError(
                f"{given!r} is neither a result nor a folder of results below {str(stylized_folder())!r}; "
                "`python -m pipeline status` names them"
            )
    return Found(entries=entries, failures=failures)


def name_below(uri: str, folder: str) -> str | None:
    """The name that an object has below a folder of its S3 root, which need not be the one in force; None for none."""
    prefix = f"{settings.current().s3_root}/{folder}/"
    name = uri.removeprefix(prefix)
    if name == uri:
        _, _, name = f"/{S3Uri.parse(uri).key}".partition(f"/{folder}/")
    with contextlib.suppress(ValueError):
        return check_name(name, folder)
    return None


def _entry(path: Path, name: str) -> Entry:
    record = read_record(path) or {}
    stat = path.stat()
    image, style = names_of(name, record)
    sha256 = sha256_in(record)
    notes = () if record else (NO_RECORD,)
    if sha256 is None or not _is_as_recorded(path, record):
        found = sha256_of(path)
        notes = (*notes, NOT_AS_MADE) if record and found != sha256 else notes
        sha256 = found
    return Entry(
        result=PictureFile(folder=STYLIZED, name=name, sha256=sha256, size_bytes=stat.st_size, path=path),
        image=image,
        style=style,
        record=record,
        changed_s=int(stat.st_mtime),
        notes=notes,
    )


def _is_as_recorded(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether a file may be taken for the one its record describes without reading all of it.

    The record is written after the file: one that is older than its file is of another.
    """
    result, stat = record["result"], path.stat()
    return result.get("size_bytes") == stat.st_size and stat.st_mtime_ns <= record_path(path).stat().st_mtime_ns


def names_of(result: str, record: Mapping[str, Any]) -> tuple[str, str]:
    """The picture and the style that a result was made from, by name; without a record, as its own name has them."""
    sources = sources_in(record)
    image = name_below(sources["image"].uri, IMAGES) if "image" in sources else None
    model = name_below(sources["model"].uri, SAVED_MODELS) if "model" in sources else None
    style = "" if model is None else str(PurePosixPath(model).with_suffix(""))
    if not result.startswith(f"{style}/") or not style:
        style = result.partition("/")[0] if "/" in result else "?"
    return image or result.removeprefix(f"{style}/"), style


def _relative(name: str) -> str:
    """What a user names, as a name below ``stylized/``."""
    for start in (stylized_folder(), Path.cwd()):
        path = Path(start, name)
        if path.exists() and path.is_relative_to(stylized_folder()):
            return path.relative_to(stylized_folder()).as_posix()
    return name.strip("/")


def _is_below(name: str, wanted: Iterable[str]) -> bool:
    return any(name == each or each == "." or name.startswith(f"{each}/") for each in wanted)
