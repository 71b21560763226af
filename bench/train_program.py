"""Train for some steps, and tell what they took: the published loop stated plainly, or this project's trainer.

`python -m bench.train_program {published,ours} [--precision P] [--device cuda] ...`; random VGG16 weights and noise for
pictures, which cost what real ones do. It needs nothing of S3 and Luigi, so it runs where only torch is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from bench.arithmetic import peak_tflops, step_flops
from bench.stopwatch import told
from neural_style.vgg import Vgg16, random_vgg16
from tests.neural_style.published_loop import PublishedLoop

STYLE_PX = 256
KINDS = {
    "convolutions": ("convolution",),
    "norms": ("batch_norm", "instance_norm"),
    "copies": ("copy_", "clone", "fill_"),
    "padding, enlarging, pooling": ("pad", "upsample", "pool"),
    "products": ("::mm", "::bmm", "addmm", "addbmm"),
}
"""What torch's operations do, by parts of their names; all others are the rest."""


def main() -> None:
    """Warm up, then time the steps between two moments at which the device has nothing left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=("published", "ours"))
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-px", type=int, default=256)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--whole-batch", action="store_true", help="ours: all pictures at once on the CPU, too")
    parser.add_argument("--profile", action="store_true", help="ours: in one thread, and tell what its time goes into")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    {"published": published, "ours": ours}[options.who](options)


def published(options: argparse.Namespace) -> None:
    """Step through the published loop, as it stands; every batch is brought to the device, as there."""
    style = torch.from_numpy(_style()).permute(2, 0, 1).float()
    loop = PublishedLoop(random_vgg16().state_dict(), style, device=options.device)
    batch = _batch(options)
    for _ in range(options.warm_up):
        loop.step(batch.to(options.device))
    with _timed(options):
        for _ in range(options.steps):
            loop.step(batch.to(options.device))


def ours(options: argparse.Namespace) -> None:
    """Run the whole trainer, hooks included, with a plug-in that holds the watch."""
    from neural_style.allocator import memory_kept
    from neural_style.plugins.base import Plugin
    from neural_style.style_model import StyleModel
    from neural_style.train import DataModule, Trainer
    from neural_style.train_config import TrainConfig

    class Noise(DataModule):
        def train_loader(self) -> Iterator[torch.Tensor]:
            batch = _batch(options)
            batch = batch.pin_memory() if options.device == "cuda" else batch  # as the loader does
            while True:
                yield batch

    class Whole(StyleModel):
        def _parts(self, batch_255_B3HW: torch.Tensor) -> tuple[torch.Tensor, ...]:  # noqa: N803
            return (torch.cat(super()._parts(batch_255_B3HW)),)

    class Watch(Plugin):
        def on_training_batch_start(self) -> None:
            if self.trainer.state.step == options.warm_up:
                stack.enter_context(_timed(options))

    config = TrainConfig(
        precision=options.precision,
        batch_size=options.batch_size,
        image_px=options.image_px,
        steps=options.warm_up + options.steps,
    )
    kind = Whole if options.whole_batch else StyleModel
    model = kind(config, style_rgb_HW3=_style(), vgg=_vgg(), compiled=options.compiled)
    trainer = Trainer(
        max_steps=config.steps,
        device=options.device,
        deterministic=options.device == "cpu",
        threads=1 if options.profile else None,
    )
    Watch("watch").configure_trainer(trainer)
    with memory_kept(), ExitStack() as stack:  # as the training command has it
        trainer.fit(model, Noise())


@contextmanager
def _timed(options: argparse.Namespace) -> Iterator[None]:
    _wait(options.device)
    with told() as seen, _profiled(seen) if options.profile else nullcontext():
        start = time.perf_counter()
        yield
        _wait(options.device)
        seen |= {"num_steps": options.steps, **_of_card(options, (time.perf_counter() - start) / options.steps)}


@contextmanager
def _profiled(seen: dict[str, Any]) -> Iterator[None]:
    """Add to what is told the shares of this thread's time by `KINDS`."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as watched:
        yield
    spent: dict[str, float] = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for each in watched.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in each.key for part in parts)), "the rest")
        spent[kind] += each.self_cpu_time_total
    seen["shares"] = {kind: us / sum(spent.values()) for kind, us in spent.items()}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _of_card(options: argparse.Namespace, step_s: float) -> dict[str, Any]:
    """Say what a card did of what it can."""
    if options.device != "cuda":
        return {}
    card = torch.cuda.get_device_name()
    done = step_flops(num_pictures=options.batch_size, image_px=options.image_px) / step_s / 1e12
    peak = peak_tflops(card)
    return {
        "card": card,
        "pictures_per_s": options.batch_size / step_s,
        "tflops": done,
        "share_of_bf16_peak": None if peak is None else done / peak,
        "card_peak_bytes": torch.cuda.max_memory_allocated(),
    }


def _vgg() -> Vgg16:
    return random_vgg16()


def _style() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (STYLE_PX, STYLE_PX, 3), dtype=np.uint8)


def _batch(options: argparse.Namespace) -> torch.Tensor:
    shape = (options.batch_size, 3, options.image_px, options.image_px)
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)).mul_(255)


if __name__ == "__main__":
    main()
