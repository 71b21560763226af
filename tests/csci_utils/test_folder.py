from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from csci_utils import folder as folder_module
from csci_utils.folder import atomic_folder, remove_folder
from csci_utils.io import is_scratch, scratch_path
from csci_utils.manifest import FLAG, FolderDamagedError, Manifest, read_flag
from tests.conftest import REPO

OLD = {"a.txt": b"old a", "deep/b.txt": b"old b"}
NEW = {"a.txt": b"new a", "c.txt": b"new c"}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def make(target: Path, files: dict[str, bytes]) -> None:
    with atomic_folder(target) as scratch:
        fill(scratch, files)


def make_and_then(target: Path, last: Callable[[Path], object]) -> None:
    with atomic_folder(target) as scratch:
        fill(scratch, NEW)
        last(scratch)


def content(folder: Path) -> dict[str, bytes]:
    """All files but the flag."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != FLAG}


def state(target: Path) -> str:
    """What a reader would find: nothing, the old or the new folder as a whole, or else "half"."""
    if not target.exists():
        return "absent"
    manifest = read_flag(target)
    if manifest is None:
        return "half"
    manifest.compare(target)
    return {True: "old", False: "new"}[content(target) == OLD] if content(target) in (OLD, NEW) else "half"


@pytest.fixture
def target(tmp_path) -> Path:
    """A folder that is there already."""
    target = tmp_path / "made" / "result.parquet"
    make(target, OLD)
    return target


def test_a_finished_folder_is_there_with_its_flag_and_nothing_else(tmp_path):
    target = tmp_path / "deep" / "er" / "result.parquet"
    with atomic_folder(target) as scratch:
        assert scratch.parent == target.parent
        assert scratch.suffix == ".parquet"
        assert is_scratch(scratch)
        assert list(scratch.iterdir()) == []
        fill(scratch, OLD)
        assert not target.exists()
    assert content(target) == OLD
    assert os.listdir(target.parent) == ["result.parquet"]


def test_the_flag_tells_names_sizes_and_digests(target):
    assert json.loads((target / FLAG).read_text()) == {
        "files": [
            {"name": name, "size_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            for name, body in sorted(OLD.items())
        ]
    }
    manifest = read_flag(target)
    assert manifest is not None
    assert Manifest.from_text(manifest.to_text()) == manifest


@pytest.mark.parametrize("exchange", [True, False], ids=["one-step", "three-steps"])
def test_an_older_folder_is_replaced_as_a_whole(target, monkeypatch, exchange):
    seen = [state(target)]

    def watched(call):
        def watching(*args):
            result = call(*args)
            seen.append(state(target))
            return result

        return watching

    monkeypatch.setattr(os, "rename", watched(os.rename))
    monkeypatch.setattr(folder_module, "_exchange", watched(folder_module._exchange) if exchange else lambda *_: False)
    make(target, NEW)
    assert seen == (["old", "new"] if exchange else ["old", "absent", "new", "new"])
    assert content(target) == NEW
    assert os.listdir(target.parent) == ["result.parquet"]


def test_the_flag_is_written_after_all_else_and_all_is_on_the_disk_before_it_is_in_place(tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda handle: (calls.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(os, "rename", lambda old, new: (calls.append("rename"), rename(old, new)))
    write = Path.write_text
    monkeypatch.setattr(
        Path, "write_text", lambda path, *args, **kw: (calls.append(f"write {path.name}"), write(path, *args, **kw))
    )
    make(tmp_path / "made", OLD)
    assert [Path(call).name for call in calls][0] == f"write {FLAG}"
    synced = calls[1 : calls.index("rename")]
    assert {Path(call).name for call in synced[:-2]} == {"a.txt", "b.txt", FLAG}
    assert Path(synced[-2]).name == "deep"
    assert is_scratch(synced[-1])
    assert calls[-1] == str(tmp_path)


@pytest.mark.parametrize("old", [True, False], ids=["replace", "new"])
@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt("stop")], ids=["disk-full", "ctrl-c"])
def test_a_failed_block_keeps_the_old_folder_and_leaves_nothing(target, old, fault):
    if not old:
        remove_folder(target)

    def fail(_: Path) -> None:
        raise fault

    with pytest.raises(type(fault), match=str(fault)):
        make_and_then(target, fail)
    assert state(target) == ("old" if old else "absent")
    assert os.listdir(target.parent) == (["result.parquet"] if old else [])


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.write_text", "os.rename", "csci_utils.folder._exchange"])
@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt("No space left")], ids=["disk-full", "ctrl-c"]
)
def test_a_fault_at_the_end_keeps_the_old_folder_and_leaves_nothing(target, monkeypatch, call, fault):
    def full(*_: object, **__: object) -> None:
        raise fault

    with pytest.raises(type(fault), match="No space left"):
        make_and_then(target, lambda _: monkeypatch.setattr(call, full))
    monkeypatch.undo()
    assert state(target) == "old"
    assert os.listdir(target.parent) == ["result.parquet"]


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_an_interrupt_between_the_three_steps_leaves_a_whole_folder(target, monkeypatch, step, done):
    rename, calls = os.rename, []
    monkeypatch.setattr(folder_module, "_exchange", lambda *_: False)

    def interrupted(old, new):
        if new == target and target.exists():
            return rename(old, new)  # the first try, which finds the place taken
        calls.append((old, new))
        if len(calls) == step:
            if done:
                rename(old, new)
            raise KeyboardInterrupt("stop")
        return rename(old, new)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        make(target, NEW)
    monkeypatch.undo()
    assert state(target) == ("new" if (step, done) in [(2, True), (3, False), (3, True)] else "old")
    assert os.listdir(target.parent) == ["result.parquet"]


def test_a_check_that_fails_keeps_the_old_folder(target):
    def refuse(manifest: Manifest) -> None:
        raise ValueError(f"wanted more than {[entry.name for entry in manifest.entries]}")

    with (
        pytest.raises(ValueError, match=r"wanted more than \['a\.txt', 'c\.txt'\]"),
        atomic_folder(target, check=refuse) as scratch,
    ):
        fill(scratch, NEW)
    assert state(target) == "old"


@pytest.mark.parametrize("files", [{}, {FLAG: b""}], ids=["nothing", "a-flag-alone"])
def test_writing_nothing_is_an_error(target, files):
    with pytest.raises(FileNotFoundError, match=r"result\.parquet: nothing was written to its scratch folder"):
        make(target, files)
    assert state(target) == "old"


def test_a_flag_of_the_blocks_own_is_replaced(target):
    make(target, NEW | {FLAG: b"from Spark"})
    assert state(target) == "new"


@pytest.mark.parametrize("kind", ["link", "link-to-folder", "broken-link", "fifo", "scratch"])
def test_what_is_no_finished_file_is_refused(target, kind):
    def put(scratch: Path) -> None:
        if kind == "fifo":
            os.mkfifo(scratch / "odd")
        elif kind == "scratch":
            scratch_path(scratch / "odd").write_bytes(b"half")
        else:
            (scratch / "odd").symlink_to({"link": "a.txt", "link-to-folder": "/tmp"}.get(kind, "nowhere"))

    wanted = "somebody still writes" if kind == "scratch" else "odd: wanted files and folders, found a link or"
    with pytest.raises(FolderDamagedError, match=wanted):
        make_and_then(target, put)
    assert state(target) == "old"


def test_a_file_in_the_way_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "made").write_bytes(b"mine")
    with (
        pytest.raises(NotADirectoryError, match="made: wanted to write a folder, found a file"),
        atomic_folder(tmp_path / "made"),
    ):
        pytest.fail("the block must not run")
    assert os.listdir(tmp_path) == ["made"]


def test_a_folder_that_was_not_made_here_is_not_replaced(tmp_path):
    """A wrong path must not cost somebody's pictures."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.jpg").write_bytes(b"mine")
    with (
        pytest.raises(
            FileExistsError, match="pictures: there is a folder without the flag _SUCCESS, so it was not made"
        ),
        atomic_folder(tmp_path / "pictures"),
    ):
        pytest.fail("the block must not run")
    assert content(tmp_path) == {"pictures/cat.jpg": b"mine"}


