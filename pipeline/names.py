"""Names that users give: checked once, here, before anything is read."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath
from typing import Any

import luigi

from csci_utils.s3.uri import LONGEST_KEY_BYTES, S3Uri
from pipeline.errors import BadNameError

# A file system holds 255 bytes a component; the record beside a file is called `.<name>.json`.
MAX_COMPONENT_BYTES = 255 - len("..json")
# S3's own limit, less room for the prefix.
MAX_NAME_BYTES = 900

_UNPRINTABLE = "it holds a control character or is not valid Unicode"


def check_name(name: str, kind: str) -> str:
    """Return `name` if it names an object below its folder, and nothing else.

    Args:
        name: Relative, ``/`` between folders, as S3 keys are.
        kind: ``"picture"`` or ``"model"``, for the message.

    Raises:
        BadNameError: the name is empty or absolute, leaves its folder, has an empty, ``.`` or hidden component,
            holds a control character, is not valid Unicode, or is too long for a file system.
    """
    if fault := _fault_of(name):
        raise BadNameError(
            f"{name!r} cannot name a {kind}: {fault}; "
            f"give its name below its folder in S3, such as 'luigi.jpg' or 'holiday/sea.jpg'"
        )
    return name


def check_pattern(pattern: str) -> str:
    """Return a pattern or folder of names if a name can match it.

    Raises:
        BadNameError: it holds a control character, or is not valid Unicode.
    """
    if _is_unprintable(pattern):
        raise BadNameError(f"{pattern!r} can match no name: {_UNPRINTABLE}; correct it")
    return pattern


def check_key(uri: S3Uri) -> None:
    """Raise where S3 takes no object of this key.

    Raises:
        BadNameError: the key is too long.
    """
    if (num_bytes := len(uri.key.encode())) > LONGEST_KEY_BYTES:
        raise BadNameError(
            f"{uri}: wanted a key of at most {LONGEST_KEY_BYTES} bytes, found {num_bytes}; "
            "shorten the name of the picture or of the model"
        )


def check_dataset_name(name: str) -> str:
    """Return `name` if it names a folder right below ``datasets/``.

    Raises:
        BadNameError: it does not.
    """
    check_name(name, "dataset")
    if "/" in name:  # the dataset `a` would hold the dataset `a/b`
        raise BadNameError(f"{name!r} cannot name a dataset: it has more than one component; give it one name")
    return name


def model_file_name(model: str) -> str:
    """The file name of a model: without a suffix it is a ``.pth``, a suffix is taken as given."""
    return model if PurePosixPath(model).suffix else f"{model}.pth"


def _fault_of(name: str) -> str | None:
    if not name:
        return "it is empty"
    if _is_unprintable(name):
        return _UNPRINTABLE
    if name.startswith("/"):
        return "it is absolute"
    parts = name.split("/")
    if ".." in parts:
        return "it leaves its folder"
    if "" in parts or "." in parts:
        return "it has an empty component or a '.'"
    if any(part.startswith(".") for part in parts):
        return "a name that begins with a dot is kept for records and scratch files"
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts) or len(name.encode()) > MAX_NAME_BYTES:
        return f"it is too long ({MAX_COMPONENT_BYTES} bytes a component, {MAX_NAME_BYTES} in all)"
    return None


def _is_unprintable(name: str) -> bool:
    return not name.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name)


class NameParameter(luigi.Parameter):
    """A Luigi parameter that is a checked name."""

    def __init__(self, *, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kind = kind

    def normalize(self, x: str) -> str:
        """Check the name, wherever it came from: a call, the command line or luigi.cfg."""
        return check_name(x, self._kind)


class ModelParameter(NameParameter):
    """The name of a model, always with its suffix: ``mosaic`` and ``mosaic.pth`` are one model and one task."""

    def normalize(self, x: str) -> str:
        """Check the name and complete it."""
        return model_file_name(super().normalize(x))


class OptionalNameParameter(NameParameter):
    """A name, or nothing."""

    def normalize(self, x: str) -> str:
        """Check the name, if there is one."""
        return super().normalize(x) if x else ""


class NewModelParameter(OptionalNameParameter):
    """The name of a model that is yet to be trained: weights, whose suffix is ``.pth``."""

    def normalize(self, x: str) -> str:
        """Check the name and complete it.

        Raises:
            BadNameError: it has the suffix of something else.
        """
        name = super().normalize(x)
        if name.lower().endswith(".onnx"):
            raise BadNameError(f"{name!r} cannot name a trained model: weights end with .pth; leave the suffix out")
        return name if not name or name.endswith(".pth") else f"{name}.pth"


class DatasetParameter(NameParameter):
    """The name of a dataset."""

    def normalize(self, x: str) -> str:
        """Check the name."""
        return check_dataset_name(super().normalize(x))
