"""How far a run of many pictures is: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neural_style.progress_bar import terminal_size
from pipeline import progress
from pipeline.many.tally import SharedTally

LINE_EVERY_S = 60.0


@contextmanager
def shown(tally: SharedTally, *, total: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Show within the block how many of so many pictures are done with.

    Args:
        tally: Counts them.
        total: Pictures that there are.
        tell: Called with a line a minute where there is no terminal.
    """
    ended = threading.Event()
    show = _Bar(tally, total=total) if sys.stderr.isatty() else _Lines(tally, total=total, tell=tell)
    shower = threading.Thread(target=show.until, args=(ended,), name="many-progress", daemon=True)
    shower.start()
    try:
        yield
    finally:
        ended.set()
        shower.join()


def described(tally: SharedTally, *, total: int, seconds: float) -> str:
    """Say how far a run is, how fast, and how long the rest will take."""
    from tqdm import tqdm

    rate = tally.pictures / seconds if seconds > 0 else 0.0
    parts = [f"{tally.pictures} of {total} pictures", f"{rate:.1f} pictures/s", _size(tally.num_bytes)]
    parts += [f"{tally.failures} failed"] if tally.failures else []
    if rate and tally.pictures < total:
        parts.append(f"{tqdm.format_interval((total - tally.pictures) / rate)} left")
    return ", ".join(parts)


class _Lines:
    def __init__(self, tally: SharedTally, *, total: int, tell: Callable[[str], None]) -> None:
        self._tally, self._total, self._tell = tally, total, tell

    def until(self, ended: threading.Event) -> None:
        begun_s = time.monotonic()
        while not ended.wait(LINE_EVERY_S):
            self._tell(described(self._tally, total=self._total, seconds=time.monotonic() - begun_s))


class _Bar:
    def __init__(self, tally: SharedTally, *, total: int) -> None:
        self._tally, self._total = tally, total

    def until(self, ended: threading.Event) -> None:
        from tqdm import tqdm

        with (
            tqdm(total=self._total, desc="styled", unit=" pictures", leave=False, **terminal_size()) as bar,
            progress.lines_above_bars(),
        ):
            is_last = False
            while not is_last:
                is_last = ended.wait(progress.REFRESH_S)
                self._show_on(bar)

    def _show_on(self, bar: object) -> None:
        tally = self._tally
        failed = f", {tally.failures} failed" if tally.failures else ""
        bar.set_postfix_str(f"{_size(tally.num_bytes)}{failed}", refresh=False)  # type: ignore[attr-defined]
        bar.n = tally.pictures  # type: ignore[attr-defined]
        bar.refresh()  # type: ignore[attr-defined]


def _size(num_bytes: int) -> str:
    from tqdm import tqdm

    return f"{tqdm.format_sizeof(num_bytes, divisor=1024)}B"
