"""`python -m bench`: every comparison, each peer in its own process."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

from bench import end_to_end, imports


def main() -> None:
    """Print the machine and every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of the slow commands")
    rounds = parser.parse_args().rounds
    print(f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, no GPU used")
    for lines in (imports.run(rounds=3 * rounds), end_to_end.run(rounds=rounds)):
        print("\n".join(["", *lines]), flush=True)


def _processor() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.path.exists("/proc/cpuinfo") else ()
    ):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
