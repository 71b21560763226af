"""A file of pixels gives back every rectangle, and is gone when its process is."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from csci_utils.io import is_scratch
from neural_style import pixel_file
from neural_style.errors import OutputError
from neural_style.pixel_file import BandFile


@contextmanager
def files_no_larger_than(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any rectangles, in any order, against an array in memory."""
    shape = tuple(data.draw(st.integers(1, longest), label="side") for longest in (20, 20, 5))
    dtype = data.draw(st.sampled_from(["u1", "f4", "f2"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    wanted = np.zeros(shape, dtype)
    with BandFile(tmp_path_factory.getbasetemp(), shape=shape, dtype=dtype) as file:
        for _ in range(data.draw(st.integers(1, 6))):
            top, bottom = sorted(data.draw(st.tuples(st.integers(0, shape[0]), st.integers(0, shape[0]))))
            left, right = sorted(data.draw(st.tuples(st.integers(0, shape[1]), st.integers(0, shape[1]))))
            if data.draw(st.booleans()):
                left, right = 0, shape[1]
            if data.draw(st.booleans()):
                values = rng.integers(0, 200, (bottom - top, right - left, shape[2])).astype(dtype)
                file.write(top, left, data.draw(st.sampled_from([values, np.asfortranarray(values)])))
                wanted[top:bottom, left:right] = values
            found = file.read(top, bottom, left, right)
            assert found.dtype == dtype
            assert np.array_equal(found, wanted[top:bottom, left:right])


def test_rows_are_read_into_a_buffer_of_the_callers(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.random((9, 4, 3), dtype=np.float32)
    with BandFile(tmp_path, shape=(9, 4, 3), dtype=np.float32) as file:
        file.write(0, 0, pixels)
        buffer = np.full((20, 4, 3), -1, np.float32)
        file.read_into(buffer[5:8], 2)
        assert np.array_equal(buffer[5:8], pixels[2:5])
        assert (buffer[:5] == -1).all()
        assert (buffer[8:] == -1).all()
        framed = np.full((5, 6, 3), -1, np.float32)
        file.read_into(framed[1:4, 1:3], 6, 2)  # a part whose rows do not follow on each other
        assert np.array_equal(framed[1:4, 1:3], pixels[6:9, 2:4])
        assert (framed == -1).sum() == 5 * 6 * 3 - 3 * 2 * 3


def test_many_threads_read_and_write_at_the_same_time(tmp_path: Path) -> None:
    wrong: list[int] = []
    with BandFile(tmp_path, shape=(64, 50, 3)) as file:

        def work(number: int) -> None:
            rows = np.full((8, 50, 3), number, np.uint8)
            for _ in range(200):
                file.write(number * 8, 0, rows)
                if not np.array_equal(file.read(number * 8, number * 8 + 8, 3, 40), rows[:, 3:40]):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_short_reads_and_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:7], offset))
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: preadv(fd, [buffers[0][:5]], offset))
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    with BandFile(tmp_path, shape=(4, 5, 3)) as file:
        file.write(0, 0, pixels)
        assert np.array_equal(file.read(0, 4), pixels)


def test_places_beyond_four_gigabytes_are_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")  # else it would take the space: without, there are holes
    row = np.arange(1, 2001, dtype=np.float32).reshape(1, 1000, 2)
    with BandFile(tmp_path, shape=(1_000_000, 1000, 2), dtype=np.float32) as file:
        file.write(999_999, 0, row)
        assert np.array_equal(file.read(999_998, 1_000_000), np.concatenate([np.zeros_like(row), row]))
        assert file.num_bytes == 8_000_000_000


def test_the_file_has_no_name_and_can_be_opened_all_the_same(tmp_path: Path) -> None:
    with BandFile(tmp_path / "new" / "folder", shape=(2, 3, 1)) as file:
        file.write(1, 0, np.full((1, 3, 1), 7, np.uint8))
        assert list((tmp_path / "new" / "folder").iterdir()) == []
        assert Path(file.path).read_bytes() == b"\0\0\0\7\7\7"
    assert not os.path.exists(file.path)


def test_where_files_need_a_name_it_is_one_that_a_sweep_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    unlink = Path.unlink

    def remember(path: Path) -> None:
        names.append(path)
        unlink(path)

    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(Path, "unlink", remember)
    with BandFile(tmp_path, shape=(2, 3, 1)) as file:
        assert list(tmp_path.iterdir()) == []
        assert file.read(0, 2).sum() == 0
    assert [is_scratch(name) for name in names] == [True]


def work_until_killed(folder: Path, pipe: Connection) -> None:
    file = BandFile(folder, shape=(1000, 1000, 3))
    file.write(0, 0, np.ones((1000, 1000, 3), np.uint8))
    pipe.send(os.listdir(folder))
    signal.pause()


@pytest.mark.slow
def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=work_until_killed, args=(tmp_path, theirs))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == []
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_all_of_the_space_is_taken_at_once(tmp_path: Path) -> None:
    with BandFile(tmp_path, shape=(1000, 1000, 3)) as file:
        assert os.stat(file.path).st_blocks * 512 >= 3_000_000


