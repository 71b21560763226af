"""Removal of a file below the mirror, with every result that was made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from csci_utils.io import read_record, record_path, sha256_of
from csci_utils.luigi.failure import ExitStatus
from csci_utils.s3 import S3Uri, delete
from pipeline import settings
from pipeline.errors import PipelineError
from pipeline.records import find_file, stylized_folder
from pipeline.results import results_below, sources_in

Tell = Callable[[str], None]


class CannotRemoveError(PipelineError):
    """What was named is none of this program's files."""


def remove_with_results(names: Sequence[str], *, published: bool, dry_run: bool, tell: Tell) -> int:
    """Remove files and what was made from them.

    Args:
        names: Of files below the local root.
        published: Remove results from S3, too; pictures, styles and models stay there.
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
    wanted = with_results(_below_root(find_file(name)) for name in names)
    for path in wanted:
        if published and path.is_relative_to(stylized_folder()):
            _remove_published(path, dry_run=dry_run, tell=tell)
        if not dry_run:
            path.unlink(missing_ok=True)
            record_path(path).unlink(missing_ok=True)
        tell(f"{'would remove' if dry_run else 'removed'} {path}")
    return ExitStatus.OK


def with_results(paths: Iterable[Path]) -> list[Path]:
    """Files, and after them all results that were made from them, and from those; the last made come first."""
    found = dict.fromkeys(paths)
    made_from = {path: sources_in(read_record(path) or {}).values() for path in results_below(stylized_folder())}
    waiting = list(found)
    while waiting:
        path = waiting.pop()
        address = _address_of(path)
        # A result has become an input under another name. A picture of the same bytes is another picture.
        digest = sha256_of(path) if path.is_relative_to(stylized_folder()) else None
        for result, sources in made_from.items():
            if result not in found and any(each.uri == address or each.sha256 == digest for each in sources):
                found[result] = None
                waiting.append(result)
    return list(reversed(found))


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
