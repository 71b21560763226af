"""Results on this machine, found by what a user calls them, with what their records say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.io import read_record
from pipeline import settings
from pipeline.errors import PipelineError
from pipeline.folders import STYLIZED
from pipeline.results import RECORD_FORMAT, Parameters, Source, parameters_in, sources_in


class NoResultError(PipelineError):
    """What was named is no result of this program."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A result and its record.

    Attributes:
        path: Of the result.
        sources: What it was made from: ``image`` and ``model``.
        parameters: What else changed its pixels.
        made_by: Engine, precision, arithmetic, device, threads, and the bands of a picture that was made in bands.
        sha256: Of the file that was made.
        record: All of it.
    """

    path: Path
    sources: dict[str, Source]
    parameters: Parameters
    made_by: dict[str, Any]
    sha256: str
    record: dict[str, Any]


def stylized_folder() -> Path:
    """Where the results lie."""
    return settings.current().local_root / STYLIZED


def find_file(name: str) -> Path:
    """The file that a user means: a path, or a name below ``stylized/`` or the local root.

    Raises:
        NoResultError: there is none.
    """
    root = settings.current().local_root
    for path in (root / STYLIZED / name, root / name, Path(name).expanduser().absolute()):
        if path.is_file():
            return path
    raise NoResultError(f"{name!r} is no file here, nor below {str(root)!r}; `python -m pipeline status` names them")


def read_made(path: Path) -> Made:
    """Read the record of a result.

    Raises:
        NoResultError: it has none, or one that cannot be read.
    """
    record = read_record(path)
    if record is None or record.get("format") != RECORD_FORMAT:
        raise NoResultError(f"{path} has no record that says what it was made from; only results of this program do")
    sources, parameters, result = sources_in(record), parameters_in(record), record.get("result")
    sha256 = result.get("sha256") if isinstance(result, dict) else None
    made_by = record.get("made_by")
    threads = made_by.get("threads") if isinstance(made_by, dict) else None
    if set(sources) != {"image", "model"} or parameters is None or not isinstance(sha256, str):
        raise _not_whole(path)
    if not isinstance(made_by, dict) or not isinstance(threads, int) or threads < 0:
        raise _not_whole(path)
    return Made(path=path, sources=sources, parameters=parameters, made_by=made_by, sha256=sha256, record=record)


def _not_whole(path: Path) -> NoResultError:
    return NoResultError(f"{path} has a record that is not whole; make the result again")
