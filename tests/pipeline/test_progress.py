from __future__ import annotations

import io
import multiprocessing
import os
import pty
import re
import subprocess
import sys

import pytest

from pipeline import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_two_bars_are_shown_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.shown(total_bytes=2048, total_pictures=2):
        progress.add_bytes(2048)
        with progress.one_picture():
            pass
    shown = terminal.getvalue()
    assert re.search(r"fetched: 100%.* 2\.00k/2\.00k", shown)
    assert re.search(r"styled:  50%.* 1/2", shown)


def test_bytes_that_come_again_are_counted_once(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.shown(total_bytes=10, total_pictures=1):
        for num_bytes in (6, -6, 10):
            progress.add_bytes(num_bytes)
        assert progress._current is not None
        assert progress._current.num_bytes == 10


def add_one() -> None:
    with progress.one_picture() as reach:
        reach(0.3)


def test_a_picture_is_counted_in_parts_and_then_whole(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.shown(total_bytes=0, total_pictures=2):
        counted = progress._current
        assert counted is not None
        for expected in (0.43, 1.43):
            with progress.one_picture() as reach:
                for fraction in (0.1, 0.4301):
                    reach(fraction)
                assert counted.num_pictures == expected
        assert str(counted.num_pictures) == "2"


@pytest.mark.parametrize("fault", [ValueError("no"), KeyboardInterrupt("stop")], ids=["error", "ctrl-c"])
def test_a_picture_that_fails_is_not_counted(monkeypatch, fault):
    monkeypatch.setattr(sys, "stderr", Terminal())

    def fail() -> None:
        with progress.one_picture() as reach:
            reach(0.5)
            raise fault

    with progress.shown(total_bytes=0, total_pictures=2):
        counted = progress._current
        assert counted is not None
        with pytest.raises(type(fault), match=str(fault)):
            fail()
        assert counted.num_pictures == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_workers_add_to_the_bars_of_their_parent(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    counted = progress.Progress()
    monkeypatch.setattr(progress, "_current", counted)
    workers = [multiprocessing.get_context("fork").Process(target=add_one) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counted.num_pictures == 3


def test_a_forked_worker_writes_plain_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.shown(total_bytes=1, total_pictures=1):
        monkeypatch.setattr(progress._current, "pid", os.getpid() + 1)
        before = terminal.getvalue()
        progress.write_line("a warning")
        assert terminal.getvalue()[len(before) :].startswith("\r\x1b[Ka warning\n")


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with progress.shown(total_bytes=2048, total_pictures=2):
        progress.add_bytes(2048)
        with progress.one_picture() as reach:
            reach(0.5)
    assert capsys.readouterr() == ("", "")


def test_a_line_is_written_above_the_bars(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.shown(total_bytes=1, total_pictures=1):
        progress.write_line("a warning")
    assert "a warning\n" in terminal.getvalue()


@pytest.mark.slow
def test_a_run_at_a_terminal_of_unknown_width_shows_its_bars(bucket):
    master, slave = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "-i", "luigi.jpg", "-m", "mosaic"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            got = os.read(master, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not got:  # and how macOS does
            break
        shown += got
    os.close(master)
    out, _ = done.communicate()
    assert done.returncode == 0
    assert out == f"{bucket.local}/stylized/mosaic/luigi.jpg\n"
    assert b"styled:" in shown
    assert b"fetched:" in shown
    assert b"1 result made, 0 up to date" in shown
