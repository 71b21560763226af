"""Decode a folder of pictures to batches, and tell what that took.

`python -m bench.loader_program {published,processes,threads} FOLDER --workers N`: the published script's loader, ours
in the processes of torch's `DataLoader`, or ours as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from bench.stopwatch import told
from neural_style.images import hush_pillow
from neural_style.train_data import PictureDataModule, Preparation

IMAGE_PX = 256
BATCH_SIZE = 4


def main() -> None:
    """Time all batches but the first, which waits for processes to start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=("published", "processes", "threads"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--crop", default="center")
    options = parser.parse_args()
    batches = iter({"published": _published, "processes": _processes, "threads": _threads}[options.who](options))
    next(batches)
    with told() as seen:
        seen["num_pictures"] = sum(len(batch) for batch in batches)


def _published(options: argparse.Namespace) -> Iterable[torch.Tensor]:
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.Resize(IMAGE_PX),
            transforms.CenterCrop(IMAGE_PX),
            transforms.ToTensor(),
            transforms.Lambda(lambda pixels: pixels.mul(255)),
        ]
    )
    pictures = datasets.ImageFolder(str(options.folder), transform)
    return (batch for batch, _ in DataLoader(pictures, batch_size=BATCH_SIZE, num_workers=options.workers))


def _threads(options: argparse.Namespace) -> Iterable[torch.Tensor]:
    return _data(options, workers=options.workers, batch_size=BATCH_SIZE).train_loader()


class _OneByOne(Dataset[torch.Tensor]):
    """Each picture by itself, so that a process decodes it when it is asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._data = _data(options, workers=0, batch_size=1)

    def __len__(self) -> int:
        return self._data.steps_per_epoch

    def __getitem__(self, number: int) -> torch.Tensor:
        if number >= len(self):
            raise IndexError(number)
        self._data.set_epoch(0, number)
        return next(self._data.train_loader())[0]


def _processes(options: argparse.Namespace) -> Iterable[torch.Tensor]:
    loader: DataLoader[Any] = DataLoader(_OneByOne(options), batch_size=BATCH_SIZE, num_workers=options.workers)
    return loader


def _data(options: argparse.Namespace, *, workers: int, batch_size: int) -> PictureDataModule:
    how = Preparation(image_px=IMAGE_PX, batch_size=batch_size, seed=1, crop=options.crop, shuffle=False)
    data = PictureDataModule(options.folder, how, workers=workers)
    data.setup()
    hush_pillow()
    return data


if __name__ == "__main__":
    main()
