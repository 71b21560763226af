"""`make run`: put one picture and one model into an embedded S3, style the one with the other, say where it lies."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli import exit_status
from pipeline.names import model_file_name

WANTED = "make run IMAGE=path/to/picture.jpg MODEL=path/to/weights.pth"
USAGE = 2


def main(argv: Sequence[str]) -> int:
    """Return the exit status of the job.

    Args:
        argv: Paths of a picture and of a model; empty ones were not given.
    """
    image, model = argv
    for name, value in (("IMAGE", image), ("MODEL", model)):
        if not value:
            return _refuse(f"no {name} is given, and none lies in ../shared/real; give both: {WANTED}")
        if not Path(value).is_file():
            return _refuse(f"{name} wants a file, found {value!r}, which is none; give both: {WANTED}")
    return _style(Path(image), Path(model))


def _style(image: Path, model: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="bucket-") as bucket:
        for folder, path, name in (("images", image, image.name), ("saved_models", model, model_file_name(model.name))):
            Path(bucket, folder).mkdir()
            shutil.copyfile(path, Path(bucket, folder, name))
        return exit_status(["-i", image.name, "-m", model_file_name(model.name), "--embedded-folder", bucket])


def _refuse(sentence: str) -> int:
    click.echo(f"make run: error: {sentence}", err=True)
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
