"""``python -m neural_style train``: the published script's options, and ours."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

from .console import print_path
from .errors import SettingError, output_error
from .new_folders import NewFolders
from .option_types import not_negative, positive, three_widths
from .quick_import import garbage_kept
from .train_config import CROPS, FEATURES, PRECISIONS, TrainConfig, config_for

if TYPE_CHECKING:
    from .sample_pictures import Samples
    from .train_style import Trained, Where

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

_MAX_NAME_BYTES = 200
"""Of 255 that a file system takes; checkpoints have the number of their step in the name."""


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
    where.add_argument(
        "--max-broken", type=not_negative, default=100, metavar="N", help="broken pictures (default: %(default)s)"
    )
    where.add_argument("--threads", type=positive, metavar="N", help="of the arithmetic on the CPU")
    where.add_argument("--loaders", type=not_negative, metavar="N", help="threads that decode pictures")
    where.add_argument("--compile", action="store_true", help="let torch.compile fuse what it can")
    where.add_argument(
        "--nondeterministic", action="store_true", help="let CUDA take what is fastest, not what gives the same bits"
    )
    _add_kept(parser.add_argument_group("kept on the way"))
    return parser


def _add_kept(group: argparse._ArgumentGroup) -> None:
    steps: dict[str, Any] = {"type": positive, "metavar": "N", "help": "steps (default: %(default)s)"}
    group.add_argument("--checkpoint-model-dir", metavar="FOLDER", help="keep checkpoints there, and go on from them")
    group.add_argument("--checkpoint-interval", default=2000, **steps)
    group.add_argument("--log-interval", default=500, **steps)
    group.add_argument("--tensorboard", metavar="FOLDER", help="write the losses there, for TensorBoard")
    group.add_argument("--sample", metavar="PICTURE", help="style this picture, too, with the net as it is by then")
    group.add_argument("--sample-dir", metavar="FOLDER", help="where samples go [default: checkpoints, else weights]")
    group.add_argument("--sample-interval", default=500, **steps)


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
    group.add_argument("--widths", type=three_widths, metavar="A,B,C", help="channels of the net (default: 32,64,128)")
    group.add_argument("--features", choices=FEATURES, help="what judges (default: vgg16); random has other defaults")
    group.add_argument("--precision", choices=PRECISIONS, help="default: float32")
    group.add_argument("--crop", choices=CROPS, help="default: center")


def train(args: argparse.Namespace, *, device: str) -> None:
    """Train as the options say, and print the path of the weights; what could not be written is found out first.

    Raises:
        NeuralStyleError: see `train_style`.
    """
    config = _config(args)
    output, report = Path(args.save_model_dir, _file_name(args)), _path(args.report)
    with NewFolders() as folders:
        _make_folders(args, folders)
        _try_files(args, output, folders)
        trained = _trained(args, config, output=output, device=device)
        if trained.rank == 0 and report is not None:
            _write_report(report, {"config": config.digest(), **trained.record()})
    if trained.rank == 0:
        print_path(str(output))


def _trained(args: argparse.Namespace, config: TrainConfig, *, output: Path, device: str) -> Trained:
    with garbage_kept():
        from .train_style import train_style

    return train_style(
        config,
        style=Path(args.style_image),
        dataset=Path(args.dataset),
        output=output,
        vgg=_path(args.vgg),
        where=_where(args, device=device, name=output.stem),
        tell=_tell,
    )


def in_options(sentence: str) -> str:
    """Call the fields of a configuration, at the beginning of what is wrong with it, what their options are called."""
    names, colon, rest = sentence.partition(":")
    for option, field in _OF_CONFIG.items():
        names = re.sub(rf"(?<![\w-]){field}\b", f"--{option.replace('_', '-')}", names)
    return f"{names}{colon}{rest}"


def _config(args: argparse.Namespace) -> TrainConfig:
    given = {field: getattr(args, option) for option, field in _OF_CONFIG.items()}
    try:
        return config_for({field: value for field, value in given.items() if value is not None})
    except SettingError as err:
        args.usage_error(in_options(str(err)))
        raise  # which it does not come to


def _where(args: argparse.Namespace, *, device: str, name: str) -> Where:
    from .train_style import Where

    return Where(
        name=name,
        device=device,
        threads=args.threads,
        loaders=args.loaders,
        compiled=args.compile,
        deterministic=not args.nondeterministic,
        checkpoint_folder=_path(args.checkpoint_model_dir),
        checkpoint_every=args.checkpoint_interval,
        note_every=args.log_interval,
        max_broken=args.max_broken,
        tensorboard_folder=_path(args.tensorboard),
        samples=_samples(args),
    )


def _samples(args: argparse.Namespace) -> Samples | None:
    from .sample_pictures import Samples

    if args.sample is None:
        return None
    folder = args.sample_dir or args.checkpoint_model_dir or args.save_model_dir
    return Samples(picture=Path(args.sample), folder=Path(folder), every_steps=args.sample_interval)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _tell(step: int, metrics: Mapping[str, float]) -> None:
    log.info("step %d: %s", step, ", ".join(f"{name} {value:.6g}" for name, value in metrics.items()))


def _file_name(args: argparse.Namespace) -> str:
    name = args.name or f"{Path(args.style_image).stem}.pth"
    if Path(name).name != name or name.startswith(".") or any(category(each) == "Cc" for each in name):
        args.usage_error(f"--name wants a plain file name, found {name!r}")
    if len(os.fsencode(name)) > _MAX_NAME_BYTES:
        args.usage_error(f"--name wants a name of {_MAX_NAME_BYTES} bytes or less, found {name!r}")
    return name if name.endswith(".pth") else f"{name}.pth"


def _make_folders(args: argparse.Namespace, folders: NewFolders) -> None:
    wanted = {
        "the weights": args.save_model_dir,
        "checkpoints": args.checkpoint_model_dir,
        "curves": args.tensorboard,
        "samples": args.sample_dir,
    }
    for what, folder in wanted.items():
        if folder is not None:
            folders.make(Path(folder), what=what)


def _try_files(args: argparse.Namespace, output: Path, folders: NewFolders) -> None:
    """Try each file that is to be written, by that name or one like it."""
    kept, curves = _path(args.checkpoint_model_dir), _path(args.tensorboard)
    samples = Path(args.sample_dir or args.checkpoint_model_dir or args.save_model_dir)
    tried = {
        "weights": output,
        "report": _path(args.report),
        "checkpoints": kept and kept / f"{output.stem}.ckpt",
        "curves": curves and curves / output.stem / "events",
        "samples": args.sample and samples / f"{Path(args.sample).stem}.png",
    }
    for path in tried.values():
        if path is not None:
            folders.try_file(path)


def _write_report(path: Path, report: dict[str, Any]) -> None:
    from csci_utils.io import atomic_path

    try:
        with atomic_path(path) as scratch:
            scratch.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as err:
        raise output_error(path, err) from err
