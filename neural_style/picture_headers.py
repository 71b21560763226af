"""What Pillow does not tell of PNG and JPEG files before it decodes them, read from their chunks and segments."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .images import orientation_of

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LONGEST_TEXT_BYTES = 16 * 1024**2
_ABOUT_THE_CAMERA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_CHANNELS_OF_PNG = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables and an extension, among the markers of frames
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def png_bits(path: Path) -> int:
    """Read the bits of a pixel of a PNG from its first chunk (ISO/IEC 15948, 11.2.2)."""
    with path.open("rb") as file:
        depth, kind = file.read(26)[24:26]
    return int(depth) * _CHANNELS_OF_PNG.get(kind, 1)


def png_orientation(path: Path) -> int:
    """Read how the camera was held, which a PNG may tell after its pixels: Pillow would decode these to get there.

    Everything that tells of it is put around one pixel, and Pillow asked about that.
    """
    with path.open("rb") as file:
        told = [_chunk(name, content) for name, content in _png_texts(file)]
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    body = [_chunk(b"IDAT", zlib.compress(b"\0\0")), _chunk(b"IEND", b"")]
    with Image.open(io.BytesIO(b"".join([_PNG_SIGNATURE, head, *told, *body])), formats=["PNG"]) as pixel:
        return orientation_of(pixel)


def is_sequential_jpeg(path: Path) -> bool:
    """Tell whether the coefficients of a JPEG come block by block, all channels together (ITU-T T.81, B.2)."""
    num_channels = 0
    with path.open("rb") as file:
        for marker, content in _jpeg_segments(file):
            if marker in (0xC0, 0xC1):
                num_channels = content[5] if len(content) > 5 else 0
            elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
                return False
            elif marker == _START_OF_SCAN:
                return 0 < num_channels == content[0]
    return False


def _png_texts(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Give the chunks that may tell of the camera; pixels are passed over."""
    file.seek(len(_PNG_SIGNATURE))
    while len(head := file.read(8)) == 8:
        num_bytes, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            return
        if name in _ABOUT_THE_CAMERA and num_bytes <= _LONGEST_TEXT_BYTES:
            yield name, file.read(num_bytes)
            file.seek(4, io.SEEK_CUR)
        else:
            file.seek(num_bytes + 4, io.SEEK_CUR)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Give markers and what belongs to them, to the first scan."""
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        length = file.read(2)
        if len(length) < 2 or byte == bytes([_END_OF_IMAGE]):
            return
        content = file.read(max(0, struct.unpack(">H", length)[0] - 2))
        if not content:
            return
        yield byte[0], content
