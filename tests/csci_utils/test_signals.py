"""Interrupts that come while Python cannot pass them on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from unittest import mock

import pytest

from csci_utils import signals

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
        time.sleep(2)
        print("went on")
except KeyboardInterrupt as err:
    print(type(err).__name__)
"""


class Object:
    def __del__(self):
        raise KeyboardInterrupt


def interrupted(signal_name: str, how: str) -> tuple[str, str]:
    command = [sys.executable, "-c", PROGRAM, signal_name, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(("signal_name", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "Stopped")])
def test_an_interrupt_that_came_in_a_destructor_comes_again(signal_name, raised):
    assert interrupted(signal_name, "kept") == (raised, "")


def test_it_does_not_come_again_after_the_block(monkeypatch):
    sent = []
    monkeypatch.setattr(signals, "_AGAIN_S", 5)
    monkeypatch.setattr(signals.os, "kill", lambda *signal_sent: sent.append(signal_sent))
    others = set(threading.enumerate())
    with signals.lasting_interrupts():
        Object()
        assert len(set(threading.enumerate()) - others) == 1  # it waits to send it
    assert set(threading.enumerate()) <= others
    assert sent == []


def test_one_that_is_being_sent_comes_while_its_handler_is_there(monkeypatch):
    begun, seen = threading.Event(), []

    def send(*signal_sent):
        begun.set()
        threading.Event().wait(0.05)
        seen.append(signal_sent)

    @contextmanager
    def handlers():
        yield
        seen.append("no handlers")

    monkeypatch.setattr(signals, "_AGAIN_S", 0)
    monkeypatch.setattr(signals.os, "kill", send)
    with signals.lasting_interrupts(handlers=handlers()):
        Object()
        assert begun.wait(60)
    assert seen == [(os.getpid(), signal.SIGINT), "no handlers"]


def test_when_one_comes_at_the_end_of_the_block_the_others_do_not_come_after_it(monkeypatch):
    sent, others, waiting = [], set(threading.enumerate()), set()

    def block():
        with signals.lasting_interrupts():
            Object(), Object()
            waiting.update(set(threading.enumerate()) - others)

    monkeypatch.setattr(signals, "_AGAIN_S", 5)
    monkeypatch.setattr(signals.os, "kill", lambda *signal_sent: sent.append(signal_sent))
    with mock.patch.object(threading.Timer, "join", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        block()
    assert len(waiting) == 2
    for timer in waiting:
        timer.join()
    assert sent == []


def test_one_that_cannot_come_again_changes_nothing_else(monkeypatch):
    def block():
        with signals.lasting_interrupts():
            Object()
            raise OSError("its own")

    monkeypatch.setattr(threading.Timer, "start", mock.Mock(side_effect=RuntimeError("can't start new thread")))
    with pytest.raises(OSError, match="^its own$"):
        block()


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
