"""Processes that tests start from a server of forks, so that torch is imported once for all of them."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from typing import Any

import torch

_IMPORTED_ONCE = ["torch._dynamo", "neural_style.train_style"]  # a first step wants torch._dynamo
_PATIENCE_S = 120.0


def children() -> ForkServerContext:
    """What starts them, and connects them with the test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_ONCE)
    return context


def run_at_once(calls: Sequence[tuple[Callable[..., None], tuple[Any, ...], Mapping[str, str]]]) -> list[int | None]:
    """Call functions, each with its arguments and variables of the environment in a process of its own.

    Returns:
        The exit status of each; None of one that is still not at its end. What they say goes to the test's own stderr.
    """
    context, environment = children(), dict(os.environ)
    processes = [
        context.Process(target=_call, args=(target, arguments, {**environment, **variables}))
        for target, arguments, variables in calls
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(_PATIENCE_S)
        return [process.exitcode for process in processes]
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def said_by_torchrun(*, interface: str = "lo") -> list[dict[str, str]]:
    """The variables of the environment from which each of two processes of this machine knows the other."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": interface}
    return [{**common, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]


def _call(target: Callable[..., None], arguments: tuple[Any, ...], environment: Mapping[str, str]) -> None:
    """Be like a program of its own: with its environment and random numbers, and an end at which it says goodbye."""
    os.environ.clear()
    os.environ.update(environment)
    torch.seed()  # else all would go on from where the server of forks is
    try:
        target(*arguments)
    finally:
        atexit._run_exitfuncs()  # which a fork of this server leaves out before Python 3.13
