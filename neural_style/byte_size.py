"""Sizes of memory as people write them: 2GiB, 512MiB, 2000000000."""

from __future__ import annotations

import re
from decimal import Decimal

from .errors import SettingError

AUTO = "auto"
"""Half of what is free."""

LEAST_MEMORY_BYTES = 64 * 1024**2
"""Below it not even the weights and a strip of a wide picture have room."""

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {f"{letter}{ending}": 1024**power for power, letter in enumerate("kmgt", 1) for ending in ("ib", "")}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?) ?([a-z]*)")


def parse_memory(text: str) -> int | None:
    """Read how much memory a picture may take.

    Args:
        text: ``auto``, or a number with or without a unit: kB, MB, GB, TB, or, by 1024, KiB, MiB, GiB, TiB, K, M, G, T.

    Returns:
        Bytes; None for ``auto``.

    Raises:
        SettingError: it is none of these, or less than `LEAST_MEMORY_BYTES`.
    """
    wanted = text.strip().lower()
    if wanted == AUTO:
        return None
    match = _SIZE.fullmatch(wanted)
    if match is None or match[2] not in _UNITS:
        raise SettingError(
            f"memory wants a size such as 2GiB, 512MiB or 2000000000, or auto (half of what is free), found {text!r}"
        )
    size_bytes = int(Decimal(match[1]) * _UNITS[match[2]])
    if size_bytes < LEAST_MEMORY_BYTES:
        raise SettingError(f"memory wants at least {LEAST_MEMORY_BYTES // 1024**2}MiB, found {text!r}")
    return size_bytes
