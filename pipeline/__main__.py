"""`python -m pipeline`, and the console script.

While Python still imports, or ends already, there is nothing to clean up: Ctrl-C ends the process without a traceback.
"""

from __future__ import annotations

import gc
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its status (README, "Exit status")."""
    gc.disable()  # until a command has what it consists of: `start_is_over`
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.cli import main as run

    run()


if __name__ == "__main__":
    main()
