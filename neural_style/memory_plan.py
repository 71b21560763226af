"""How much of a picture's maps is kept in memory, and how tall the bands are in which they are computed.

Nothing here computes: it costs nothing to import. A picture of ``P`` pixels has, for a net of ``C`` channels at full
size, maps of ``4 C P`` bytes at full size (one before and one after the middle), ``2 C P`` at half and ``C P`` at
quarter size, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

_FEWEST_BAND_ROWS, _MOST_BAND_ROWS = 1, 64


class Kept(IntEnum):
    """Which maps outlive the moment of their computation; what is not kept is computed again when it is needed."""

    ALL = 0
    HALF_SIZE = 1
    QUARTER_SIZE = 2
    ON_DISK = 3
    """As `QUARTER_SIZE`, in files."""


# What the libraries take for themselves.
_ANY_BAND_BYTES = 16 << 20

# What bands take on a CPU where all is kept, unless the lowest takes more.
_BAND_AND_LIBRARY_BYTES = 80 << 20

# Bytes a channel and pixel when most is kept at once: raw maps around each layer, in float32.
_MAP_BYTES = {Kept.ALL: 7, Kept.HALF_SIZE: 3, Kept.QUARTER_SIZE: 2, Kept.ON_DISK: 0}


@dataclass(frozen=True, kw_only=True)
class BandPlan:
    """How a picture is computed.

    Attributes:
        kept: What stays.
        band_rows: Height of a band in rows of the quarter-size maps; four times as many of the picture.
        memory_bytes: What that takes, about.
        disk_bytes: What it takes on the disk.
    """

    kept: Kept
    band_rows: int
    memory_bytes: int
    disk_bytes: int

    def description(self) -> dict[str, Any]:
        """Say it for a record: ready for JSON."""
        return {"kept": self.kept.name.lower().replace("_", " "), "rows": 4 * self.band_rows}


def band_plan(
    height: int, width: int, *, channels: int, memory_bytes: int | None, wanted_band_bytes: int
) -> BandPlan | None:
    """Choose the plan that keeps most in so much memory; None where not even the least fits.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels; bands go across it.
        channels: Of the net at full size.
        memory_bytes: For all that the picture takes while it is styled; None: no limit.
        wanted_band_bytes: What a band had best take; bands become smaller, to one row, where there is less.
    """
    for kept in Kept:
        map_bytes = _MAP_BYTES[kept] * channels * height * width
        left = None if memory_bytes is None else memory_bytes - map_bytes
        wanted = wanted_band_bytes
        if left is not None and kept is not Kept.ALL:  # tall bands share what is computed again around each of them
            wanted = max(wanted, left)
        rows = _band_rows(height, width, channels=channels, bytes_left=left, wanted_bytes=wanted)
        if rows:
            band_bytes = _band_bytes(rows, height, width, channels=channels)
            disk_bytes = 2 * channels * height * width if kept is Kept.ON_DISK else 0
            return BandPlan(kept=kept, band_rows=rows, memory_bytes=map_bytes + band_bytes, disk_bytes=disk_bytes)
    return None


def full_size_channels(weights: Mapping[str, Sized]) -> int:
    """Return the channels at full size of a net whose largest maps take as much; of the published net its own.

    Args:
        weights: the published net's, by name; those of the norms tell its widths.
    """
    full, half, quarter = (len(weights[f"{name}.bias"]) for name in ("in1", "in2", "in3"))
    return max(full, -(-half // 2), -(-quarter // 4))


def whole_bytes_per_pixel(channels: int) -> int:
    """Return what a picture of which all is kept takes for each of its pixels, itself and its result included."""
    return _MAP_BYTES[Kept.ALL] * channels + 36


def with_bands_bytes(height: int, width: int, *, bytes_per_pixel: int) -> int:
    """Return what a picture of which all is kept takes on a CPU at most, its bands included.

    Args:
        height: In pixels.
        width: In pixels.
        bytes_per_pixel: See `whole_bytes_per_pixel`.
    """
    lowest_band_bytes = min(24, height + 8) * width * 4 * bytes_per_pixel
    return bytes_per_pixel * height * width + max(_BAND_AND_LIBRARY_BYTES, lowest_band_bytes)


def least_bytes(height: int, width: int, *, channels: int) -> int:
    """Return the memory without which a picture of that size cannot be styled at all."""
    return _band_bytes(_FEWEST_BAND_ROWS, height, width, channels=channels)


def _band_rows(height: int, width: int, *, channels: int, bytes_left: int | None, wanted_bytes: int) -> int:
    """Return how tall a band may be, 0 where none fits."""
    if bytes_left is not None and _band_bytes(_FEWEST_BAND_ROWS, height, width, channels=channels) > bytes_left:
        return 0
    allowed = wanted_bytes if bytes_left is None else min(wanted_bytes, bytes_left)
    tallest = min(_MOST_BAND_ROWS, -(-height // 4))
    fitting = (r for r in range(tallest, 0, -1) if _band_bytes(r, height, width, channels=channels) <= allowed)
    return next(fitting, _FEWEST_BAND_ROWS)


def _band_bytes(rows: int, height: int, width: int, *, channels: int) -> int:
    """Return what is in memory while a band is computed, as measured: its rows and some around it, several times."""
    return _ANY_BAND_BYTES + min(4 * rows + 20, height + 8) * width * (24 * channels + 32)
