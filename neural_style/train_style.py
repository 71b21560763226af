"""A painting and a folder of pictures become a style: trainer, model, data and plug-ins put together."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from csci_utils.io import sha256_of

from .allocator import memory_kept
from .crop import CENTER
from .devices import arithmetic, memory_faults, resolve_device
from .errors import EngineError
from .images import load_image
from .painted_model import PaintedStyleModel
from .painting import refuse_painting
from .plugins import (
    CheckpointPlugin,
    CurvePlugin,
    FinitePlugin,
    Plugin,
    ProgressPlugin,
    SamplesPlugin,
    SchedulePlugin,
    TensorBoardPlugin,
)
from .plugins.curve import Told
from .sample_pictures import Samples, SampleWriter
from .style_model import StyleModel
from .train import Trainer
from .train_config import TrainConfig
from .train_data import PictureDataModule, Preparation
from .vgg import Vgg16, load_vgg16
from .weights import save_weights

RANDOM_FEATURES = "random"
_WARMUP_STEPS = 20
_FINAL_RATE = 0.05
_MOST_GROWTH = 10.0
"""Of the smoothed loss, over the first: in sound runs it falls from there, at a rate of 1 it is 12 times as high."""
_OF_COMPILER = ("torch._dynamo", "torch._inductor")

log = logging.getLogger("neural_style")


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a run computes and what it keeps on the way; none of it changes the weights, but for their last bits.

    Attributes:
        name: Of the run, for its checkpoints and curves.
        device: As in `resolve_device`.
        threads: For the arithmetic on the CPU; None leaves it as it is.
        loaders: Threads that decode pictures; None chooses.
        compiled: Have `torch.compile` fuse what it can; not with random features.
        deterministic: Take algorithms that give the same bits each time, where torch has them; else CUDA takes those
            that are fastest there.
        checkpoint_folder: Where checkpoints lie; None keeps none.
        checkpoint_every: Steps from one to the next.
        note_every: Steps from one note of the losses to the next.
        max_broken: So many pictures may be broken before the run is given up.
        progress: Show a bar on a terminal.
        tensorboard_folder: Where losses are written for TensorBoard, too.
        samples: Which picture is styled on the way.
    """

    name: str = "style"
    device: str = "auto"
    threads: int | None = None
    loaders: int | None = None
    compiled: bool = False
    deterministic: bool = True
    checkpoint_folder: Path | None = None
    checkpoint_every: int = 500
    note_every: int = 100
    max_broken: int = 100
    progress: bool = True
    tensorboard_folder: Path | None = None
    samples: Samples | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a run.

    Attributes:
        steps: Batches learned from.
        metrics: The losses of the last of them.
        curve: The losses every so many steps, each with its ``step``.
        made_from: The digests of painting and dataset, and of the file of VGG16's weights where these judged.
        made_by: Device, threads, version of torch, and the precision that the device had; for the reader.
        rank: Of this process; 0 has written the weights.
    """

    steps: int
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    made_from: dict[str, dict[str, str]]
    made_by: dict[str, Any]
    rank: int = 0

    def record(self) -> dict[str, Any]:
        """Return what is worth keeping, as plain data."""
        return {name: value for name, value in asdict(self).items() if name != "rank"}


@memory_kept()
def train_style(
    config: TrainConfig,
    *,
    style: Path,
    dataset: Path | Sequence[Path],
    output: Path,
    vgg: Path | Vgg16 | None = None,
    where: Where | None = None,
    tell: Told | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a style and write its weights, whole or not at all.

    Args:
        config: Everything that changes the weights, besides the pictures.
        style: The painting.
        dataset: A folder of pictures or tar shards, or several.
        output: Where the weights go.
        vgg: The file of VGG16's weights, or what `refuse_early` has read of one; without either torchvision's own
            download is asked. Not for random features.
        where: Where it computes, and what it keeps on the way.
        tell: Called with a step and its losses, every `Where.note_every` steps.
        on_step: Called after each step with its number and that of the last one.

    Raises:
        NeuralStyleError: the style is no picture, the data do not serve, the loss diverges, the device is not there, a
            checkpoint is another run's, the disk is full: one sentence each; no weights are written then.
    """
    where = where or Where()
    painting = load_image(style).rgb_HW3
    trainer = Trainer(
        max_epochs=config.epochs,
        max_steps=config.steps,
        device=where.device,
        seed=config.seed,
        threads=where.threads,
        deterministic=where.deterministic,
    )
    if _precision(config, trainer.device) != config.precision and trainer.rank == 0:
        log.warning("%s has no bfloat16 of its own: float32 is used instead", trainer.device)
    data = _data(config, dataset, where)
    data.trainer = trainer  # an epoch of several processes may be a step shorter
    refuse_painting(painting, config, device=str(trainer.device))
    curve = CurvePlugin(every_steps=where.note_every, tell=tell)
    judge = _judge(config, vgg)
    model = _model(config, painting, judge=judge, where=where)
    made_from = {"style": {"sha256": sha256_of(style)}, "dataset": {"digest": data.digest()}}
    if judge is not None:
        made_from["vgg16"] = {"sha256": judge.sha256}
    total_steps = config.steps or (config.epochs or 1) * data.steps_per_epoch
    fingerprint = _fingerprint(config, made_from)
    plugins = _plugins(config, where=where, total_steps=total_steps, fingerprint=fingerprint)
    for plugin in (curve, *([] if on_step is None else [_StepsPlugin(on_step, total_steps)]), *plugins):
        plugin.configure_trainer(trainer)
    with _explained(config, where, device=str(trainer.device)):
        trainer.fit(model, data)
    if trainer.rank == 0:
        save_weights(model.transformer, output)
    return Trained(
        steps=trainer.state.step,
        metrics={name: value for name, value in (curve.notes[-1] if curve.notes else {}).items() if name != "step"},
        curve=curve.notes,
        made_from=made_from,
        made_by=_made_by(trainer, precision=_precision(config, trainer.device)),
        rank=trainer.rank,
    )


