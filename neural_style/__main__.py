"""Run the command line; SIGTERM cleans up as Ctrl-C does."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from .cli import main


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(main())
