"""Files of a user's go into the bucket: whole, with their digests, and never over other bytes unasked."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from csci_utils.copies import push
from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.manifest import FLAG
from csci_utils.s3 import S3Uri, each, head, sweep_uploads
from pipeline import progress, settings
from pipeline.errors import CannotPutError
from pipeline.folders import DATASETS, IMAGES, SAVED_MODELS, STYLES
from pipeline.names import check_dataset_name, check_name
from pipeline.plan import MODEL_SUFFIXES
from pipeline.put_dataset import put_dataset

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Sending:
    path: Path
    uri: S3Uri


def put_files(files: Sequence[Path], *, folder: str | None, replace: bool, tell: Tell) -> int:
    """Put files into S3, several at once; what S3 holds already is left alone.

    Args:
        files: On this machine; also one folder, which becomes a dataset as a whole.
        folder: ``images``, ``saved_models``, ``styles`` or ``datasets/NAME``; None chooses by suffix.
        replace: Also in place of other bytes.
        tell: Called with each line for people.

    Returns:
        The exit status; where several things went wrong, the highest.

    Raises:
        CannotPutError: a file is none, or nobody can tell where it goes; nothing was sent.
    """
    if settings.current().offline:
        raise CannotPutError("put sends files to S3, and --offline asks it nothing; leave --offline out")
    dataset = _dataset_in(folder) if folder is not None else None
    if dataset is not None and len(files) == 1 and files[0].is_dir():
        return put_dataset(files[0], dataset, replace=replace, tell=tell)
    sendings = _sendings(files, folder=folder)
    if dataset is not None:
        _refuse_to_add(sendings)
    journal = settings.current().journal
    sweep_uploads(journal)
    total_bytes = sum(sending.path.stat().st_size for sending in sendings)
    with progress.shown(total_bytes=total_bytes, total_pictures=0, moved="sent"):
        return max(each(sendings, lambda sending: _send(sending, replace=replace, journal=journal, tell=tell)))


def _send(sending: _Sending, *, replace: bool, journal: Path, tell: Tell) -> ExitStatus:
    try:
        sent = push(sending.path, sending.uri, replace=replace, on_bytes=progress.add_bytes, journal=journal)
    except OSError as err:
        failure = describe_failure(err)
        tell(f"error: {failure.sentence}")
        return failure.status
    tell(f"{'put' if sent else 'up to date'} {sending.uri}")
    return ExitStatus.OK


def _sendings(files: Sequence[Path], *, folder: str | None) -> list[_Sending]:
    root = S3Uri.parse(settings.current().required_s3_root())
    by_uri: dict[S3Uri, _Sending] = {}
    for path in files:
        if not path.is_file():
            a_folder = f"a folder; name the files in it, or put it by itself, as a whole, with --as {DATASETS}/NAME"
            what = a_folder if path.is_dir() else "no file; check its name"
            raise CannotPutError(f"{str(path)!r} cannot be put into S3: it is {what}")
        if path.stat().st_size == 0:
            raise CannotPutError(f"{str(path)!r} cannot be put into S3: it is empty; write it again, then put it")
        place = checked_folder(folder) if folder is not None else _folder_of(path)
        sending = _Sending(path, root.joined(f"{place}/{check_name(path.name, 'file')}"))
        other = by_uri.setdefault(sending.uri, sending)
        if other is not sending and not other.path.samefile(path):
            raise CannotPutError(f"{str(other.path)!r} and {str(path)!r} would both become {sending.uri}; rename one")
    return list(by_uri.values())


def _dataset_in(folder: str) -> str | None:
    """Return the name of the dataset that a folder below the S3 root is, if it is one."""
    kind, _, name = checked_folder(folder).partition("/")
    return name if kind == DATASETS else None


def _refuse_to_add(sendings: Sequence[_Sending]) -> None:
    """Raise where a file would lie below a dataset and not belong to it: that is what its manifest says."""
    flag = S3Uri(sendings[0].uri.bucket, f"{sendings[0].uri.key.rpartition('/')[0]}/{FLAG}")
    if head(flag) is not None:
        raise CannotPutError(
            f"{str(sendings[0].path)!r} cannot be added to a dataset by itself: {flag} says what belongs to it; "
            "put the folder with all its pictures"
        )


def checked_folder(folder: str) -> str:
    """Return a folder below the S3 root, if files may go there.

    Raises:
        CannotPutError: they may not.
    """
    kind, _, name = folder.strip("/").partition("/")
    if kind in (IMAGES, SAVED_MODELS, STYLES) and name:
        check_name(name, "folder")
    elif kind == DATASETS and name:
        check_dataset_name(name)
    elif kind not in (IMAGES, SAVED_MODELS, STYLES):
        raise CannotPutError(
            f"--as wants {IMAGES}, {SAVED_MODELS}, {STYLES} or {DATASETS}/NAME, found {folder!r}; choose one of them"
        )
    return str(PurePosixPath(kind, name))


def _folder_of(path: Path) -> str:
    """Choose by suffix."""
    if path.suffix.lower() in MODEL_SUFFIXES:
        return SAVED_MODELS
    if (mimetypes.guess_type(path.name, strict=False)[0] or "").startswith("image/"):
        return IMAGES
    raise CannotPutError(
        f"{str(path)!r} is neither a picture nor a model by its suffix; say where it goes with --as {IMAGES}, "
        f"{SAVED_MODELS}, {STYLES} or {DATASETS}/NAME"
    )
