"""``python -m neural_style train``: the published script's options, and ours."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .console import print_path
from .errors import OutputError, output_error
from .train_config import CROPS, FEATURES, PRECISIONS, config_for

log = logging.getLogger("neural_style")

_OF_CONFIG = {
    "epochs": "epochs",
    "steps": "steps",
    "batch_size": "batch_size",
    "image_size": "image_px",
    "style_size": "style_px",
    "lr": "learning_rate",
    "content_weight": "content_weight",
    "style_weight": "style_weight",
    "total_variation": "total_variation_weight",
    "seed": "seed",
    "widths": "widths",
    "features": "features",
    "precision": "precision",
    "crop": "crop",
}
"""Option to field; an option that is not given leaves the field to its default."""


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command; who adds it adds the device, too."""
    parser = commands.add_parser("train", help="train a new style", allow_abbrev=False)
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument(
        "--dataset", required=True, metavar="FOLDER", help="pictures, in folders or tar shards below it"
    )
    parser.add_argument("--style-image", required=True, metavar="PATH", help="the painting to learn from")
    parser.add_argument("--save-model-dir", required=True, metavar="FOLDER", help="where the weights go")
    parser.add_argument("--name", metavar="NAME", help="of the weights [default: the painting's, with .pth]")
    parser.add_argument("--report", metavar="PATH", help="also write losses and what ran, as JSON")
    _add_config(parser.add_argument_group("what is learned"))
    where = parser.add_argument_group("on the way")
    where.add_argument("--vgg", metavar="PATH", help="VGG16's weights [default: torchvision's own download]")
    where.add_argument("--checkpoint-model-dir", metavar="FOLDER", help="keep checkpoints there, and go on from them")
    where.add_argument(
        "--checkpoint-interval", type=int, default=2000, metavar="N", help="steps (default: %(default)s)"
    )
    where.add_argument("--log-interval", type=int, default=500, metavar="N", help="default: %(default)s")
    where.add_argument(
        "--max-broken", type=int, default=100, metavar="N", help="broken pictures (default: %(default)s)"
    )
    where.add_argument("--threads", type=int, metavar="N", help="of the arithmetic on the CPU")
    where.add_argument("--loaders", type=int, metavar="N", help="threads that decode pictures")
    where.add_argument("--compile", action="store_true", help="let torch.compile fuse what it can")
    return parser


def _add_config(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=int, metavar="N", help="how often every picture is shown (default: 2)")
    group.add_argument("--steps", type=int, metavar="N", help="batches, instead of epochs")
    group.add_argument("--batch-size", type=int, metavar="N", help="pictures a step (default: 4)")
    group.add_argument("--image-size", type=int, metavar="PX", help="side of a training picture (default: 256)")
    group.add_argument("--style-size", type=int, metavar="PX", help="side of the painting (default: as it is)")
    group.add_argument("--lr", type=float, metavar="F", help="learning rate (default: 1e-3)")
    group.add_argument("--content-weight", type=float, metavar="F", help="default: 1e5")
    group.add_argument("--style-weight", type=float, metavar="F", help="default: 1e10")
    group.add_argument("--total-variation", type=float, metavar="F", help="its weight (default: 0)")
    group.add_argument("--seed", type=int, metavar="N", help="default: 42")
    group.add_argument("--widths", type=_widths, metavar="A,B,C", help="channels of the net (default: 32,64,128)")
    group.add_argument("--features", choices=FEATURES, help="what judges (default: vgg16); random has other defaults")
    group.add_argument("--precision", choices=PRECISIONS, help="default: float32")
    group.add_argument("--crop", choices=CROPS, help="default: center")


def train(args: argparse.Namespace, *, device: str) -> None:
    """Train as the options say, and print the path of the weights.

    Raises:
        NeuralStyleError: see `train_style`.
    """
    given = {field: getattr(args, option) for option, field in _OF_CONFIG.items()}
    config = config_for({field: value for field, value in given.items() if value is not None})
    output = Path(args.save_model_dir, _file_name(args))
    _make_folder(output.parent)
    from .train_style import Where, train_style

    where = Where(
        device=device,
        threads=args.threads,
        loaders=args.loaders,
        compiled=args.compile,
        checkpoint_folder=None if args.checkpoint_model_dir is None else Path(args.checkpoint_model_dir),
        checkpoint_every=args.checkpoint_interval,
        note_every=args.log_interval,
        max_broken=args.max_broken,
    )
    trained = train_style(
        config,
        style=Path(args.style_image),
        dataset=Path(args.dataset),
        output=output,
        vgg=None if args.vgg is None else Path(args.vgg),
        where=where,
        tell=_tell,
    )
    if trained.rank == 0:
        if args.report is not None:
            _write_report(Path(args.report), {"config": config.digest(), **trained.record()})
        print_path(str(output))


def _tell(step: int, metrics: Mapping[str, float]) -> None:
    log.info("step %d: %s", step, ", ".join(f"{name} {value:.6g}" for name, value in metrics.items()))


def _file_name(args: argparse.Namespace) -> str:
    name = args.name or f"{Path(args.style_image).stem}.pth"
    if Path(name).name != name or name.startswith("."):
        args.usage_error(f"--name wants a plain file name, found {name!r}")
    return name if name.endswith(".pth") else f"{name}.pth"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"{folder}: wanted a folder for the weights, and cannot make one: {err.strerror}") from err


def _write_report(path: Path, report: dict[str, Any]) -> None:
    from csci_utils.io import atomic_path

    try:
        with atomic_path(path) as scratch:
            scratch.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as err:
        raise output_error(path, err) from err


def _widths(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))
