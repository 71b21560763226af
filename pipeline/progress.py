"""What a run shows while it works: a bar for bytes and one for pictures on a terminal, nothing anywhere else.

The counts lie in shared memory, so that forked workers add to the bars of their parent.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from neural_style.progress_bar import terminal_size

REFRESH_S = 0.1
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Counts of one run; adding to them is cheap and safe from any process forked after it was made."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._bytes = multiprocessing.Value("q", 0)
        self._pictures = multiprocessing.Value("d", 0)

    def add_bytes(self, num_bytes: int) -> None:
        """Count bytes that arrived; negative when a body is read anew."""
        with self._bytes:
            self._bytes.value += num_bytes

    def add_pictures(self, number: float) -> None:
        """Count pictures, or the part of one that is done since the last call."""
        with self._pictures:
            self._pictures.value += number

    @property
    def num_bytes(self) -> int:
        """Bytes counted so far."""
        return int(self._bytes.value)

    @property
    def num_pictures(self) -> float:
        """Pictures counted so far, to a hundredth of one."""
        number = round(self._pictures.value, 2)
        return int(number) if number.is_integer() else number


def add_bytes(num_bytes: int) -> None:
    """Count bytes that arrived on the bar of this run, if there is one."""
    if _current is not None:
        _current.add_bytes(num_bytes)


@contextmanager
def one_picture() -> Iterator[Callable[[float], None]]:
    """Count a picture on the bar of this run, if there is one, when the block has ended well.

    Yields:
        What takes the part of it that is done, 0 to 1, to show it before; it goes again if the block fails.
    """
    shown = 0.0

    def reach(fraction: float) -> None:
        nonlocal shown
        if _current is not None:
            _current.add_pictures(fraction - shown)
        shown = fraction

    try:
        yield reach
    except BaseException:
        reach(0)
        raise
    reach(1)


def is_shown() -> bool:
    """Whether bars stand on the terminal."""
    return _current is not None


def write_line(line: str) -> None:
    """Write a line to standard error, above the bars if there are any."""
    if _current is None or _current.pid != os.getpid():
        # A forked worker's bars are stale copies of its parent's: it clears the line they stand on, no more.
        print(line if _current is None else CLEAR_LINE + line, file=sys.stderr)  # noqa: T201 -- for people
        return
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


@contextmanager
def lines_above_bars() -> Iterator[None]:
    """Have `write_line` write above a bar that somebody else shows within the block."""
    global _current
    _current = Progress()
    try:
        yield
    finally:
        _current = None


@contextmanager
def shown(*, total_bytes: int, total_pictures: int, moved: str = "fetched") -> Iterator[None]:
    """Show the two bars on standard error within the block, if that is a terminal.

    Args:
        total_bytes: To be moved, 0 when everything lies here already.
        total_pictures: To be made; 0 shows no bar for them.
        moved: What becomes of the bytes, for their bar.
    """
    global _current
    if not sys.stderr.isatty():
        yield
        return
    progress, stopped = Progress(), threading.Event()
    bars = _bars(total_bytes, total_pictures, moved=moved)
    painter = threading.Thread(target=_paint, args=(progress, bars, stopped), daemon=True)
    _current = progress
    painter.start()
    try:
        yield
    finally:
        _current = None
        stopped.set()
        painter.join()
        for bar in bars:
            bar.close()


_current: Progress | None = None


def _bars(total_bytes: int, total_pictures: int, *, moved: str) -> tuple[Any, Any]:
    from tqdm import tqdm

    look: dict[str, Any] = {"leave": False, **terminal_size()}
    return (
        tqdm(total=total_bytes, desc=moved, unit="B", unit_scale=True, unit_divisor=1024, position=0, **look),
        tqdm(total=total_pictures, desc="styled", unit="picture", position=1, disable=not total_pictures, **look),
    )


def _paint(progress: Progress, bars: tuple[Any, Any], stopped: threading.Event) -> None:
    while True:
        ended = stopped.wait(REFRESH_S)
        for bar, count in zip(bars, (progress.num_bytes, progress.num_pictures), strict=True):
            if bar.n != count or ended:
                bar.n = count
                bar.refresh()
        if ended:
            return
