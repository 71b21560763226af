from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from csci_utils import lock
from csci_utils.lock import lock_path, locked, sweep_locks
from tests.csci_utils.fake_store import wait_until


def test_a_lock_leaves_nothing_behind(tmp_path):
    with locked(tmp_path / "data" / "cat.jpg") as waited:
        assert os.listdir(tmp_path / "data") == [".cat.jpg.lock"]
        assert not waited
    assert os.listdir(tmp_path / "data") == []


def test_what_a_dead_process_left_is_taken_over(tmp_path):
    lock_path(tmp_path / "cat.jpg").touch()
    with locked(tmp_path / "cat.jpg") as waited:
        assert not waited
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_only_one_at_a_time_however_many_wait(tmp_path):
    inside, most = [], []

    def work(number: int) -> bool:
        with locked(tmp_path / "cat.jpg") as waited:
            inside.append(number)
            most.append(len(inside))
            threading.Event().wait(0.005)
            inside.remove(number)
            return waited

    with ThreadPoolExecutor(8) as pool:
        assert True in list(pool.map(work, range(32)))
    assert max(most) == 1
    assert os.listdir(tmp_path) == []


def test_a_lock_that_was_removed_does_not_disturb(tmp_path):
    path = tmp_path / "cat.jpg"
    with locked(path):
        lock_path(path).unlink()
        with locked(path) as waited:  # correct without, so this one goes on
            assert not waited
            assert lock_path(path).exists()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_another_made_anew_is_left_alone(tmp_path):
    path = tmp_path / "cat.jpg"
    with locked(path):
        lock_path(path).unlink()
        lock_path(path).touch()
    assert os.listdir(tmp_path) == [".cat.jpg.lock"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_goes_without(tmp_path, monkeypatch, code):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with locked(tmp_path / "cat.jpg") as waited:
        assert not waited
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_left_to_the_block(tmp_path):
    (tmp_path / "data").touch()
    with locked(tmp_path / "data" / "cat.jpg") as waited:
        assert not waited


def test_a_system_without_flock_goes_without(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with locked(tmp_path / "cat.jpg"):
        assert os.listdir(tmp_path) == []


def test_an_error_of_the_block_is_the_blocks(tmp_path):
    with pytest.raises(OSError, match="mine"), locked(tmp_path / "cat.jpg"):
        raise OSError("mine")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_does_not_hold_it_on(tmp_path, caplog):
    caplog.set_level("INFO", logger="csci_utils.lock")
    read, write = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / "cat.jpg"):
            child = os.fork()
            if child == 0:
                os.close(write)
                os.read(read, 1)
                os._exit(0)
            entered = pool.submit(lambda: locked(tmp_path / "cat.jpg").__enter__())
            wait_until(lambda: f"{tmp_path / 'cat.jpg'}: waiting for another" in caplog.text)
        try:
            wait_until(entered.done)
        finally:
            os.close(read)
            os.close(write)
            os.waitpid(child, 0)


def test_the_longest_name_has_a_lock(tmp_path):
    with locked(tmp_path / ("ä" * 127)):
        assert len(os.listdir(tmp_path)) == 1


def test_locks_that_nobody_holds_are_swept(tmp_path):
    (tmp_path / "deep").mkdir()
    left = lock_path(tmp_path / "deep" / "a.png")
    left.touch()
    with locked(tmp_path / "b.png"):
        assert sweep_locks(tmp_path) == [left]
        assert lock_path(tmp_path / "b.png").exists()
    assert list(tmp_path.rglob("*.lock")) == []
