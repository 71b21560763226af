"""``python -m tests.reliability [WORD...] [--write]``: make the faults; write what happened into the document."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from tests.reliability import table
from tests.reliability.pool import Broken, running
from tests.servers.stores import moto_at, moto_server, swift_at
from tests.servers.swift import swift_server


def main(arguments: list[str]) -> int:
    """Run all cells, or those whose names hold the words; 0 when nothing that must hold was broken."""
    words = [word for word in arguments if word != "--write"]
    cells = [cell for cell in table.CELLS if all(word in str(cell) for word in words)]
    outcomes, start_s = table.parse(table.committed()), time.monotonic()
    with ExitStack() as stack:
        url, swift = stack.enter_context(moto_server()), stack.enter_context(swift_server())
        stores = {"moto": stack.enter_context(moto_at(url)), "swift": stack.enter_context(swift_at(swift))}
        futures = stack.enter_context(running(cells, stores))
        for name, future in futures.items():
            try:
                outcomes[name] = future.result()
            except Broken as err:
                outcomes[name] = "BROKEN"
                sys.stderr.write(f"{err}\n")
            sys.stderr.write(f"{time.monotonic() - start_s:4.0f} s  {name}: {outcomes[name]}\n")
    if "--write" in arguments:
        table.write(outcomes)
    return int("BROKEN" in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
