from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csci_utils import io
from csci_utils.io import (
    atomic_path,
    is_abandoned,
    is_scratch,
    owner,
    read_record,
    record_path,
    scratch_folder,
    scratch_path,
    sha256_of,
    sweep,
    write_record,
)

HOLD_A_SCRATCH_FILE = """
import sys, time
from csci_utils.io import atomic_path
with atomic_path(sys.argv[1]) as scratch:
    scratch.write_bytes(b"half")
    print(scratch, flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start_writer(target: Path, program: str = HOLD_A_SCRATCH_FILE) -> tuple[subprocess.Popen[str], Path]:
    """A real process in the middle of a write."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(target)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(io.__file__).parents[1],
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().rstrip("\n"))


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_finished_write_is_the_target_and_nothing_else(tmp_path):
    with atomic_path(tmp_path / "deep" / "er" / "cat.jpg") as scratch:
        assert scratch.parent == tmp_path / "deep" / "er"
        assert scratch.suffix == ".jpg"
        assert scratch.name.startswith(".")
        scratch.write_bytes(b"new")
    assert (tmp_path / "deep" / "er" / "cat.jpg").read_bytes() == b"new"
    assert names(tmp_path / "deep" / "er") == ["cat.jpg"]


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt("stop"), GeneratorExit("killed")],
    ids=["disk-full", "ctrl-c", "not-an-exception"],
)
def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, fault):
    target = tmp_path / "cat.jpg"
    target.write_bytes(b"old")

    def half_write() -> None:
        with atomic_path(target) as scratch:
            scratch.write_bytes(b"half")
            raise fault

    with pytest.raises(type(fault), match="No space|stop|killed"):
        half_write()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["cat.jpg"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_at_the_end_keeps_the_old_file(tmp_path, monkeypatch, call):
    target = tmp_path / "cat.jpg"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"), atomic_path(target) as scratch:
        scratch.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["cat.jpg"]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "to-be-thrown-away"])
def test_the_disk_is_waited_for_unless_the_file_need_not_last(tmp_path, monkeypatch, durable):
    synced, checked = [], []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    (tmp_path / "cat.jpg").write_bytes(b"old")
    with atomic_path(tmp_path / "cat.jpg", check=checked.append, durable=durable) as scratch:
        scratch.write_bytes(b"new")
        assert (tmp_path / "cat.jpg").read_bytes() == b"old"
    assert (tmp_path / "cat.jpg").read_bytes() == b"new"
    assert names(tmp_path) == ["cat.jpg"]
    assert checked == [scratch]
    assert synced == ([str(scratch), str(tmp_path)] if durable else [])


def test_a_check_that_fails_keeps_the_old_file(tmp_path):
    target = tmp_path / "cat.jpg"
    target.write_bytes(b"old")

    def refuse(scratch: Path) -> None:
        raise ValueError(f"not a picture: {scratch.read_bytes()!r}")

    with pytest.raises(ValueError, match="not a picture: b'new'"), atomic_path(target, check=refuse) as scratch:
        scratch.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["cat.jpg"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cat\.jpg: nothing was written"), atomic_path(tmp_path / "cat.jpg"):
        pass
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "cat.jpg").mkdir()
    with (
        pytest.raises(IsADirectoryError, match=r"cat\.jpg: wanted to write a file, found a folder"),
        atomic_path(tmp_path / "cat.jpg"),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["cat.jpg"]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "cat.jpg") as scratch:
            scratch.write_bytes(b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "cat.jpg").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "name",
    [
        "a" * 251 + ".jpg",
        "é" * 125 + ".jpg",
        "two words ü 猫.jpg",
        "no suffix",
        ".hidden",
        "a\nb.jpg",
        "x." + "y" * 250,
    ],
    ids=["255-bytes", "254-bytes-unicode", "spaces", "no-suffix", "hidden", "newline", "monstrous-suffix"],
)
def test_every_name_a_file_can_have_can_be_written(tmp_path, name):
    with atomic_path(tmp_path / name) as scratch:
        assert is_scratch(scratch)
        assert scratch.suffix == Path(name).suffix or len(name) > 200
        scratch.write_bytes(b"new")
    write_record(tmp_path / name, {"a": 1})
    assert (tmp_path / name).read_bytes() == b"new"
    assert read_record(tmp_path / name) == {"a": 1}
    assert names(tmp_path) == sorted([name, record_path(tmp_path / name).name])


