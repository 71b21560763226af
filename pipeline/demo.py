"""`make run`: style one picture with one model through an embedded S3, and show it; without a model, train one first.

Nothing is downloaded: the painting, the pictures to train on and the picture to style are drawn by code.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neural_style.console import print_path
from pipeline.cli import exit_status
from pipeline.console import log_to_stderr, tell
from pipeline.names import model_file_name

if TYPE_CHECKING:
    from pipeline.plan import StyleJob
    from pipeline.train import TrainJob

USAGE = 2
STYLE, DATASET, SCENE, MODEL = "brush.png", "scenes", "scene.png", "brush.pth"
NUM_SCENES = 48
SEED = 1
"""Each seed is another judge, and so another style; this one has long strokes and all colours of the painting."""
MAX_SIDE_PX = 512
"""The texture of a style has a size in pixels; larger pictures than that show it too fine."""


def main(argv: Sequence[str]) -> int:
    """Return the exit status of the job.

    Args:
        argv: Paths of a picture and of a model; empty ones were not given. How many steps to train may follow.
    """
    image, model, *steps = argv
    for name, value in (("IMAGE", image), ("MODEL", model)):
        if value and not Path(value).is_file():
            return _refuse(f"{name} wants a file, found {value!r}, which is none; give another, or leave it out")
    made = _style(image, model) if model else _train_and_style(image, steps=int(steps[0]) if steps else None)
    return made or _show()


def _style(image: str, model: str) -> int:
    """Style with a model that is there already."""
    with tempfile.TemporaryDirectory(prefix="bucket-") as bucket:
        name = _put_image(image, Path(bucket))
        Path(bucket, "saved_models").mkdir()
        shutil.copyfile(model, Path(bucket, "saved_models", model_file_name(Path(model).name)))
        return exit_status(["-i", name, "-m", model_file_name(Path(model).name), "--embedded-folder", bucket])


def _train_and_style(image: str, *, steps: int | None) -> int:
    """Draw a painting and scenes, train a style on them, publish it, and style with it, as a user would on a bucket."""
    from pipeline.style import run as style
    from pipeline.train import run as train

    log_to_stderr(verbose=False)
    with tempfile.TemporaryDirectory(prefix="bucket-") as name:
        bucket = Path(name)
        picture = _put_image(image, bucket)
        _draw(bucket)
        with _embedded(bucket):
            tell("training a first style on drawn scenes: about two minutes on two cores")
            status = train(_train_job(steps), result=lambda path: tell(f"the style: {path}"), tell=tell)
            return status or style(_style_job(picture), result=print_path, tell=tell)


def _show() -> int:
    """Write a page of all results here, and say where it lies; standard output stays the result's."""
    from pipeline import settings
    from pipeline.embedded import ROOT
    from pipeline.gallery.gallery import write_gallery

    with settings.use(settings.read_settings(s3_root=ROOT, offline=True, dotenv=False)):
        return write_gallery((), result=lambda page: None, tell=tell)


@contextmanager
def _embedded(bucket: Path) -> Iterator[None]:
    from pipeline import settings
    from pipeline.embedded import ROOT, embedded_s3

    with embedded_s3(bucket), settings.use(settings.read_settings(s3_root=ROOT, dotenv=False)):
        yield


def _put_image(image: str, bucket: Path) -> str:
    """Put the picture that is given, else a drawn one, where the bucket's pictures lie; return its name."""
    from PIL import Image

    from neural_style.drawn import draw_scene

    folder = bucket / "images"
    folder.mkdir()
    if image:
        shutil.copyfile(image, folder / Path(image).name)
        return Path(image).name
    Image.fromarray(draw_scene(3)).save(folder / SCENE)
    return SCENE


def _draw(bucket: Path) -> None:
    """Draw what a style is learned from."""
    from PIL import Image

    from neural_style.drawn import draw_painting, draw_scene

    styles, scenes = bucket / "styles", bucket / "datasets" / DATASET
    for folder in (styles, scenes):
        folder.mkdir(parents=True)
    Image.fromarray(draw_painting()).save(styles / STYLE)
    for seed in range(NUM_SCENES):
        Image.fromarray(draw_scene(1000 + seed, width_px=256, height_px=192)).save(scenes / f"{seed:02}.png")


def _train_job(steps: int | None) -> TrainJob:
    from pipeline.train import TrainJob

    return TrainJob(style=STYLE, dataset=DATASET, name=MODEL, features="random", steps=steps, seed=SEED, publish=True)


def _style_job(picture: str) -> StyleJob:
    from pipeline.plan import StyleJob

    return StyleJob(images=(picture,), models=(MODEL,), max_side=MAX_SIDE_PX)


def _refuse(sentence: str) -> int:
    click.echo(f"make run: error: {sentence}", err=True)
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
