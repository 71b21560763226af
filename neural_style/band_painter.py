"""What libvips decodes, band by band, as the pixels that `images.load_image` gives: colours, alpha, upright.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import colour
from .picture_facts import PictureFacts
from .picture_limits import CHANNELS_OF_PIXELS
from .pixel_file import BandFile

_TURNED_PX = 2**22  # rows that become columns are written piece by piece: the more of them at a time, the longer these
# Of an orientation: rows become columns, then upside down, then left to right.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class Painter:
    """Turns the numbers of a file into RGB and alpha, as `colour.to_rgb` does with a whole picture.

    Args:
        facts: of the file.
        name: put in front of messages.

    Attributes:
        icc_profile: the profile that what it makes belongs to.
    """

    def __init__(self, facts: PictureFacts, *, name: str) -> None:
        self._facts, self._name = facts, name
        self._is_cmyk = facts.pixels.startswith("CMYK")
        mode = "CMYK" if self._is_cmyk else "L" if CHANNELS_OF_PIXELS[facts.pixels][0] <= 2 else "RGB"
        if facts.pixels == "LA;16":  # Pillow decodes these to RGBA
            mode = "RGB"
        # What is to be said of a broken profile is said here, once.
        pixel = Image.new(mode, (1, 1))
        pixel.info["icc_profile"] = facts.icc_profile
        _, self.icc_profile = colour.to_rgb(pixel, name=name)
        self._is_plain = not self._is_cmyk and self.icc_profile in (None, facts.icc_profile)

    def paint(self, samples_HWC: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return ``(H, W, 3)`` and ``(H, W, 1)``; the second is of use only where the facts tell of alpha."""
        pixels_HWC = self._in_8_bits(samples_HWC)
        alpha_HW1 = self._alpha(pixels_HWC)
        if self._is_cmyk:
            opaque = Image.fromarray(np.ascontiguousarray(pixels_HWC), "CMYK")
        elif pixels_HWC.shape[2] >= 3:
            return np.ascontiguousarray(pixels_HWC[..., :3]), alpha_HW1
        elif self._is_plain:
            return np.repeat(pixels_HWC[..., :1], 3, axis=2), alpha_HW1
        else:
            opaque = Image.fromarray(np.ascontiguousarray(pixels_HWC[..., 0]))
        if not self._is_plain and self.icc_profile is not None:
            opaque.info["icc_profile"] = self._facts.icc_profile
        rgb, _ = colour.to_rgb(opaque, name=self._name)
        return np.asarray(rgb), alpha_HW1

    def _in_8_bits(self, samples_HWC: NDArray[Any]) -> NDArray[np.uint8]:
        if samples_HWC.dtype == np.uint8:
            return samples_HWC
        if self._facts.pixels == "I;16":  # as `colour.to_rgb` rounds
            return ((samples_HWC.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return (samples_HWC >> 8).astype(np.uint8)  # as Pillow cuts off

    def _alpha(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._facts.pixels == "RGB;16" and isinstance(self._facts.transparent, tuple):
            # Pillow looks for the colour when eight bits of each number are gone.
            is_it = (pixels_HWC[..., :3] == np.array(self._facts.transparent, np.uint8)).all(axis=2, keepdims=True)
            return np.where(is_it, np.uint8(0), np.uint8(255))
        return np.ascontiguousarray(pixels_HWC[..., -1:])


class UprightFile:
    """Writes pieces of a picture into a file where they belong once it is upright."""

    def __init__(self, file: BandFile, facts: PictureFacts) -> None:
        self._file, self._facts = file, facts
        self._turn = _TURNS[facts.orientation]
        self._waiting: list[NDArray[np.uint8]] = []
        self._waiting_at = (0, 0)

    def put(self, top: int, left: int, pixels_HWC: NDArray[np.uint8]) -> None:
        """Take a piece that lies there in the file that is decoded."""
        if not self._turn[0] or self._facts.is_wide:
            self._write(top, left, pixels_HWC)
            return
        if not self._waiting:
            self._waiting_at = (top, left)
        self._waiting.append(pixels_HWC)
        if sum(len(rows) for rows in self._waiting) * self._facts.stored_width >= _TURNED_PX:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._write(*self._waiting_at, np.concatenate(self._waiting))
            self._waiting = []

    def _write(self, top: int, left: int, pixels_HWC: NDArray[np.uint8]) -> None:
        is_turned, is_upside_down, is_mirrored = self._turn
        if is_turned:
            pixels_HWC, top, left = pixels_HWC.swapaxes(0, 1), left, top
        if is_upside_down:
            pixels_HWC, top = pixels_HWC[::-1], self._file.shape[0] - top - pixels_HWC.shape[0]
        if is_mirrored:
            pixels_HWC, left = pixels_HWC[:, ::-1], self._file.shape[1] - left - pixels_HWC.shape[1]
        self._file.write(top, left, pixels_HWC)
