"""What can be said about a model file before any library opens it."""

from __future__ import annotations

import stat
from pathlib import Path

from .errors import WeightsError, WeightsNotFoundError
from .web_page import is_web_page


def refuse_what_is_no_model(path: Path) -> None:
    """Name the plain mistakes, which torch and onnxruntime would only call corrupt.

    Raises:
        WeightsNotFoundError: there is no such file.
        WeightsError: a folder, an empty file, a web page, a file that cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
            raise WeightsError(f"{path}: wanted a model file, found {found}; name a .pth or .onnx file")
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError as err:
        raise WeightsNotFoundError(f"{path}: there is no such model file; check the name") from err
    except OSError as err:
        raise WeightsError(f"{path}: the model file cannot be read: {err.strerror or err}") from err
    except ValueError as err:
        if isinstance(err, WeightsError):
            raise
        raise WeightsError(f"{path}: the model file cannot be read: {err}") from err  # a NUL in the name
    if not head:
        raise WeightsError(f"{path}: the model file is empty; fetch it again")
    if is_web_page(head):
        raise WeightsError(
            f"{path}: this looks like a web page, not a model: a download that went wrong; fetch it again"
        )
