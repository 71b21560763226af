"""Where a picture's pixels come from and where the styled ones go: arrays, or files that are larger than memory.

Axes: H height, W width; 3 is red, green, blue. Range ``_255``: 0-255.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import EngineError
from .pixel_file import BandFile

_SMALLEST_SIDE_PX = 8
_SAMPLED_ROWS, _SAMPLED_COLUMNS = 32, 256
_FEW_COLOURS = 64  # a tile of 32 x 32 pixels shows so many to who looks at every fourth


class PixelSource(Protocol):
    """A picture that any rows can be read of.

    Attributes:
        height: In pixels.
        width: In pixels.
    """

    height: int
    width: int

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """Return rows ``(bottom - top, W, 3)``, 0-255."""
        ...


class PixelSink(Protocol):
    """Takes the styled picture, from the top down."""

    def put(self, top: int, rgb_255_HW3: NDArray[np.float32]) -> None:
        """Take rows; those and columns beyond the picture's size are left out.

        Raises:
            EngineError: there are numbers that are not finite.
        """
        ...


class Extended:
    """A picture with at least 8 pixels a side, by repeated reflection at the bottom and right.

    Below 5 pixels the net's own reflected borders have nothing to reflect.
    """

    def __init__(self, source: PixelSource) -> None:
        self._source = source
        self.height, self.width = max(source.height, _SMALLEST_SIDE_PX), max(source.width, _SMALLEST_SIDE_PX)

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """See `PixelSource.rows`."""
        source = self._source
        if source.height < self.height:
            rows_HW3 = source.rows(0, source.height)[_reflected(source.height)[top:bottom]]
        else:
            rows_HW3 = source.rows(top, bottom)
        return rows_HW3[:, _reflected(source.width)] if source.width < self.width else rows_HW3


def _reflected(side_px: int) -> NDArray[np.intp]:
    """Index a side, and past its end back and forth without repeating the edge: 0 1 2 1 0 1 2 1."""
    period = max(1, 2 * (side_px - 1))
    phase = np.arange(max(side_px, _SMALLEST_SIDE_PX)) % period
    return np.minimum(phase, period - phase)


def is_flat(source: PixelSource, *, deviation: float = 1.0) -> bool:
    """Tell whether a picture is nearly of one colour, or of one small pattern, as far as some of its pixels show.

    The net's middle sees every fourth pixel: to it stripes and boards of one, two or four pixels are flat, too. So are
    they here.

    Args:
        source: the picture.
        deviation: of a colour's levels from their mean, below which it is flat.
    """
    return bool(_sample(source).std(axis=0).max() < deviation)


def has_few_colours(source: PixelSource) -> bool:
    """Tell whether a picture of uint8 is a regular pattern or a drawing of few colours, as far as some pixels show.

    In bfloat16 a level of such a picture is rounded the same way at every place, which adds up: stripes and tiles come
    within 29 to 43 dB of what they should be, photographs within 45 to 50.
    """
    numbers = _sample(source).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return len(np.unique(numbers)) <= _FEW_COLOURS


def _sample(source: PixelSource) -> NDArray[Any]:
    """Return some of the pixels that the net's middle sees: ``(N, 3)``."""
    rows = np.unique(np.linspace(0, source.height - 1, num=_SAMPLED_ROWS, dtype=int) // 4 * 4)
    step = 4 * max(1, source.width // (4 * _SAMPLED_COLUMNS))
    return np.concatenate([source.rows(row, row + 1)[:, ::step] for row in rows.tolist()]).reshape(-1, 3)


class ArraySource:
    """An array, any numbers; or, for an engine on its own device, a tensor."""

    def __init__(self, rgb_HW3: Any) -> None:
        self._rgb_HW3 = rgb_HW3
        self.height, self.width = rgb_HW3.shape[:2]

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """See `PixelSource.rows`."""
        rows_HW3: NDArray[Any] = self._rgb_HW3[top:bottom]
        return rows_HW3


class FileSource:
    """A file of uint8."""

    def __init__(self, file: BandFile) -> None:
        self._file = file
        self.height, self.width = file.shape[:2]

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """See `PixelSource.rows`."""
        return self._file.read(top, bottom)


class ArraySink:
    """An array of uint8, rounded, or of float32.

    Attributes:
        rgb_HW3: What has been put so far.
    """

    def __init__(self, height: int, width: int, *, dtype: type[np.uint8 | np.float32] = np.uint8) -> None:
        self.rgb_HW3: NDArray[Any] = np.zeros((height, width, 3), dtype)

    def put(self, top: int, rgb_255_HW3: NDArray[np.float32]) -> None:
        """See `PixelSink.put`."""
        height, width = self.rgb_HW3.shape[:2]
        rows_HW3 = sound_rows(rgb_255_HW3[: max(0, height - top), :width])
        self.rgb_HW3[top : top + len(rows_HW3)] = rows_HW3 if self.rgb_HW3.dtype == np.float32 else rounded(rows_HW3)


class FileSink:
    """A file of uint8."""

    def __init__(self, file: BandFile) -> None:
        self._file = file

    def put(self, top: int, rgb_255_HW3: NDArray[np.float32]) -> None:
        """See `PixelSink.put`.

        Raises:
            OutputError: the disk does not take it.
        """
        height, width = self._file.shape[:2]
        rows_HW3 = sound_rows(rgb_255_HW3[: max(0, height - top), :width])
        if len(rows_HW3):
            self._file.write(top, 0, rounded(rows_HW3))


def sound_rows(rgb_255_HW3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows clamped to 0-255.

    Raises:
        EngineError: there are numbers that are not finite.
    """
    if rgb_255_HW3.size == 0:
        return rgb_255_HW3
    with np.errstate(invalid="ignore"):
        lowest, highest = float(rgb_255_HW3.min()), float(rgb_255_HW3.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise EngineError("the model's output holds numbers that are not finite; nothing was made, use another model")
    return rgb_255_HW3 if lowest >= 0 and highest <= 255 else rgb_255_HW3.clip(0, 255)


def rounded(rgb_255_HW3: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round to the nearest number.

    The published script cuts the fraction off, which makes every picture half a level darker; both are within 0.1 dB of
    the published pictures.
    """
    return np.rint(rgb_255_HW3).astype(np.uint8)