def refuse_early(
    config: TrainConfig, *, style: Path, vgg: Path | None = None, where: Where | None = None
) -> Vgg16 | None:
    """Look at all that a run needs besides its pictures, before those are fetched; arguments as in `train_style`.

    Returns:
        VGG16 for `train_style`, so that half a gigabyte is read once; None where random features judge.

    Raises:
        NeuralStyleError: what `train_style` would say, hours later perhaps.
    """
    where = where or Where()
    refuse_painting(load_image(style).rgb_HW3, config, device=resolve_device(where.device))
    if where.samples is not None:
        SampleWriter(where.samples)
    if where.tensorboard_folder is not None:
        TensorBoardPlugin(where.tensorboard_folder)
    return _judge(config, vgg)


def _judge(config: TrainConfig, vgg: Path | Vgg16 | None) -> Vgg16 | None:
    if config.features == RANDOM_FEATURES:
        return None
    return vgg if isinstance(vgg, Vgg16) else load_vgg16(vgg)


def _fingerprint(config: TrainConfig, made_from: Mapping[str, Mapping[str, str]]) -> str:
    """Stand for all that the weights depend on, in 64 hexadecimal digits."""
    said = json.dumps({"config": config.digest(), **made_from}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


@contextmanager
def _explained(config: TrainConfig, where: Where, *, device: str) -> Iterator[None]:
    """Put what torch says of too little memory, and of a compiler that is not there, into one sentence."""
    what = f"batches of {config.batch_size} pictures of {config.image_px} pixels a side"
    with memory_faults(device, what=what, remedy="use a smaller --batch-size, --image-size or --style-size"):
        try:
            yield
        except RuntimeError as err:
            if not where.compiled or not type(err).__module__.startswith(_OF_COMPILER):
                raise
            reason = str(err).partition("\n")[0]
            raise EngineError(f"torch.compile cannot be used here ({reason}); leave --compile out") from err


class _StepsPlugin(Plugin):
    """Tells of each step."""

    def __init__(self, on_step: Callable[[int, int], None], total_steps: int) -> None:
        super().__init__("steps")
        self._on_step, self._total_steps = on_step, total_steps

    def on_training_batch_end(self) -> None:
        self._on_step(self.trainer.state.step, self._total_steps)


def _data(config: TrainConfig, dataset: Path | Sequence[Path], where: Where) -> PictureDataModule:
    """Prepare pictures as the published script does, or, for random crops, in another order each epoch."""
    moves = config.crop != CENTER
    preparation = Preparation(
        image_px=config.image_px,
        batch_size=config.batch_size,
        seed=config.seed,
        crop=config.crop,
        shuffle=moves,
        drop_last=moves,
    )
    return PictureDataModule(dataset, preparation, workers=where.loaders, max_broken=where.max_broken)


def _model(
    config: TrainConfig, painting: NDArray[np.uint8], *, judge: Vgg16 | None, where: Where
) -> StyleModel | PaintedStyleModel:
    if judge is None:
        if where.compiled:
            log.warning("--compile changes nothing where random features judge")
        return PaintedStyleModel(config, style_rgb_HW3=painting, save_name=where.name)
    return StyleModel(config, style_rgb_HW3=painting, vgg=judge, compiled=where.compiled, save_name=where.name)


def _plugins(config: TrainConfig, *, where: Where, total_steps: int, fingerprint: str) -> list[Plugin]:
    """Choose the plug-ins of a run; after the checkpoint, which saves what the others left, come only samples."""
    plugins: list[Plugin] = [FinitePlugin(most_growth=_MOST_GROWTH)]
    if config.features == RANDOM_FEATURES:
        plugins.append(SchedulePlugin("cosine", warmup_steps=_WARMUP_STEPS, total_steps=total_steps, final=_FINAL_RATE))
    if where.progress:
        plugins.append(ProgressPlugin(total_steps=total_steps))
    if where.tensorboard_folder is not None:
        plugins.append(TensorBoardPlugin(where.tensorboard_folder, fingerprint=fingerprint))
    if where.checkpoint_folder is not None:
        plugins.append(
            CheckpointPlugin(where.checkpoint_folder, every_steps=where.checkpoint_every, fingerprint=fingerprint)
        )
    if where.samples is not None:
        plugins.append(SamplesPlugin(SampleWriter(where.samples), every_steps=where.samples.every_steps))
    return plugins


def _precision(config: TrainConfig, device: torch.device) -> str:
    """Return what the device has of what is asked for."""
    return "bf16" if arithmetic(config.precision, device) == torch.bfloat16 else "float32"


def _made_by(trainer: Trainer, *, precision: str) -> dict[str, Any]:
    name = torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else None
    return {
        "device": str(trainer.device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "precision": precision,
        "engine": "torch",
        "engine_version": str(torch.__version__),
    }
