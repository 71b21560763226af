from __future__ import annotations

import io
import os
import pty
import sys
from types import SimpleNamespace

import pytest

from neural_style import progress_bar
from neural_style.progress_bar import ProgressBar, bar_away


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error is one, and no picture is too quick for a bar."""
    terminal = Terminal()
    monkeypatch.setattr(progress_bar, "sys", SimpleNamespace(stderr=terminal))  # pytest exchanges sys.stderr itself
    monkeypatch.setattr(progress_bar, "FIRST_AFTER_S", 0)
    monkeypatch.setattr(progress_bar, "REFRESH_S", 0)
    return terminal


def test_a_long_picture_shows_how_far_it_is(terminal: Terminal) -> None:
    with ProgressBar() as bar:
        assert bar.show is not None
        for fraction in (0.1, 0.43):
            bar.show(fraction)
    assert "styling:  10%|" in terminal.getvalue()
    assert "styling:  43%|" in terminal.getvalue()


def test_a_terminal_that_does_not_know_its_size_shows_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(progress_bar, "sys", SimpleNamespace(stderr=terminal))
        monkeypatch.setattr(progress_bar, "FIRST_AFTER_S", 0)
        assert os.get_terminal_size(slave).columns == 0
        with ProgressBar() as bar:
            assert bar.show is not None
            bar.show(0.43)
        terminal.flush()
        shown = b""
        while b"43%|" not in shown:  # it comes in pieces
            shown += os.read(master, 65536)
    os.close(master)
    assert b"styling:  43%|" in shown


def test_a_quick_picture_shows_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "FIRST_AFTER_S", 60)
    with ProgressBar() as bar:
        assert bar.show is not None
        bar.show(0.5)
    assert terminal.getvalue() == ""


def test_calls_in_a_row_are_shown_once(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "REFRESH_S", 60)
    with ProgressBar() as bar:
        assert bar.show is not None
        bar.show(0.1)
        before = terminal.getvalue()
        for number in range(2, 10):
            bar.show(number / 10)
        assert terminal.getvalue() == before


def test_where_there_is_no_terminal_nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with ProgressBar() as bar:
        assert bar.show is None


@pytest.mark.parametrize("fault", [ValueError("no"), KeyboardInterrupt("stop")], ids=["error", "ctrl-c"])
def test_the_bar_goes_whatever_happens(terminal: Terminal, fault: BaseException) -> None:
    def fail() -> None:
        with ProgressBar() as bar:
            assert bar.show is not None
            bar.show(0.5)
            raise fault

    with pytest.raises(type(fault), match=str(fault)):
        fail()
    assert terminal.getvalue().endswith("\r")
    assert terminal.getvalue().split("\r")[-2].strip() == ""


def test_a_line_is_written_where_the_bar_was(terminal: Terminal) -> None:
    with ProgressBar() as bar:
        assert bar.show is not None
        bar.show(0.5)
        with bar_away():
            terminal.write("a warning\n")
    before, _, after = terminal.getvalue().partition("a warning\n")
    assert before.endswith("\r")
    assert "styling:  50%|" in after


def test_without_a_bar_a_line_is_written_as_it_is(terminal: Terminal) -> None:
    with bar_away():
        terminal.write("a warning\n")
    assert terminal.getvalue() == "a warning\n"
