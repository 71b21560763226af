"""Pictures of any size, drawn and written in bands by code of their own: what reads them has no part in them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_ROWS = 64
_PERIOD_PX = 4096
_PNG_FILTER_UP = b"\2"
_TIFF_LIMIT_BYTES = 2**32 - 2**20


def draw_in_bands(path: Path, *, width: int, height: int, seed: int = 1) -> None:
    """Draw waves of all lengths with a little grain, and write them as PNG or TIFF (BigTIFF beyond 4 GB).

    Args:
        path: ends with ``.png``, ``.tif`` or ``.tiff``.
        width: in pixels.
        height: in pixels.
        seed: which picture; the upper left part of a larger one is the smaller one.
    """
    bands = drawn_bands(width=width, height=height, seed=seed)
    with path.open("wb") as file:
        if path.suffix == ".png":
            _write_png(file, bands, width=width, height=height)
        elif path.suffix in (".tif", ".tiff"):
            _write_tiff(file, bands, width=width, height=height)
        else:
            raise ValueError(f"{path}: wanted .png, .tif or .tiff")


def drawn_bands(*, width: int, height: int, seed: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Give the same picture in bands of rows, ``(h, width, 3)``."""
    rng = np.random.default_rng(seed)
    lengths_px = rng.uniform(20, 900, (3, 2, 2))
    tone = (128 + 90 * np.sin(np.arange(256) * 2 * np.pi / 256)).astype(np.uint8)
    grain = rng.integers(0, 24, (_ROWS, _PERIOD_PX, 3), dtype=np.uint8)
    grain = np.tile(grain, (1, -(-width // _PERIOD_PX), 1))[:, :width]
    x, y = np.arange(width), np.arange(height)
    across = [_wave(x, lengths_px[channel, 0]) for channel in range(3)]
    down = [_wave(y, lengths_px[channel, 1]) for channel in range(3)]
    for top in range(0, height, _ROWS):
        band = grain[: min(_ROWS, height - top)].copy()
        for channel in range(3):
            phase = down[channel][top : top + _ROWS, None] + across[channel][None]  # modulo 256: one turn
            band[..., channel] += tone[phase]
        yield band


def _wave(place: NDArray[np.int64], lengths_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    bend = 40 * np.sin(place / lengths_px[0])
    return ((place * 256 / lengths_px[1] + bend) % 256).astype(np.uint8)


def _write_png(file: BinaryIO, bands: Iterator[NDArray[np.uint8]], *, width: int, height: int) -> None:
    def chunk(name: bytes, content: bytes) -> None:
        file.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))

    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    deflate = zlib.compressobj(1)
    above = np.zeros((1, width, 3), np.uint8)
    for band in bands:
        rows = np.empty((len(band), 1 + width * 3), np.uint8)
        rows[:, 0] = _PNG_FILTER_UP[0]
        rows[:, 1:] = (band - np.concatenate([above, band[:-1]])).reshape(len(band), -1)
        above = band[-1:]
        if packed := deflate.compress(rows):
            chunk(b"IDAT", packed)
    chunk(b"IDAT", deflate.flush())
    chunk(b"IEND", b"")


def _write_tiff(file: BinaryIO, bands: Iterator[NDArray[np.uint8]], *, width: int, height: int) -> None:
    """Write uncompressed strips, and after them the directory (TIFF 6.0; BigTIFF has 8 bytes where TIFF has 4)."""
    is_big = width * height * 3 > _TIFF_LIMIT_BYTES
    word, head = ("Q", 16) if is_big else ("I", 8)
    file.write(bytes(head))
    counts = []
    for band in bands:
        file.write(band.tobytes())
        counts.append(band.nbytes)
    offsets = head + np.cumsum([0, *counts[:-1]])
    places = [file.tell()]
    for numbers in (offsets, counts):
        file.write(struct.pack(f"<{len(counts)}{word}", *(int(number) for number in numbers)))
        places.append(file.tell())
    bits_at = file.tell()
    file.write(struct.pack("<3H", 8, 8, 8))
    inline = len(counts) == 1
    kind = 16 if is_big else 4
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 8 + (8 << 16) + (8 << 32) if is_big else bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, kind, len(counts), int(offsets[0]) if inline else places[0]),
        (277, 3, 1, 3),
        (278, 4, 1, _ROWS),
        (279, kind, len(counts), counts[0] if inline else places[1]),
    ]
    directory_at = file.tell()
    file.write(struct.pack("<Q" if is_big else "<H", len(entries)))
    for tag, field, count, value in entries:
        file.write(struct.pack(f"<HH2{word}", tag, field, count, value))
    file.write(struct.pack(f"<{word}", 0))
    file.seek(0)
    file.write(
        b"II+\0" + struct.pack("<HHQ", 8, 0, directory_at) if is_big else b"II*\0" + struct.pack("<I", directory_at)
    )
