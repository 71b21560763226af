"""Standard streams that may be closed, and the paths that go to standard output."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Give a program that was started without standard streams some that lead nowhere.

    Else the next file it opens would become its standard error, and Python's own ``sys.stderr`` is None.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 -- as long as the program
            setattr(sys, name, stream)


def print_path(path: str) -> None:
    """Print a path's own bytes and a line end.

    A name that is not UTF-8, or a reader that has gone (``| head``), must not fail what is made already.
    """
    try:
        sys.stdout.flush()
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None:  # a stream of text that somebody put in its place
            sys.stdout.write(f"{path}\n")
        else:
            binary.write(os.fsencode(path) + b"\n")
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # so that what is still buffered does not fail at the end
        os.close(nowhere)