@pytest.mark.parametrize("name", ["cat.jpg", ".cat.jpg", ".cat.jpg.json", ".scratch-notes.txt", ".a~scratch-1-2-3-4"])
def test_ordinary_names_are_not_scratch_names(name):
    assert not is_scratch(name)
    assert is_scratch(scratch_path(name))


def test_long_names_keep_different_records(tmp_path):
    first, second = tmp_path / ("a" * 254 + "b"), tmp_path / ("a" * 254 + "c")
    assert record_path(first) != record_path(second)


def test_a_killed_writer_leaves_a_scratch_file_that_the_next_start_removes(tmp_path):
    process, scratch = start_writer(tmp_path / "cat.jpg")
    try:
        assert is_scratch(scratch)
        assert sweep(tmp_path) == []
        process.send_signal(signal.SIGKILL)
        while io._stat_fields(process.pid)[0] != "Z":
            time.sleep(0.01)
        assert names(tmp_path) == [scratch.name]
        assert sweep(tmp_path) == [scratch]  # though its parent has not waited for it yet
    finally:
        stop(process)
    assert names(tmp_path) == []


def test_writing_sweeps_its_folder_once(tmp_path):
    process, scratch = start_writer(tmp_path / "cat.jpg")
    stop(process)
    with atomic_path(tmp_path / "dog.jpg") as mine:
        mine.write_bytes(b"new")
    assert names(tmp_path) == ["dog.jpg"]
    scratch.write_bytes(b"left later")
    with atomic_path(tmp_path / "dog.jpg") as mine:
        mine.write_bytes(b"new")
    assert names(tmp_path) == [scratch.name, "dog.jpg"]


@pytest.mark.slow
def test_sweeping_keeps_what_live_processes_write(tmp_path):
    process, scratch = start_writer(tmp_path / "cat.jpg")
    try:
        own = scratch_path(tmp_path / "dog.jpg")
        own.write_bytes(b"half")
        assert sweep(tmp_path) == []
        assert names(tmp_path) == sorted([scratch.name, own.name])
    finally:
        stop(process)


def test_a_process_id_used_again_does_not_keep_a_dead_ones_scratch(tmp_path):
    own = scratch_path(tmp_path / "cat.jpg")
    another_start = "1" * 8
    stale = own.with_name(own.name.replace(f"-{io._start_token(os.getpid())}-", f"-{another_start}-"))
    assert stale != own
    stale.write_bytes(b"half")
    assert sweep(tmp_path) == [stale]


def test_without_a_start_time_a_live_process_id_keeps_its_scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "_stat_fields", lambda _pid: None)
    alive = scratch_path(tmp_path / "cat.jpg")
    dead = alive.with_name(alive.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    for path in (alive, dead):
        path.write_bytes(b"half")
    assert sweep(tmp_path) == [dead]


@pytest.mark.parametrize(("age_days", "goes"), [(6.9, False), (7.1, True)], ids=["young", "old"])
def test_another_hosts_scratch_goes_only_by_age(tmp_path, age_days, goes):
    own = scratch_path(tmp_path / "cat.jpg")
    foreign = own.with_name(own.name.replace(f"-{io._host_token()}-", "-0badcafe-"))
    foreign.write_bytes(b"half")
    then = time.time() - age_days * 86400
    os.utime(foreign, (then, then))
    assert sweep(tmp_path) == ([foreign] if goes else [])


@pytest.mark.parametrize("recursive", [False, True])
def test_sweeping_goes_down_only_when_told(tmp_path, recursive):
    (tmp_path / "deep").mkdir()
    process, scratch = start_writer(tmp_path / "deep" / "cat.jpg")
    stop(process)
    assert sweep(tmp_path, recursive=recursive) == ([scratch] if recursive else [])


def test_sweeping_passes_over_what_vanishes_or_resists(tmp_path, monkeypatch):
    process, _ = start_writer(tmp_path / "cat.jpg")
    stop(process)

    def gone(self: Path, missing_ok: bool = False) -> None:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "unlink", gone)
    assert sweep(tmp_path) == []
    assert sweep(tmp_path / "never was") == []


def test_a_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_record_comes_back_and_reads_the_same_every_time(tmp_path):
    write_record(tmp_path / "cat.jpg", {"b": 1, "a": "ü"})
    text = (tmp_path / ".cat.jpg.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["a", "b"]
    assert read_record(tmp_path / "cat.jpg") == {"a": "ü", "b": 1}


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000],
    ids=["absent", "empty", "cut", "list", "bytes", "deep"],
)
def test_what_is_not_a_record_reads_as_none(tmp_path, content):
    if content is not None:
        (tmp_path / ".cat.jpg.json").write_bytes(content)
    assert read_record(tmp_path / "cat.jpg") is None


