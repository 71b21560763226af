"""Style pictures: load a model once, then as many pictures as there are.

Axes: H height, W width; 3 is red, green, blue. Range ``_255``: 0-255.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .contract import DEFAULT_MAX_PIXELS, DEFAULT_PRECISION, DEFAULT_QUALITY
from .engines import Engine, open_engine
from .errors import EngineError, PictureError
from .images import Picture, load_image, refuse_unwritable, save_image

_SMALLEST_SIDE_PX = 8


class Stylizer:
    """A model, ready to style pictures one at a time.

    Args:
        model_path: weights of the published net, or an ``.onnx`` model.
        device: ``auto``, ``accel``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        threads: of the CPU, for one picture; None or 0 leaves that to the library. The number can change the last bits.

    Attributes:
        engine_name: the library that runs the model.
        device: where it runs; never ``auto``.

    Raises:
        WeightsError: the file is not such a model.
        DeviceError: the device is not there.
        EngineError: the library is not installed.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        device: str = "auto",
        threads: int | None = None,
        engine: str = "auto",
        precision: str = DEFAULT_PRECISION,
        memory_bytes: int | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self._set(
            open_engine(model_path, device=device, threads=threads, engine=engine, precision=precision, cache=cache)
        )

    @classmethod
    def of_engine(cls, engine: Engine) -> Self:
        """Style with a model that is loaded already."""
        stylizer = cls.__new__(cls)
        stylizer._set(engine)
        return stylizer

    def _set(self, engine: Engine) -> None:
        self._engine = engine
        self.engine_name = engine.name
        self.device = engine.device

    def description(self) -> dict[str, Any]:
        """Say how results are made, for their record: ready for JSON."""
        return {
            "engine": self.engine_name,
            "engine_version": self._engine.version,
            "precision": DEFAULT_PRECISION,
            "device": self.device,
            "threads": self._engine.threads,
        }

    def style_float(self, rgb_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Style a picture, before rounding.

        The result is the net's own output on the whole picture, cropped to the picture's size. A side under 8 pixels
        is first extended to 8 at the bottom or right, by repeated reflection.

        Args:
            rgb_HW3: any size from 1 x 1 up.

        Returns:
            The shape that came in, clamped to 0-255.

        Raises:
            PictureError: the array is no such picture.
            EngineError: the model's output has another shape, or numbers that are not finite.
        """
        height, width = _size(rgb_HW3)
        rgb_255_13HW = _extended(rgb_HW3).transpose(2, 0, 1)[np.newaxis].astype(np.float32, order="C")
        styled = self._engine.run(rgb_255_13HW)
        if styled.ndim != 4 or styled.shape[:2] != (1, 3) or styled.shape[2] < height or styled.shape[3] < width:
            raise EngineError(
                f"the model made {styled.shape} of a picture of {width} x {height}; use a model of this net"
            )
        styled_HW3 = styled[0, :, :height, :width].transpose(1, 2, 0)
        if not np.isfinite(styled_HW3).all():
            raise EngineError(
                "the model's output holds numbers that are not finite; nothing was made, use another model"
            )
        return np.ascontiguousarray(styled_HW3.clip(0, 255))

    def style(self, rgb_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Style a picture of any size from 1 x 1 up; the result has the same shape.

        Rounded to the nearest number. The published script cuts the fraction off, which makes every picture half a
        level darker; both are within 0.1 dB of the published pictures.

        Raises:
            PictureError, EngineError, DeviceError: as `style_float`, or the device has not enough memory.
        """
        return np.rint(self.style_float(rgb_HW3)).astype(np.uint8)

    def style_picture(self, picture: Picture) -> Picture:
        """Style the colours of a picture; its alpha and its profile are carried over."""
        return replace(picture, rgb_HW3=self.style(picture.rgb_HW3))

    def style_file(
        self,
        content: str | os.PathLike[str],
        output: str | os.PathLike[str],
        *,
        max_side: int | None = None,
        scale: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        quality: int = DEFAULT_QUALITY,
        on_progress: Callable[[float], None] | None = None,
    ) -> Picture:
        """Style a picture file into another; what cannot be written is refused before the work is done.

        Args:
            content: see `neural_style.images.load_image`, also for the three options after ``output``.
            output: see `neural_style.images.save_image`, also for ``quality``.
            max_side: longest edge in pixels.
            scale: divides the size.
            max_pixels: limit of what is decoded.
            quality: of JPEG and WebP.

        Returns:
            What was written, before its encoding.
        """
        picture = load_image(content, max_side=max_side, scale=scale, max_pixels=max_pixels)
        refuse_unwritable(output, width=picture.width, height=picture.height)
        styled = self.style_picture(picture)
        save_image(styled, output, quality=quality)
        return styled


def _size(rgb_HW3: NDArray[np.uint8]) -> tuple[int, int]:
    if rgb_HW3.ndim != 3 or rgb_HW3.shape[2] != 3 or 0 in rgb_HW3.shape or rgb_HW3.dtype != np.uint8:
        raise PictureError(f"wanted uint8 pixels (height, width, 3), found {rgb_HW3.dtype} {rgb_HW3.shape}")
    return rgb_HW3.shape[0], rgb_HW3.shape[1]


def _extended(rgb_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring each side to at least 8 pixels; below 5 the net's own reflected borders have nothing to reflect."""
    height, width = rgb_HW3.shape[:2]
    return rgb_HW3[_reflected(height)][:, _reflected(width)] if min(height, width) < _SMALLEST_SIDE_PX else rgb_HW3


def _reflected(side_px: int) -> NDArray[np.intp]:
    """Index a side, and past its end back and forth without repeating the edge: 0 1 2 1 0 1 2 1."""
    period = max(1, 2 * (side_px - 1))
    phase = np.arange(max(side_px, _SMALLEST_SIDE_PX)) % period
    return np.minimum(phase, period - phase)
