"""Style pictures: load a model once, then as many pictures as there are, of any size.

Axes: H height, W width; 3 is red, green, blue. Range ``_255``: 0-255.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .contract import DEFAULT_MAX_PIXELS, DEFAULT_PRECISION, DEFAULT_QUALITY, FAST_FROM_PX
from .engines import Engine, open_engine
from .errors import DeviceMemoryError, EngineError, NeuralStyleError, PictureError, PictureTooLargeError
from .free_memory import free_bytes, half_of_free
from .images import Picture, load_image, refuse_unwritable, save_image
from .memory_plan import BandPlan, with_bands_bytes
from .new_folders import room_for
from .picture_facts import read_facts
from .pixel_file import BandFile
from .pixels import (
    ArraySink,
    ArraySource,
    Extended,
    FileSink,
    FileSource,
    PixelSink,
    PixelSource,
    has_few_colours,
    is_flat,
)
from .progress_parts import part_of

log = logging.getLogger("neural_style")

_ARRAY_BYTES_PER_PIXEL, _FLOAT_ARRAY_BYTES_PER_PIXEL = 6, 15
"""Of a picture in memory and its result, rounded or not."""

_LOADED_BYTES_PER_PIXEL = 16
"""Of a picture while it is decoded into memory, or encoded."""

_NO_MATTER_BYTES = 64 << 20
"""What takes no more is not compared with what is free."""

_FLAT_DEVIATION = 4.0
"""A picture whose levels deviate less from their mean is nearly of one colour: bfloat16 would make blotches of it."""


@dataclass(frozen=True, kw_only=True)
class Styled:
    """What was written.

    Attributes:
        width: In pixels.
        height: In pixels.
        made_by: How it was made, for its record: ready for JSON.
    """

    width: int
    height: int
    made_by: dict[str, Any]


class _BandEngine(Engine, Protocol):
    """An engine that styles in a given memory."""

    def stream(
        self,
        source: PixelSource,
        sink: PixelSink,
        *,
        memory_bytes: int | None,
        folder: Path,
        on_progress: Callable[[float], None] | None = None,
    ) -> BandPlan:
        """See `neural_style.engines.torch_engine.TorchEngine.stream`."""
        ...


class Stylizer:
    """A model, ready to style pictures; threads may style several at once.

    A picture that the memory does not hold is styled in bands, which gives the same numbers. Pictures that
    are small, nearly flat or of few colours are styled in float32 whatever the precision: they would suffer.

    Args:
        model_path: weights of the published net, or an ``.onnx`` model.
        device: ``auto``, ``accel``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        threads: of the CPU, for one picture; None or 0 leaves that to the library. The number can change the last bits.
            With 1, as many pictures as there are cores are best styled at once.
        engine: ``auto`` (the first of the installed ones that keeps its promise), ``torch``, ``openvino`` or
            ``onnxruntime``.
        precision: ``float32`` or ``fast``, see `neural_style.contract.PRECISIONS`.
        memory_bytes: what a picture may take while it is styled, on the device, besides what the model takes; None:
            half of what is free then, and what other threads' pictures need is not.
        cache: folder for converted models; None: they are converted each time.

    Attributes:
        engine_name: the library that runs the model.
        device: where it runs; never ``auto``.

    Raises:
        WeightsError: the file is not such a model.
        DeviceError: the device is not there.
        EngineError: the library is not installed, or does not keep its promise.
        SettingError: there is no such engine or precision.
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
        def opened(**other: str) -> Engine:
            options = {"device": device, "engine": engine, "precision": precision, **other}
            return open_engine(model_path, threads=threads, cache=cache, **options)

        self._set(opened(), opened, memory_bytes=memory_bytes)

    @classmethod
    def of_engine(cls, engine: Engine, *, memory_bytes: int | None = None) -> Self:
        """Style with a model that is loaded already."""
        stylizer = cls.__new__(cls)
        stylizer._set(engine, lambda **_: engine, memory_bytes=memory_bytes)
        return stylizer

    def _set(self, engine: Engine, opened: Callable[..., Engine], *, memory_bytes: int | None) -> None:
        self._engine, self._opened, self._memory_bytes = engine, opened, memory_bytes
        self._others: dict[tuple[tuple[str, str], ...], Engine] = {}
        self._lock = threading.Lock()
        self._has_warned = False
        self.engine_name = engine.name
        self.device = engine.device

    def description(self) -> dict[str, Any]:
        """Say how most results are made; `Styled.made_by` says it of one. Ready for JSON."""
        return _description(self._engine)

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
            EngineError: the model's output has another shape, or numbers that are not finite; or the picture does not
                fit into the memory, and torch, which styles in bands, is not installed.
            DeviceError: the device has not enough memory for a single band.
            OutputError: the disk has not enough space for the bands.
        """
        sink = ArraySink(*_size(rgb_HW3), dtype=np.float32)
        self._style(ArraySource(rgb_HW3), sink, held_per_pixel=_FLOAT_ARRAY_BYTES_PER_PIXEL)
        return sink.rgb_HW3

    def style(self, rgb_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Style a picture of any size from 1 x 1 up; the result has the same shape, rounded to the nearest number.

        Raises:
            PictureError, EngineError, DeviceError, OutputError: as `style_float`.
        """
        sink = ArraySink(*_size(rgb_HW3))
        self._style(ArraySource(rgb_HW3), sink)
        return sink.rgb_HW3

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
        durable: bool = True,
        on_progress: Callable[[float], None] | None = None,
    ) -> Styled:
        """Style a picture file into another; what cannot be written is refused before the work is done.

        A picture that can be read in bands (`neural_style.bands`) is never whole in memory where it is large for that,
        or larger than ``max_pixels``: it lies in files without names in the output's folder meanwhile.

        Args:
            content: see `neural_style.images.load_image`, also for the three options after ``output``.
            output: see `neural_style.images.save_image`, also for ``quality`` and ``durable``.
            max_side: longest edge in pixels.
            scale: divides the size.
            max_pixels: limit of what is decoded. Unless it is lowered, pictures that can be read in bands are exempt up
                to `neural_style.contract.LARGEST_PIXELS`.
            quality: of JPEG and WebP.
            durable: False neither waits for the disk nor tries before the work whether the output's folder, which has
                to be there, can be written.
            on_progress: is told what part is done, 0 to 1, of a picture that is styled in bands.

        Raises:
            NeuralStyleError: the picture cannot be read, styled or written.
        """
        if max_side is None and scale is None and self._is_for_bands(content, max_pixels=max_pixels):
            return self._style_large_file(content, output, quality=quality, durable=durable, on_progress=on_progress)
        picture = load_image(content, max_side=max_side, scale=scale, max_pixels=max_pixels)
        refuse_unwritable(output, width=picture.width, height=picture.height)
        sink = ArraySink(picture.height, picture.width)
        with room_for(Path(output)) if durable else nullcontext(Path(output).parent) as folder:
            try:
                made_by = self._style(ArraySource(picture.rgb_HW3), sink, folder=folder, on_progress=on_progress)
            except DeviceMemoryError as err:
                if find_spec("pyvips") is not None:
                    raise
                install = "pip install 'neural-style-pipeline[bands]'"
                raise DeviceMemoryError(f"{err}, or have it read in bands, too: {install}") from err
            save_image(replace(picture, rgb_HW3=sink.rgb_HW3), output, quality=quality, durable=durable)
        return Styled(width=picture.width, height=picture.height, made_by=made_by)

    def _is_for_bands(self, content: str | os.PathLike[str], *, max_pixels: int) -> bool:
        """Tell whether a picture file is not to be whole in memory."""
        try:
            facts = read_facts(content)
        except NeuralStyleError as err:
            if isinstance(err, PictureTooLargeError) and max_pixels >= DEFAULT_MAX_PIXELS:
                raise  # by the limit of pictures in bands, which is the last
            return False  # to be told by who reads it
        num_pixels = facts.width * facts.height
        if facts.obstacle is not None or max_pixels < DEFAULT_MAX_PIXELS:
            return False
        if num_pixels > max_pixels:
            return True
        if self._memory_bytes is None and num_pixels * _LOADED_BYTES_PER_PIXEL * 2 <= _NO_MATTER_BYTES:
            return False
        allowed = self._memory_bytes or (free_bytes("cpu") or num_pixels * _LOADED_BYTES_PER_PIXEL * 4) // 2
        return num_pixels * _LOADED_BYTES_PER_PIXEL * 2 > allowed and find_spec("pyvips") is not None

    def _style_large_file(
        self,
        content: str | os.PathLike[str],
        output: str | os.PathLike[str],
        *,
        quality: int,
        durable: bool,
        on_progress: Callable[[float], None] | None,
    ) -> Styled:
        from .band_writer import encode_in_bands, refuse_unwritable_in_bands
        from .bands import BandedPicture, decode_in_bands

        facts = read_facts(content)
        refuse_unwritable_in_bands(output, width=facts.width, height=facts.height)
        with (
            room_for(Path(output)) as folder,
            decode_in_bands(content, folder, on_progress=part_of(on_progress, 0, 0.05)) as picture,
            BandFile(folder, shape=picture.rgb.shape) as rgb,
        ):
            made_by = self._style(
                FileSource(picture.rgb),
                FileSink(rgb),
                held_per_pixel=0,
                folder=folder,
                on_progress=part_of(on_progress, 0.05, 0.9),
            )
            styled = BandedPicture(rgb, picture.alpha, picture.icc_profile)
            encode_in_bands(styled, output, quality=quality, durable=durable, on_progress=part_of(on_progress, 0.9, 1))
        return Styled(width=styled.width, height=styled.height, made_by={**made_by, "file": "in bands"})

    def _style(
        self,
        source: PixelSource,
        sink: PixelSink,
        *,
        held_per_pixel: int = _ARRAY_BYTES_PER_PIXEL,
        folder: Path | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """Style whole if that fits, else in bands; return how it was made."""
        engine, extended = self._engine_for(source), Extended(source)
        held_bytes = held_per_pixel * source.height * source.width if engine.device == "cpu" else 0
        needed = engine.bytes_per_pixel * extended.height * extended.width
        if _is_band_engine(engine):
            needed = with_bands_bytes(extended.height, extended.width, bytes_per_pixel=engine.bytes_per_pixel)
        with self._allowed_bytes(engine.device, needed, held_bytes=held_bytes) as allowed:
            if allowed is None or needed <= allowed or not self._may_stream(engine):
                try:
                    _style_whole(engine, source, sink)
                    return _description(engine)
                except DeviceMemoryError:
                    size = f"{source.width} x {source.height} pixels"
                    self._warn(f"{engine.device} has not enough memory for {size} at once; styling in bands")
                    allowed = (free_bytes(engine.device) or needed) // 4
            bands = self._band_engine(engine)
            plan = bands.stream(
                extended,
                sink,
                memory_bytes=allowed,
                folder=folder or Path(tempfile.gettempdir()),
                on_progress=on_progress,
            )
            # With so much memory the same bands are made again.
            return {**_description(bands), "bands": {**plan.description(), "memory_bytes": allowed + held_bytes}}

    def _may_stream(self, engine: Engine) -> bool:
        """Tell whether what does not fit is to be streamed, not tried: only the user's own limit is never passed."""
        if self._memory_bytes is not None:
            return True
        try:
            self._band_engine(engine)
        except EngineError:
            return False
        return True

    def _engine_for(self, source: PixelSource) -> Engine:
        """Return the engine that keeps its promise with this picture."""
        engine = self._engine
        if engine.precision == DEFAULT_PRECISION:
            return engine
        is_large = source.height * source.width >= FAST_FROM_PX
        if is_large and not is_flat(source, deviation=_FLAT_DEVIATION) and not has_few_colours(source):
            return engine
        return self._other(precision=DEFAULT_PRECISION)

    def _band_engine(self, engine: Engine) -> _BandEngine:
        if _is_band_engine(engine):
            return engine
        try:
            return self._other(engine="torch", precision=engine.precision)  # type: ignore[return-value]
        except EngineError as err:
            raise EngineError(
                f"the picture does not fit into the memory, and only torch styles in bands: {err}"
            ) from err

    def _other(self, **options: str) -> Engine:
        """Return another engine for the same model on the same device, opened when it is first wanted."""
        with self._lock:
            key = tuple(sorted(options.items()))
            if key not in self._others:
                self._others[key] = self._opened(device=self.device, **options)
            return self._others[key]

    @contextmanager
    def _allowed_bytes(self, device: str, needed_bytes: int, *, held_bytes: int) -> Iterator[int | None]:
        """Return what styling may take besides the picture and its result; None where nobody knows."""
        if self._memory_bytes is not None:
            yield max(0, self._memory_bytes - held_bytes)
            return
        with half_of_free(device, free_bytes(device), needed_bytes=needed_bytes) as allowed:
            yield allowed

    def _warn(self, sentence: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s", sentence)


def _is_band_engine(engine: Engine) -> TypeGuard[_BandEngine]:
    return hasattr(engine, "stream")


def _description(engine: Engine) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "engine_version": engine.version,
        "precision": engine.precision,
        "arithmetic": engine.arithmetic,
        "device": engine.device,
        "threads": engine.threads,
    }


def _style_whole(engine: Engine, source: PixelSource, sink: PixelSink) -> None:
    extended = Extended(source)
    rgb_HW3 = extended.rows(0, extended.height)
    styled = engine.run(rgb_HW3.transpose(2, 0, 1)[np.newaxis].astype(np.float32, order="C"))
    height, width = source.height, source.width
    if styled.ndim != 4 or styled.shape[:2] != (1, 3) or styled.shape[2] < height or styled.shape[3] < width:
        raise EngineError(f"the model made {styled.shape} of a picture of {width} x {height}; use a model of this net")
    sink.put(0, styled[0].transpose(1, 2, 0))


def _size(rgb_HW3: NDArray[np.uint8]) -> tuple[int, int]:
    if rgb_HW3.ndim != 3 or rgb_HW3.shape[2] != 3 or 0 in rgb_HW3.shape or rgb_HW3.dtype != np.uint8:
        raise PictureError(f"wanted uint8 pixels (height, width, 3), found {rgb_HW3.dtype} {rgb_HW3.shape}")
    return rgb_HW3.shape[0], rgb_HW3.shape[1]
