"""Removal of a file or dataset of the mirror, with every result and trained model that was made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csci_utils.folder_copy import remove_folder_copy
from csci_utils.io import read_record, record_path, sha256_of
from csci_utils.luigi.failure import ExitStatus
from csci_utils.s3 import S3Uri, delete
from pipeline import settings
from pipeline.checkpoints import checkpoints_of, remove_checkpoints
from pipeline.errors import PipelineError
from pipeline.folders import DATASETS, SAVED_MODELS
from pipeline.records import find_file, stylized_folder
from pipeline.results import results_below, sources_in
from pipeline.tasks.train_request import read_training, training_of
from pipeline.trained import trained_models

Tell = Callable[[str], None]


class CannotRemoveError(PipelineError):
    """What was named is none of this program's files."""


def remove_with_results(names: Sequence[str], *, published: bool, dry_run: bool, tell: Tell) -> int:
    """Remove files and what was made from them.

    Args:
        names: Of files below the local root, and of datasets.
        published: Remove results from S3, too; pictures, styles, datasets and models stay there.
        dry_run: Only say what would be removed.
        tell: Called with each line for people.

    Returns:
        0.

    Raises:
        NoResultError: there is no such file.
        CannotRemoveError: it is not below the local root.
        S3Error: the store refused; what is not told as removed is still there.
    """
    if published and settings.current().offline:
        raise CannotRemoveError("--published removes results from S3, and --offline asks it nothing; leave one out")
    wanted = with_results(_find(name) for name in names)
    for path in wanted:
        if published and path.is_relative_to(stylized_folder()):
            _remove_published(path, dry_run=dry_run, tell=tell)
        if not dry_run:
            _remove(path)
        tell(f"{'would remove' if dry_run else 'removed'} {path}")
    return ExitStatus.OK


def with_results(paths: Iterable[Path]) -> list[Path]:
    """Files, and all results and models that were made from them, and from those; the last made come first."""
    found = dict.fromkeys(paths)
    made_from = _sources_of_results() | _sources_of_models()
    waiting = list(found)
    while waiting:
        path = waiting.pop()
        address = _address_of(path)
        # A result has become an input under another name. A picture of the same bytes is another picture.
        digest = sha256_of(path) if path.is_relative_to(stylized_folder()) else None
        for result, sources in made_from.items():
            if result not in found and any(each.is_of(address, digest) for each in sources):
                found[result] = None
                waiting.append(result)
    return list(reversed(found))


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What something was made from: an object, or all that lie below a dataset's address; these have no digest."""

    uri: str
    sha256: str | None = None

    def is_of(self, address: str, digest: str | None) -> bool:
        if self.sha256 is None:
            return f"{address}/".startswith(f"{self.uri.rstrip('/')}/")
        return self.uri == address or self.sha256 == digest


def _sources_of_results() -> dict[Path, list[_Origin]]:
    return {path: _origins(read_record(path) or {}) for path in results_below(stylized_folder())}


def _sources_of_models() -> dict[Path, list[_Origin]]:
    found = {}
    for path in trained_models():
        record = read_training(path) or {}
        uri = record.get("made_from", {}).get("dataset", {}).get("uri")
        found[path] = _origins(record) + ([_Origin(uri=uri)] if isinstance(uri, str) else [])
    return found


def _origins(record: Mapping[str, Any]) -> list[_Origin]:
    return [_Origin(uri=source.uri, sha256=source.sha256) for source in sources_in(record).values()]


def _find(name: str) -> Path:
    """The file that is meant, or the local copy of a dataset."""
    root = settings.current().local_root
    folder = root / name
    return folder if folder.parent == root / DATASETS and folder.is_dir() else _below_root(find_file(name))


def _remove(path: Path) -> None:
    """Remove a file, or a dataset, and what was kept for it."""
    root = settings.current().local_root
    if path.is_dir():
        remove_folder_copy(path)
        return
    if path.is_relative_to(root / SAVED_MODELS):  # the record first: without it the model counts as nobody's
        record_path(training_of(path)).unlink(missing_ok=True)
        remove_checkpoints(checkpoints_of(root, path.relative_to(root / SAVED_MODELS).as_posix()))
    path.unlink(missing_ok=True)
    record_path(path).unlink(missing_ok=True)


def _address_of(path: Path) -> str:
    """Where the object of a local file lies, as records name it."""
    current = settings.current()
    return f"{current.required_s3_root()}/{path.relative_to(current.local_root).as_posix()}"


def _below_root(path: Path) -> Path:
    root = settings.current().local_root
    if not path.is_relative_to(root) or any(part.startswith(".") for part in path.relative_to(root).parts):
        raise CannotRemoveError(f"{path} is no file of the mirror {str(root)!r}; only those are removed")
    return path


def _remove_published(path: Path, *, dry_run: bool, tell: Tell) -> None:
    """Remove the record first: without it the result counts as unpublished, whatever happens next."""
    uri = S3Uri.parse(_address_of(path))
    if not dry_run:
        delete(S3Uri(uri.bucket, str(record_path(uri.key))))
        delete(uri)
    tell(f"{'would remove' if dry_run else 'removed'} {uri}")
