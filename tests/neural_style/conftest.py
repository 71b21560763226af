"""Pictures, profiles and weights made here, so that no test needs a file of anybody's."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

MakePicture = Callable[..., Path]


@pytest.fixture(name="rgb_HW3")
def smooth_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A smooth picture with a little noise, 30 x 20: noise alone would make every JPEG look broken."""
    y, x = np.mgrid[0:20, 0:30]
    waves = np.stack([128 + 100 * np.sin(x / 5 + c) * np.cos(y / 7 + c) for c in range(3)], axis=-1)
    return (waves + rng.integers(0, 20, waves.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def make_picture(tmp_path: Path, rgb_HW3: NDArray[np.uint8]) -> MakePicture:
    """Write the picture under a name, in the format of its suffix."""

    def make(name: str = "cat.png", image: Image.Image | None = None, **options: object) -> Path:
        path = tmp_path / name
        (Image.fromarray(rgb_HW3) if image is None else image).save(path, **options)
        return path

    return make


@pytest.fixture
def linear_grey_profile() -> bytes:
    """A grey ICC profile with gamma 1."""
    return icc_profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)})


@pytest.fixture
def lightness_cmyk_profile() -> bytes:
    """A CMYK ICC profile whose paper is white and whose inks each take away lightness (CIE L*) and nothing else."""
    corners = [[(c, m, y, k) for k in (0, 1)] for c in (0, 1) for m in (0, 1) for y in (0, 1)]
    grid = b"".join(bytes([0 if any(inks) else 255, 128, 128]) for pair in corners for inks in pair)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    return icc_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def icc_profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Put an ICC version 2 profile together by hand (ICC.1:2001-04, clause 6)."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": b"XYZ " + bytes(4) + d50, **tags}
    offset, directory, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        directory += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content
    head = bytes(4) + bytes.fromhex("02400000") + kind + space + connection
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + d50
    head += bytes(124 - len(head))
    return struct.pack(">I", 128 + len(directory) + len(body)) + head + directory + body
