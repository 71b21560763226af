"""What the directory of a TIFF says of how its pixels lie in the file (TIFF 6.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import ImageFile

JPEG = 7
BEST_RATIOS = {1: 1, 5: 4096, JPEG: 4096, 8: 1032, 32946: 1032, 32773: 64}
"""Bytes of pixels in a byte of the file at the very best: uncompressed, LZW, JPEG, deflate (two numbers), PackBits."""
FAX = (2, 3, 4)
YCBCR = 6
_IN_PLANES = 2
_WHITE_IS_ZERO = 0
_UNSIGNED = 1


@dataclass(frozen=True, kw_only=True)
class TiffHeader:
    """The fields of a directory that matter here.

    Attributes:
        width: as rows lie in the file, pixels.
        height: as rows lie in the file, pixels.
        compression: a number; see `BEST_RATIOS` and `FAX`.
        photometric: what the channels mean.
        bits: of the largest channel.
        num_channels: colours, alpha, and whatever else.
        in_planes: channels come one after the other.
        is_unsigned: numbers, and neither signed ones nor fractions.
        is_tiled: blocks are tiles, else strips.
        block: width and height of a tile or strip, pixels.
        offsets: of the blocks in the file.
        counts: bytes of the blocks in the file; none where the file does not say.
    """

    width: int
    height: int
    compression: int
    photometric: int
    bits: int
    num_channels: int
    in_planes: bool
    is_unsigned: bool
    is_tiled: bool
    block: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def pixel_bytes(self) -> int:
        """Of a decoded pixel."""
        return self.num_channels * -(-self.bits // 8)

    @property
    def block_bytes(self) -> int:
        """Of a decoded block."""
        return self.block[0] * min(self.block[1], self.height) * self.pixel_bytes

    @property
    def is_deep_from_white(self) -> bool:
        """More than 8 bits, and 0 is white."""
        return self.bits > 8 and self.photometric == _WHITE_IS_ZERO

    def has_all_blocks(self, num_bytes: int) -> bool:
        """Tell whether there are as many blocks as the size takes, and all of them within a file of so many bytes."""
        block_width, block_height = (max(1, side) for side in self.block)
        wanted = -(-self.width // block_width) * -(-self.height // block_height)
        if self.in_planes:
            wanted *= self.num_channels
        if len(self.offsets) < wanted or (self.counts and len(self.counts) < wanted):
            return False
        return all(offset + count <= num_bytes for offset, count in zip(self.offsets, self.counts, strict=False))


def read_tiff_header(image: ImageFile.ImageFile) -> TiffHeader:
    """Read the first directory of a TIFF that Pillow has opened."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # of Pillow's own class for TIFFs
    is_tiled = 324 in tags
    width, height = int(tags[256]), int(tags[257])
    block = (int(tags[322]), int(tags[323])) if is_tiled else (width, int(tags.get(278, height)))
    return TiffHeader(
        width=width,
        height=height,
        compression=int(tags.get(259, 1)),
        photometric=int(tags.get(262, 0)),
        bits=max(_numbers(tags.get(258, 1))),
        num_channels=int(tags.get(277, 1)),
        in_planes=tags.get(284) == _IN_PLANES,
        is_unsigned=set(_numbers(tags.get(339, _UNSIGNED))) == {_UNSIGNED},
        is_tiled=is_tiled,
        block=block,
        offsets=_numbers(tags.get(324 if is_tiled else 273, ())),
        counts=_numbers(tags.get(325 if is_tiled else 279, ())),
    )


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)
