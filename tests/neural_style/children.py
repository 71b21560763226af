"""Processes that tests start from a server of forks, so that torch is imported once for all of them."""

from __future__ import annotations

import atexit
import multiprocessing
import os
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


def _call(target: Callable[..., None], arguments: tuple[Any, ...], environment: Mapping[str, str]) -> None:
    """Be like a program of its own: with its environment and random numbers, and an end at which it says goodbye."""
    os.environ.clear()
    os.environ.update(environment)
    torch.seed()  # else all would go on from where the server of forks is
    try:
        target(*arguments)
    finally:
        atexit._run_exitfuncs()  # which a fork of this server leaves out before Python 3.13
