"""What the name and the record of a result depend on; costs nothing to import, since planning needs no more."""

from __future__ import annotations

from pathlib import PurePath

ALGORITHM_VERSION = 1
"""Raise this when the pixels of a result change: results made with a lower number are then made again."""

PRECISIONS = ("float32", "fast")
"""What is promised against plain float32 torch: at least 70 dB, or at least 43 dB in less time."""

DEFAULT_PRECISION = "float32"
"""Unless another is asked for."""

ENGINES = ("auto", "torch", "openvino", "onnxruntime")
"""What can be asked for; auto is the first of the installed ones that keeps its promise with the model."""

FAST_FROM_PX = 256 * 256
"""Smaller pictures are styled in float32 whatever is asked for: bfloat16 spoils them, and they take no time."""

DEFAULT_MAX_PIXELS = 128_000_000
"""A picture that declares more is refused before it is decoded; those that are read in bands are exempt."""

LARGEST_PIXELS = 4_000_000_000
"""A picture that is read in bands may have so many."""

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
