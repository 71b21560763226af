"""PNG and TIFF files put together by hand, of kinds that Pillow reads and does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from numpy.typing import NDArray

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG (ISO/IEC 15948, 5.3)."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(
    path: Path,
    rows: NDArray,
    *,
    kind: int,
    depth: int = 8,
    width: int | None = None,
    declared: tuple[int, int] | None = None,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> Path:
    """Write rows of bytes, or of numbers of 16 bits, without filters.

    Args:
        path: where.
        rows: (H, anything).
        kind: the colour type of the header.
        depth: bits a channel.
        width: in pixels, where it does not follow from the rows.
        declared: width and height in the header, where they are to be others.
        interlaced: said in the header.
        before: chunks before the pixels.
        after: chunks after them.
    """
    lines = rows.astype(">u2" if depth == 16 else "u1").reshape(len(rows), -1)
    size = declared or (width or lines.shape[1] // _CHANNELS[kind], len(rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, int(interlaced)))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + before + body + after + chunk(b"IEND", b""))
    return path


def write_tiff(
    path: Path,
    blocks: list[NDArray],
    *,
    size: tuple[int, int],
    order: str = "<",
    tags: dict[int, tuple[int, ...]] | None = None,
) -> Path:
    """Write uncompressed strips or tiles, before them the directory (TIFF 6.0).

    Args:
        path: where.
        blocks: as they lie in the file.
        size: width and height.
        order: of the bytes, ``<`` or ``>``.
        tags: more of them, or others; numbers of 16 bits. A tile's width makes the blocks tiles.
    """
    stored = [block.astype(f"{order}u{block.itemsize}").tobytes() for block in blocks]
    places, counts = (324, 325) if tags and 322 in tags else (273, 279)
    found: dict[int, tuple[int, ...]] = {256: (size[0],), 257: (size[1],), 259: (1,), 278: (size[1],), **(tags or {})}
    found[counts] = tuple(len(block) for block in stored)
    found[places] = tuple(0 for _ in stored)
    is_long = (places, counts)
    extra_at = 8 + 2 + 12 * len(found) + 4
    lengths = {tag: len(values) * (4 if tag in is_long else 2) for tag, values in found.items()}
    pixels_at = extra_at + sum(length for length in lengths.values() if length > 4)
    found[places] = tuple(pixels_at + sum(len(block) for block in stored[:number]) for number in range(len(stored)))
    directory, extra = struct.pack(f"{order}H", len(found)), b""
    for tag, values in sorted(found.items()):
        content = struct.pack(f"{order}{len(values)}{'I' if tag in is_long else 'H'}", *values)
        directory += struct.pack(f"{order}HHI", tag, 4 if tag in is_long else 3, len(values))
        if len(content) > 4:
            directory += struct.pack(f"{order}I", extra_at + len(extra))
            extra += content
        else:
            directory += content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    path.write_bytes(head + directory + bytes(4) + extra + b"".join(stored))
    return path
