"""All tasks, so that `luigi --module pipeline.tasks TASK` finds each of them."""

from pipeline.tasks.batch import StylizeMany, StylizeShard
from pipeline.tasks.data import (
    ContentImage,
    DownloadImage,
    DownloadModel,
    DownloadStyle,
    SavedModel,
    StyleImage,
    UploadImage,
    UploadModel,
    UploadStyle,
)
from pipeline.tasks.dataset import Dataset, DownloadDataset
from pipeline.tasks.publish import UploadStylized
from pipeline.tasks.stylize import Stylize
from pipeline.tasks.train import Train, UploadTrained

__all__ = [
    "ContentImage",
    "Dataset",
    "DownloadDataset",
    "DownloadImage",
    "DownloadModel",
    "DownloadStyle",
    "SavedModel",
    "StyleImage",
    "Stylize",
    "StylizeMany",
    "StylizeShard",
    "Train",
    "UploadImage",
    "UploadModel",
    "UploadStyle",
    "UploadStylized",
    "UploadTrained",
]
