"""Pictures to train on, as batches: in an order and with crops that depend on nothing but seed and position.

So a run that is resumed, or that has more threads, sees what an unbroken one with fewer sees.
"""

# Axes: B batch, C channels, H height, W width; 3 is red, green, blue. Pictures are 0-255.

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .contract import DEFAULT_MAX_PIXELS
from .crop import CENTER, RANDOM, cut, least_side_px, shuffled, widest_side_px
from .datamodule import DataModule
from .errors import DatasetError, PictureError, SettingError, one_line
from .images import decode_rgb, hush_pillow
from .picture_set import PictureSet
from .prefetch import done_ahead

log = logging.getLogger("neural_style")

_MOST_THREADS = 16
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a picture becomes training pixels, and in what order; all of it changes what is learned.

    Attributes:
        image_px: Height and width.
        batch_size: Pictures a step, over all processes together.
        seed: Of order and crops.
        crop: ``center`` as the published script, or ``random``; see `neural_style.crop.cut`.
        shuffle: Another order each epoch; else that of the names, as in the published script.
        drop_last: Leave out the pictures at an epoch's end that are fewer than a batch. The published script learns
            from them; several processes leave them out whatever this says.

    Raises:
        SettingError: a value is outside what it may be.
    """

    image_px: int
    batch_size: int
    seed: int
    crop: str = CENTER
    shuffle: bool = True
    drop_last: bool = True

    def __post_init__(self) -> None:
        for name in ("image_px", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: wanted 1 or more, found {getattr(self, name)!r}")
        if self.crop not in (CENTER, RANDOM):
            raise SettingError(f"crop: wanted {CENTER!r} or {RANDOM!r}, found {self.crop!r}")


class PictureDataModule(DataModule):
    """Batches of the pictures in folders or tar shards, decoded ahead in threads.

    A picture that cannot be decoded is told of once, and its place goes to the next one in the order that can; so
    batches stay whole, and every other place as it was.

    Args:
        folders: See `PictureSet`.
        preparation: What changes the batches.
        workers: Threads that decode; None chooses by the processors, 0 decodes when a batch is asked for.
        max_broken: So many pictures may be broken before it is given up.
        max_pixels: A picture that declares more counts as broken.

    Attributes:
        broken: Why pictures could not be read, by name, as far as they were met.
    """

    def __init__(
        self,
        folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        preparation: Preparation,
        *,
        workers: int | None = None,
        max_broken: int = 100,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        if max_broken < 0 or (workers is not None and workers < 0):
            raise SettingError(f"wanted 0 or more, found max_broken={max_broken!r}, workers={workers!r}")
        self.preparation = preparation
        self.broken: dict[str, str] = {}
        self._folders = folders
        self._workers = min(_processors(), _MOST_THREADS) if workers is None else workers
        self._max_broken = max_broken
        self._max_pixels = max_pixels
        self._epoch, self._start_step = 0, 0
        self._open: Generator[torch.Tensor] | None = None

    @functools.cached_property
    def pictures(self) -> PictureSet:
        """The pictures, looked for when they are first asked for.

        Raises:
            DatasetError: there are none, or fewer than a batch.
        """
        found = PictureSet(self._folders)
        if len(found) < self.preparation.batch_size:
            raise DatasetError(
                f"{', '.join(map(str, found.roots))}: wanted pictures for a batch of {self.preparation.batch_size}, "
                f"found {len(found)}; add some, or make the batch smaller"
            )
        return found

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        whole, rest = divmod(len(self.pictures), self.preparation.batch_size)
        return whole + bool(rest and not self.preparation.drop_last and self._world_size == 1)

    def digest(self) -> str:
        """Return 64 hexadecimal digits that change with the pictures' names and sizes."""
        return self.pictures.digest()

    def setup(self) -> None:
        """Look for the pictures.

        Raises:
            DatasetError: there are none, or fewer than a batch.
            SettingError: the processes cannot share a batch evenly.
        """
        if self.preparation.batch_size % self._world_size:
            raise SettingError(
                f"batch_size: wanted a number that {self._world_size} processes share evenly, "
                f"found {self.preparation.batch_size}"
            )
        hush_pillow()
        log.info("%d pictures to train on, %d steps an epoch", len(self.pictures), self.steps_per_epoch)

    def set_epoch(self, epoch: int, start_step: int) -> None:
        """Begin `train_loader` there; what comes before is not decoded."""
        self._epoch, self._start_step = epoch, start_step

    def train_loader(self) -> Iterator[torch.Tensor]:
        """Give what is left of the epoch, as ``(B, 3, H, W)`` float32 in channels-last memory, 0-255.

        One that was given before ends.

        Raises:
            DatasetError: too many pictures are broken, or the disk fails.
        """
        self.teardown()
        self._open = self._batches(self._epoch, self._start_step)
        return self._open

    def teardown(self) -> None:
        """End the threads, if an epoch was left in the middle."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _world_size(self) -> int:
        return self._trainer.world_size if self._trainer is not None else 1

    def _batches(self, epoch: int, start_step: int) -> Generator[torch.Tensor]:
        ahead = self.preparation.batch_size // self._world_size + 2 * self._workers
        load = _Loader(self.pictures, self.preparation, epoch=epoch, patience=self._max_broken, limit=self._max_pixels)
        with closing(
            done_ahead(self._places(epoch, start_step), load, num_threads=self._workers, num_ahead=ahead)
        ) as loaded:
            for place in loaded:
                self._note(place)
                if place.row == len(place.batch_BHW3) - 1:
                    yield place.batch_BHW3.permute(0, 3, 1, 2)

    def _places(self, epoch: int, start_step: int) -> Iterator[_Place]:
        """Give the places of this process's share of each batch, row by row."""
        world_size, pin = self._world_size, self._trainer is not None and self.device.type == "cuda"
        rank = self.rank if world_size > 1 else 0
        size, px = self.preparation.batch_size, self.preparation.image_px
        for step in range(start_step, self.steps_per_epoch):
            first = step * size + rank * (size // world_size)
            num_rows = min(size // world_size, len(self.pictures) - first)
            batch_BHW3 = torch.empty((num_rows, px, px, 3), pin_memory=pin)
            for row in range(num_rows):
                yield _Place(batch_BHW3, row, first + row)

    def _note(self, place: _Place) -> None:
        """Tell of broken pictures, in the order in which they are met, and give up at one too many."""
        for name, reason in place.broken.items():
            if name not in self.broken:
                log.warning("left out: %s", reason)
                self.broken[name] = reason
        if len(self.broken) > self._max_broken or not place.is_filled:
            raise DatasetError(self._what_is_broken())

    def _what_is_broken(self) -> str:
        """Say how much, with some examples, and what to do."""
        num_broken, num_pictures = len(self.broken), len(self.pictures)
        named = f"{'; '.join(list(self.broken.values())[:_NAMED])}{'; ...' if num_broken > _NAMED else ''}"
        if num_broken == num_pictures:
            return f"none of the {num_pictures} pictures can be read: {named}; are they pictures?"
        return (
            f"{num_broken} of {num_pictures} pictures are broken, and {self._max_broken} may be: {named}; mend or "
            "remove them, or let more be broken (--max-broken)"
        )


class _Place:
    """A row of a batch, and what came of filling it."""

    def __init__(self, batch_BHW3: torch.Tensor, row: int, position: int) -> None:
        self.batch_BHW3 = batch_BHW3
        self.row = row
        self.position = position
        self.broken: dict[str, str] = {}
        self.is_filled = False

    def fill(self, pixels_HW3: NDArray[np.uint8]) -> None:
        """Put the pixels into the batch; by NumPy, since torch would start threads for it in each of the threads."""
        self.batch_BHW3.numpy()[self.row] = pixels_HW3
        self.is_filled = True


class _Loader:
    """Fills places of one epoch; called by several threads."""

    def __init__(self, pictures: PictureSet, how: Preparation, *, epoch: int, patience: int, limit: int) -> None:
        self._pictures = pictures
        self._how = how
        self._epoch = epoch
        self._patience = patience
        self._limit = limit
        num_pictures = len(pictures)
        self._order = shuffled(num_pictures, seed=how.seed, epoch=epoch) if how.shuffle else np.arange(num_pictures)

    def __call__(self, place: _Place) -> _Place:
        own = int(self._order[place.position])
        for further in range(len(self._order)):
            number = int(self._order[(place.position + further) % len(self._order)])
            try:
                place.fill(self._pixels(number, crop_of=own))
                break
            except PictureError as err:
                place.broken[self._pictures.name(number)] = str(err)
            if len(place.broken) > self._patience:
                break
        return place

    def _pixels(self, number: int, *, crop_of: int) -> NDArray[np.uint8]:
        """Decode a picture and cut its square, where the picture would have had it to which the place belongs."""
        how, name = self._how, one_line(self._pictures.name(number))
        least_px = least_side_px(how.crop, how.image_px)
        image = decode_rgb(self._pictures.read(number), name=name, least_side_px=least_px, max_pixels=self._limit)
        if widest_side_px(how.crop, how.image_px) ** 2 * max(image.size) > self._limit * min(image.size):
            raise PictureError(f"{name}: {image.width} x {image.height} pixels are too long to cut a square out of")
        return cut(image, how.image_px, crop=how.crop, seed=how.seed, epoch=self._epoch, number=crop_of)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
