"""All tasks, so that `luigi --module pipeline.tasks TASK` finds each of them."""

from pipeline.tasks.data import ContentImage, DownloadImage, DownloadModel, SavedModel
from pipeline.tasks.stylize import Stylize

__all__ = ["ContentImage", "DownloadImage", "DownloadModel", "SavedModel", "Stylize"]
