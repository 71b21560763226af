"""Interrupts that come while Python cannot pass them on."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from contextlib import nullcontext
from csci_utils.signals import lasting_interrupts

class Stopped(KeyboardInterrupt):
    signum = signal.SIGTERM

def stop(*_):
    raise Stopped

class Object:
    def __del__(self):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        time.sleep(0.001)  # the handler runs here at the latest

signal.signal(signal.SIGTERM, stop)
try:
    with lasting_interrupts() if sys.argv[2] == "kept" else nullcontext():
        Object()
        if sys.argv[3] == "stays":
            time.sleep(2)
        print("went on")
    time.sleep(0.1)
except KeyboardInterrupt as err:
    print(type(err).__name__)
"""


def interrupted(signal_name: str, how: str, *, meanwhile: str = "stays") -> tuple[str, str]:
    command = [sys.executable, "-c", PROGRAM, signal_name, how, meanwhile]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(("signal_name", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "Stopped")])
def test_an_interrupt_that_came_in_a_destructor_comes_again(signal_name, raised):
    assert interrupted(signal_name, "kept") == (raised, "")


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_it_does_not_come_again_after_the_block(signal_name):
    assert interrupted(signal_name, "kept", meanwhile="leaves") == ("went on", "")


@pytest.mark.slow
def test_python_by_itself_loses_it():
    out, err = interrupted("SIGINT", "lost")
    assert out == "went on"
    assert "Exception ignored" in err


def test_other_things_that_cannot_be_raised_are_still_told():
    program = """
from csci_utils.signals import lasting_interrupts
class Object:
    def __del__(self):
        raise ValueError("told")
with lasting_interrupts():
    Object()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert "ValueError: told" in done.stderr