def test_a_folder_that_somebody_made_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(FileExistsError, match="made: there is a folder without the flag"):
        make_and_then(tmp_path / "made", lambda _: fill(tmp_path / "made", {"cat.jpg": b"mine"}))
    assert content(tmp_path) == {"made/cat.jpg": b"mine"}


def test_an_empty_folder_is_nobodys_loss(tmp_path):
    (tmp_path / "made").mkdir()
    make(tmp_path / "made", NEW)
    assert state(tmp_path / "made") == "new"


def test_a_linked_folder_is_replaced_where_it_is(tmp_path, target):
    (tmp_path / "link").symlink_to(target)
    make(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert state(target) == "new"
    assert sorted(os.listdir(tmp_path)) == ["link", "made"]


def test_without_the_call_of_linux_folders_are_replaced_as_well(target, monkeypatch):
    monkeypatch.setattr(folder_module.ctypes, "CDLL", lambda *_, **__: object())
    make(target, NEW)
    assert state(target) == "new"
    assert os.listdir(target.parent) == ["result.parquet"]


def test_linux_exchanges_two_folders_in_one_step(tmp_path):
    make(tmp_path / "one", OLD)
    make(tmp_path / "two", NEW)
    if not folder_module._exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("this file system cannot")
    assert (state(tmp_path / "one"), state(tmp_path / "two")) == ("new", "old")
    with pytest.raises(FileNotFoundError, match="No such file"):
        folder_module._exchange(tmp_path / "one", tmp_path / "three")


def test_a_removed_folder_is_gone_at_once(target, monkeypatch):
    seen = []
    monkeypatch.setattr(folder_module, "discard", lambda path: seen.append((state(target), path.is_dir())))
    remove_folder(target)
    assert seen == [("absent", True)]
    with pytest.raises(FileNotFoundError, match="No such file"):
        remove_folder(target)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTEMPTY])