def test_a_scratch_file_gets_no_scratch_file_of_its_own(tmp_path):
    outer = scratch_path(tmp_path / "cat.jpg")
    with atomic_path(outer) as scratch:
        scratch.write_bytes(b"new")
    assert scratch == outer
    assert outer.read_bytes() == b"new"
    with pytest.raises(KeyError, match="stop"), atomic_path(outer):
        raise KeyError("stop")
    assert list(tmp_path.iterdir()) == []


HOLD_A_SCRATCH_FOLDER = """
import sys, time
from csci_utils.io import scratch_path
scratch = scratch_path(sys.argv[1])
(scratch / "deep").mkdir(parents=True)
(scratch / "deep" / "half.jpg").write_bytes(b"half")
print(scratch, flush=True)
time.sleep(60)
"""


def test_scratch_folders_go_with_their_owners(tmp_path):
    process, scratch = start_writer(tmp_path / "result.parquet", HOLD_A_SCRATCH_FOLDER)
    try:
        inside = scratch_path(scratch / "dog.jpg")
        dead = inside.with_name(inside.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
        dead.write_bytes(b"half")
        assert sweep(tmp_path, recursive=True) == []  # what lies in a live one is its owner's affair
    finally:
        stop(process)
    assert scratch.is_dir()
    assert sweep(tmp_path) == [scratch]
    assert names(tmp_path) == []


def test_a_link_that_looks_like_scratch_goes_without_what_it_leads_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "cat.jpg").write_bytes(b"mine")
    own = scratch_path(tmp_path / "link")
    dead = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    dead.symlink_to(tmp_path / "kept")
    assert sweep(tmp_path) == [dead]
    assert names(tmp_path / "kept") == ["cat.jpg"]


@pytest.mark.parametrize(("age_days", "goes"), [(6.9, False), (7.1, True)], ids=["young", "old"])
def test_another_hosts_scratch_folder_is_as_young_as_the_youngest_thing_in_it(tmp_path, age_days, goes):
    own = scratch_path(tmp_path / "result.parquet")
    foreign = own.with_name(own.name.replace(f"-{io._host_token()}-", "-0badcafe-"))
    (foreign / "deep").mkdir(parents=True)
    (foreign / "deep" / "half.jpg").write_bytes(b"half")
    for path, days in ((foreign / "deep" / "half.jpg", age_days), (foreign / "deep", 30.0), (foreign, 30.0)):
        then = time.time() - days * 86400
        os.utime(path, (then, then))
    assert sweep(tmp_path) == ([foreign] if goes else [])


def test_a_scratch_folder_is_discarded_with_all_that_is_in_it(tmp_path):
    (tmp_path / "scratch" / "deep").mkdir(parents=True)
    (tmp_path / "scratch" / "deep" / "cat.jpg").write_bytes(b"half")
    io.discard(tmp_path / "scratch")
    io.discard(tmp_path / "never was")
    assert names(tmp_path) == []


def test_an_owner_is_gone_when_its_process_is(tmp_path):
    process, scratch = start_writer(tmp_path / "cat.jpg")
    named = scratch.name.partition("~scratch-")[2].rpartition("-")[0]
    assert not is_abandoned(scratch, named)
    stop(process)
    assert is_abandoned(scratch, named)
    assert not is_abandoned(scratch, owner())
    assert not is_abandoned(scratch, "nobody")


@pytest.mark.slow
def test_a_forked_process_has_a_name_of_its_own():
    read, write = os.pipe()
    mine = owner()
    child = os.fork()
    if child == 0:
        os.write(write, owner().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).decode().split("-")[1] == str(child)
    assert mine == owner()
    os.close(read)
    os.close(write)


def test_a_folder_for_a_while_goes_with_its_block(tmp_path):
    with scratch_folder(tmp_path / "new") as folder:
        assert folder.parent == tmp_path / "new"
        assert is_scratch(folder)
        (folder / "big").write_bytes(b"x")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_for_a_while_goes_after_a_kill_too(tmp_path):
    code = f"""
import os, signal
from csci_utils.io import scratch_folder
with scratch_folder({str(tmp_path)!r}) as folder:
    (folder / "big").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    assert sweep(tmp_path) == [left]
    assert list(tmp_path.iterdir()) == []
