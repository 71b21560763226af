"""A folder of pictures goes into the bucket as a dataset: what S3 holds already stays, the manifest comes last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from csci_utils.copies import ObjectDiffersError
from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.remote_update import FolderUpdate
from csci_utils.s3 import S3Uri, sweep_uploads
from neural_style.picture_set import dataset_files
from pipeline import progress, settings
from pipeline.errors import CannotPutError
from pipeline.folders import DATASETS
from pipeline.names import check_dataset_name, check_name

Tell = Callable[[str], None]


def put_dataset(folder: Path, name: str, *, replace: bool, tell: Tell) -> ExitStatus:
    """Make the pictures and tar shards below a folder a dataset in S3; an older one is whole until the new one is.

    Args:
        folder: On this machine; what begins with a dot, and other files, are left out.
        name: Of the dataset.
        replace: Also where pictures of the dataset have other bytes by now, or would go.
        tell: Called with each line for people.

    Returns:
        The exit status.

    Raises:
        CannotPutError: there is nothing to put, or something that cannot be; nothing was sent.
    """
    root = S3Uri.parse(settings.current().required_s3_root()).joined(f"{DATASETS}/{check_dataset_name(name)}")
    files = _files(folder)
    total_bytes = sum(path.stat().st_size for path in files.values())
    try:
        update = FolderUpdate(files, root)
        if not replace:
            _refuse_to_replace(update, folder)
        sweep_uploads(settings.current().journal)
        with progress.shown(total_bytes=total_bytes, total_pictures=0, moved="sent"):
            update.carry_out(on_bytes=progress.add_bytes, journal=settings.current().journal)
    except OSError as err:
        failure = describe_failure(err)
        tell(f"error: {failure.sentence}")
        return failure.status
    tell(_summary(update))
    return ExitStatus.OK


def _files(folder: Path) -> dict[str, Path]:
    files = dataset_files(folder)
    if not files:
        raise CannotPutError(
            f"{str(folder)!r} cannot be put into S3: no pictures in it, such as .jpg or .png, and no .tar of them; "
            "name the folder that they lie in"
        )
    for name, path in files.items():
        check_name(name, "picture")
        if path.stat().st_size == 0:
            raise CannotPutError(f"{str(path)!r} cannot be put into S3: it is empty; write it again, or remove it")
    return files


def _refuse_to_replace(update: FolderUpdate, folder: Path) -> None:
    """Raise where something in S3 would be lost that the folder does not have."""
    replaced, removed = update.replaced, update.removed
    if not replaced and not removed:
        return
    examples = ", ".join(repr(name) for name in [*replaced, *removed][:3])
    raise ObjectDiffersError(
        f"{update.root}: wanted to put {folder} there: {len(replaced)} files would be replaced and {len(removed)} "
        f"removed, such as {examples}; use --replace, or another name"
    )


def _summary(update: FolderUpdate) -> str:
    num_files, num_sent = len(update.manifest.entries), len(update.to_send)
    if update.is_current:
        return f"up to date {update.root}: {num_files} files"
    parts = [f"{num_sent} sent", f"{num_files - num_sent} there already"]
    parts += [f"{len(update.replaced)} of them in place of others"] if update.replaced else []
    parts += [f"{len(update.removed)} removed"] if update.removed else []
    return f"put {update.root}: {num_files} files, {', '.join(parts)}"