def test_a_place_that_others_take_or_leave_meanwhile_is_tried_again(target, monkeypatch, number):
    turns = []

    def taken(*_: object) -> bool:
        turns.append(None)
        if len(turns) == 3:
            remove_folder(target)
        raise OSError(number, "another process was faster")

    monkeypatch.setattr(folder_module, "_exchange", taken)
    make(target, NEW)
    assert len(turns) == 3
    assert state(target) == "new"


def test_a_place_that_others_always_take_is_an_error_in_the_end(target, monkeypatch):
    monkeypatch.setattr(folder_module, "_placed", lambda *_: False)
    with pytest.raises(FileExistsError, match="other processes replace this folder again and again"):
        make(target, NEW)
    assert state(target) == "old"
    assert os.listdir(target.parent) == ["result.parquet"]


WRITE_AGAIN_AND_AGAIN = """
import sys
from csci_utils.folder import atomic_folder
for turn in range(40):
    with atomic_folder(sys.argv[1]) as scratch:
        for number in range(3):
            (scratch / f"{sys.argv[2]}-{turn}-{number}").write_text(sys.argv[2])
"""


@pytest.mark.slow
def test_processes_that_write_the_same_folder_at_once_all_end_well(tmp_path):
    target = tmp_path / "made"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_AGAIN_AND_AGAIN, str(target), str(number)], cwd=REPO)
        for number in range(3)
    ]
    looked = 0
    while any(writer.poll() is None for writer in writers):
        try:
            handle = os.open(target, os.O_DIRECTORY)  # this very folder, even when it is replaced meanwhile
        except FileNotFoundError:
            continue
        names = set(os.listdir(handle)) - {FLAG}
        os.close(handle)
        assert len({name.rpartition("-")[0] for name in names}) <= 1, "parts of two writings in one folder"
        looked += len(names) == 3
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert looked > 10
    manifest = read_flag(target)
    assert manifest is not None
    manifest.compare(target)
    assert len(manifest.entries) == 3
    assert os.listdir(tmp_path) == ["made"]


HOLD_A_SCRATCH_FOLDER = """
import sys, time
from csci_utils.folder import atomic_folder
with atomic_folder(sys.argv[1]) as scratch:
    (scratch / "half").write_bytes(b"half")
    print(scratch, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_folder_and_what_the_next_start_removes(target):
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_SCRATCH_FOLDER, str(target)], stdout=subprocess.PIPE, text=True, cwd=REPO
    )
    assert writer.stdout is not None
    scratch = Path(writer.stdout.readline().strip())
    make(target.parent / "another", NEW)
    assert scratch.is_dir()  # its owner lives
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert state(target) == "old"
    folder_module.sweep_once.__globals__["_swept"].clear()
    make(target, NEW)
    assert sorted(os.listdir(target.parent)) == ["another", "result.parquet"]


# --- flags


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"files": {"a": 1}}',
        '{"files": [{"name": "a"}]}',
        '{"files": 3}',
        *(
            json.dumps({"files": [{"name": "a", "size_bytes": 1, "sha256": "0" * 64} | change]})
            for change in (
                {"name": "../a"},
                {"name": "/etc/passwd"},
                {"name": ""},
                {"name": "a//b"},
                {"name": "./a"},
                {"name": "a\0"},
                {"name": None},
                {"stored_as": "../../x"},
                {"stored_as": 5},
                {"size_bytes": -1},
                {"size_bytes": True},
                {"size_bytes": "1"},
                {"sha256": "short"},
                {"sha256": None},
            )
        ),
        json.dumps({"files": [{"name": "a", "size_bytes": 1, "sha256": "0" * 64}] * 2}),
        "[" * 100_000,
    ],
)
def test_a_flag_of_another_program_is_no_manifest(text):
    assert Manifest.from_text(text) is None


def test_what_a_later_version_adds_to_a_flag_is_passed_over():
    later = {"files": [{"name": "a", "size_bytes": 1, "sha256": "0" * 64, "colour": "red"}], "since": 1}
    manifest = Manifest.from_text(json.dumps(later))
    assert manifest is not None
    assert [entry.place for entry in manifest.entries] == ["a"]


def test_a_missing_flag_says_that_the_folder_is_not_finished(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"_SUCCESS: no such flag; the folder is not there or not finished"):
        read_flag(tmp_path)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: (folder / "a.txt").unlink(), r"a\.txt: missing, though the flag _SUCCESS names it"),
        (
            lambda folder: (folder / "a.txt").write_bytes(b"OLD A"),
            r"a\.txt: wanted 5 bytes with sha256 .*, found 5 with",
        ),
        (lambda folder: (folder / "a.txt").write_bytes(b""), r"a\.txt: wanted 5 bytes with sha256 .*, found 0 with"),
        (lambda folder: (folder / "new").write_bytes(b""), r"new: there, though the flag _SUCCESS does not name it"),
    ],
    ids=["missing", "changed", "cut", "too-many"],
)
def test_damage_is_named(target, damage, match):
    damage(target)
    manifest = read_flag(target)
    assert manifest is not None
    with pytest.raises(FolderDamagedError, match=match):
        manifest.compare(target)