def test_too_little_space_is_told_before_any_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", lambda *args: pytest.fail("took it"))
    with pytest.raises(
        OutputError,
        match=rf"{tmp_path}: wanted 4000 GB for a scratch file, and [\d.]+ GB are free; free some, or have it",
    ) as caught:
        BandFile(tmp_path, shape=(1_000_000, 1_000_000, 1), dtype=np.float32)
    assert caught.value.errno == errno.ENOSPC
    assert open_descriptors_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["disk", "quota"])
def test_space_that_others_take_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"wanted 12 bytes for a scratch file, and .* are free"):
        BandFile(tmp_path, shape=(2, 2, 3))
    assert open_descriptors_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL], ids=["zfs", "musl"])
def test_a_file_system_that_reserves_nothing_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with BandFile(tmp_path, shape=(2, 2, 3)) as file:
        assert os.stat(file.path).st_size == 12
        assert file.read(0, 2).sum() == 0


def test_a_file_system_with_a_limit_for_files_is_told(tmp_path: Path) -> None:
    with (
        files_no_larger_than(1_000_000),
        pytest.raises(OutputError, match=r"a scratch file of 1\.5 MB failed: File too large"),
    ):
        BandFile(tmp_path, shape=(500, 1000, 3))
    assert open_descriptors_in(tmp_path) == []


def failing(code: int) -> Callable[..., int]:
    def fail(*args: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("call", "code", "sentence"),
    [
        ("pwrite", errno.ENOSPC, r"wanted 12 bytes for a scratch file, and [\d.]+ .B are free; free some"),
        ("pwrite", errno.EIO, "a scratch file of 12 bytes failed: Input/output error"),
        ("preadv", errno.EIO, "a scratch file of 12 bytes failed: Input/output error"),
    ],
    ids=["full", "write", "read"],
)
def test_a_disk_that_fails_half_way_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, sentence: str
) -> None:
    with BandFile(tmp_path, shape=(2, 2, 3)) as file:
        monkeypatch.setattr(os, call, failing(code))
        with pytest.raises(OutputError, match=f"{tmp_path}: {sentence}") as caught:
            file.write(0, 0, file.read(0, 2) if call == "preadv" else np.zeros((2, 2, 3), np.uint8))
    assert caught.value.errno == code


def test_a_file_cut_off_by_others_is_one_sentence(tmp_path: Path) -> None:
    with BandFile(tmp_path, shape=(2, 2, 3)) as file:
        os.truncate(file.path, 5)
        with pytest.raises(OutputError, match="a scratch file ends too early"):
            file.read(0, 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"a scratch file of 12 bytes failed: Permission denied"):
        BandFile(tmp_path, shape=(2, 2, 3))


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file: a scratch file of 12 bytes failed: File exists"):
        BandFile(tmp_path / "file", shape=(2, 2, 3))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 6), np.uint8),
        np.zeros((3, 2, 3), np.uint8),
        np.zeros((2, 3, 3), np.uint8),
    ],
    ids=["dtype", "channels", "axes", "height", "width"],
)
def test_pixels_that_do_not_fit_are_refused(tmp_path: Path, pixels: NDArray) -> None:
    with (
        BandFile(tmp_path, shape=(2, 2, 3)) as file,
        pytest.raises(ValueError, match=r"wanted uint8 of|are not all within"),
    ):
        file.write(0, 0, pixels)


@pytest.mark.parametrize("place", [(-1, 1, 0, 2), (0, 3, 0, 2), (0, 1, 1, 3)], ids=str)
def test_places_outside_are_refused(tmp_path: Path, place: tuple[int, int, int, int]) -> None:
    with BandFile(tmp_path, shape=(2, 2, 3)) as file, pytest.raises(ValueError, match="are not all within"):
        file.read(*place)


def test_a_closed_file_is_refused_and_may_be_closed_again(tmp_path: Path) -> None:
    file = BandFile(tmp_path, shape=(2, 2, 3))
    file.close()
    file.close()
    with pytest.raises(ValueError, match="is closed"):
        file.read(0, 1)


def test_nothing_is_no_shape(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 1, not \(0, 2, 3\)"):
        BandFile(tmp_path, shape=(0, 2, 3))


def test_amounts_are_written_for_people() -> None:
    wanted = {999: "999 bytes", 1000: "1 kB", 1_999_999: "1.9 MB", 12_000_000_000: "12 GB"}
    assert {number: pixel_file._amount(number) for number in wanted} == wanted


def open_descriptors_in(folder: Path) -> list[str]:
    """What this process still has open there, files without a name included."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("only Linux tells")
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue  # the folder that was listed
    return [name for name in found if name.startswith(str(folder))]


def test_open_files_without_a_name_would_be_seen(tmp_path: Path) -> None:
    with BandFile(tmp_path, shape=(2, 2, 3)):
        assert len(open_descriptors_in(tmp_path)) == 1
