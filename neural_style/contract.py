"""What the name and the record of a result depend on; costs nothing to import, since planning needs no more."""

from __future__ import annotations

from pathlib import PurePath

ALGORITHM_VERSION = 1
"""Raise this when the pixels of a result change: results made with a lower number are then made again."""

PRECISION = "float32"
"""Of the arithmetic."""

DEFAULT_MAX_PIXELS = 128_000_000
"""A picture that declares more is refused before it is decoded."""

DEFAULT_QUALITY = 95
"""Of JPEG and WebP results, 1 to 100."""

WRITABLE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""Suffixes of formats that hold every colour; a GIF does not, so its result becomes a PNG."""

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".webp")
"""Those of them whose pixels depend on the quality."""


def result_suffix(name: str) -> str:
    """Return the suffix of the result for a picture of that name: its own where it can be written, else ``.png``."""
    suffix = PurePath(name).suffix
    return suffix if suffix.lower() in WRITABLE_SUFFIXES else ".png"
