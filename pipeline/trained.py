"""Models that were trained here, found by their records, and whether those still hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luigi.parameter import ParameterException

from csci_utils.io import record_path
from pipeline import settings
from pipeline.folders import DATASETS, SAVED_MODELS, STYLES
from pipeline.results import results_below
from pipeline.tasks.train import Train
from pipeline.tasks.train_request import read_training, training_of

_NO_RECORD = "it has no whole record of what it was trained from"


def is_trained(path: Path) -> bool:
    """Whether a file is a model that was trained here, or fetched with the record of its training."""
    return record_path(training_of(path)).is_file()


def trained_models() -> list[Path]:
    """Every such model below the local root, in order."""
    return [path for path in results_below(settings.current().local_root / SAVED_MODELS) if is_trained(path)]


def why_trained_again(path: Path) -> str | None:
    """Why a trained model would be trained again, were it asked for as it was then; None when it holds.

    Raises:
        OSError: the store refused or did not answer, or the dataset's manifest cannot be read.
    """
    record = read_training(path)
    if record is None:
        return _NO_RECORD
    made_from = record["made_from"]
    style, dataset = _name_of(made_from["style"], STYLES), _name_of(made_from["dataset"], DATASETS)
    if style is None or dataset is None:
        return f"it was trained from other places than {settings.current().required_s3_root()}"
    try:
        task = _task(path, style=style, dataset=dataset, parameters=record["parameters"])
    except (TypeError, ValueError, ParameterException):  # names, numbers, fields that no record of ours has
        return _NO_RECORD
    return task.reason_to_train()


def _task(path: Path, *, style: str, dataset: str, parameters: Mapping[str, Any]) -> Train:
    given = {name: value for name, value in parameters.items() if value is not None and name != "algorithm"}
    name = path.relative_to(settings.current().local_root / SAVED_MODELS).as_posix()
    task = Train(style=style, dataset=dataset, name=name, **given)
    task.config  # noqa: B018 -- which is checked here
    return task


def _name_of(source: Mapping[str, Any], folder: str) -> str | None:
    """Return what a source is called below its folder in the present S3 root; None where it lies elsewhere."""
    root, uri = f"{settings.current().required_s3_root()}/{folder}/", source.get("uri")
    return uri.removeprefix(root) if isinstance(uri, str) and uri.startswith(root) else None
