"""Where a net's maps lie while a picture is styled: in memory, or in files.

Axes: H height, W width, C channels; a map is ``(H, W, C)``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from .pixel_file import BandFile


class FeatureMap(Protocol):
    """A map that is written and read in rows."""

    def rows(self, top: int, bottom: int) -> Tensor:
        """Return rows ``(bottom - top, W, C)``; they may be the map itself, and are not changed by the caller."""
        ...

    def put(self, top: int, rows_HWC: Tensor) -> None:
        """Write rows from ``top`` on."""
        ...


class MemoryMap:
    """A map on the device that computes."""

    def __init__(self, shape_HWC: tuple[int, int, int], *, dtype: torch.dtype, device: torch.device) -> None:
        self._whole_HWC = torch.empty(shape_HWC, dtype=dtype, device=device)

    def rows(self, top: int, bottom: int) -> Tensor:
        """See `FeatureMap.rows`."""
        return self._whole_HWC[top:bottom]

    def put(self, top: int, rows_HWC: Tensor) -> None:
        """See `FeatureMap.put`."""
        self._whole_HWC[top : top + len(rows_HWC)].copy_(rows_HWC)


class FileMap:
    """A map in a file."""

    def __init__(
        self, folder: Path, shape_HWC: tuple[int, int, int], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._shape_HWC, self._dtype, self._device = shape_HWC, dtype, device
        # numpy has no bfloat16; the bits are what is kept.
        bits = np.dtype(np.float32 if dtype == torch.float32 else np.int16)
        self.file = BandFile(folder, shape=shape_HWC, dtype=bits)

    def rows(self, top: int, bottom: int) -> Tensor:
        """See `FeatureMap.rows`."""
        rows_HWC = torch.empty((bottom - top, *self._shape_HWC[1:]), dtype=self._dtype)
        self.file.read_into(_bits(rows_HWC), top)
        return rows_HWC.to(self._device)

    def put(self, top: int, rows_HWC: Tensor) -> None:
        """See `FeatureMap.put`."""
        self.file.write(top, 0, _bits(rows_HWC.cpu().contiguous()))


class MapStore:
    """Makes maps, and ends those that lie in files when the block ends.

    Args:
        device: Where is computed.
        folder: Of files; None keeps every map in memory.
    """

    def __init__(self, *, device: torch.device, folder: Path | None = None) -> None:
        self._device, self._folder = device, folder
        self._files: list[BandFile] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def new(self, shape_HWC: tuple[int, int, int], *, dtype: torch.dtype) -> FeatureMap:
        """Make a map of any content.

        Raises:
            OutputError: the disk has not enough space.
        """
        if self._folder is None:
            return MemoryMap(shape_HWC, dtype=dtype, device=self._device)
        made = FileMap(self._folder, shape_HWC, dtype=dtype, device=self._device)
        self._files.append(made.file)
        return made


def _bits(rows_HWC: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return (rows_HWC if rows_HWC.dtype == torch.float32 else rows_HWC.view(torch.int16)).numpy()
