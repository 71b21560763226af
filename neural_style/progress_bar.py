"""A bar on the terminal for a picture that takes long; nothing anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

FIRST_AFTER_S = 1.0
REFRESH_S = 0.1
USUAL_COLUMNS, USUAL_ROWS = 80, 24
_LOOK = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class ProgressBar:
    """Shows on standard error how far a picture is, if that is a terminal and the picture takes longer than a moment.

    Attributes:
        show: Takes a fraction, 0 to 1, and costs nothing to call often; None where nobody would see it.
    """

    def __init__(self) -> None:
        self.show: Callable[[float], None] | None = self._show if sys.stderr.isatty() else None
        self._bar: Any = None
        self._next_s = time.monotonic() + FIRST_AFTER_S

    def __enter__(self) -> ProgressBar:
        """Begin; nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bar away."""
        global _shown
        _shown = None
        if self._bar is not None:
            self._bar.close()

    def _show(self, fraction: float) -> None:
        global _shown
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + REFRESH_S
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=1.0, desc="styling", leave=False, bar_format=_LOOK, file=sys.stderr, **terminal_size()
            )
            _shown = self._bar
        self._bar.n = fraction
        self._bar.refresh()


def terminal_size() -> dict[str, Any]:
    """Return tqdm's options for the size of the terminal; one that does not know its own (0) would get no bars."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return {"ncols": columns or USUAL_COLUMNS, "nrows": USUAL_ROWS}


@contextmanager
def bar_away() -> Iterator[None]:
    """Clear the bar, if there is one, while the block writes to standard error."""
    if _shown is None:
        yield
        return
    with _shown.external_write_mode(file=sys.stderr):
        yield


_shown: Any = None
