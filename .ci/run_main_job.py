"""`make run`: put one picture and one model into an embedded S3, style the one with the other, say where it lies."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pipeline.cli import exit_status

WANTED = "make run IMAGE=path/to/picture.jpg MODEL=path/to/weights.pth"


def main() -> int:
    """Return the exit status of the job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    for name, value in (("IMAGE", options.image), ("MODEL", options.model)):
        if not value:
            return _refuse(f"no {name} is given and none lies in ../shared/real; give both: {WANTED}")
        if not Path(value).is_file():
            return _refuse(f"{name} wants a file, found {value!r}, which is not one: {WANTED}")
    return _style(Path(options.image), Path(options.model))


def _style(image: Path, model: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="bucket-") as bucket:
        for folder, path in (("images", image), ("saved_models", model)):
            Path(bucket, folder).mkdir()
            shutil.copyfile(path, Path(bucket, folder, path.name))
        arguments = ["-i", image.name, "-m", model.name, "--embedded-folder", bucket]
        return exit_status([*arguments, "--local-root", os.environ.get("PIPELINE_LOCAL_ROOT", "data")])


def _refuse(sentence: str) -> int:
    print(f"make run: error: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
