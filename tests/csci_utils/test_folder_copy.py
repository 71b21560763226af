"""A local copy of a folder in S3 is whole and current, or there is a sentence that says why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from csci_utils import folder_copy, s3
from csci_utils.copies import NotHereError
from csci_utils.folder_copy import MEMORY, StrangeFileError, fetch_folder_copy, remembered_folder
from csci_utils.folder_look import BY_FLAG, BY_LISTING, FolderInfo, is_there, look_at_flag, look_at_folder
from csci_utils.io import is_scratch
from csci_utils.manifest import FLAG, FolderDamagedError
from csci_utils.remote_update import FolderUpdate
from csci_utils.s3 import BucketMissingError, ObjectChangedError, ObjectMissingError, S3Uri
from tests.conftest import REPO
from tests.servers.stores import Store

pytestmark = pytest.mark.slow

FILES = {"a.jpg": b"a", "b.jpg": b"b", "deep/er/c.jpg": b"c"}


def belongs(name: str) -> bool:
    return name.endswith((".jpg", ".tar")) and not any(part[:1] == "." for part in name.split("/")[:-1])


class Place:
    """A folder in a bucket of its own, and its copy."""

    def __init__(self, store: Store, here: Path) -> None:
        self.store = store
        self.bucket = store.new_bucket()
        self.root = S3Uri(self.bucket, "datasets/coco")
        self.here = here
        self.copy = here / "data" / "coco"

    def put(self, files: dict[str, bytes]) -> None:
        """With a flag."""
        folder = Path(tempfile.mkdtemp(dir=self.here))
        for name, body in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
        FolderUpdate({name: folder / name for name in files}, self.root).carry_out()

    def put_plain(self, files: dict[str, bytes]) -> None:
        """As somebody does who knows nothing of flags."""
        for name, body in files.items():
            self.store.plain.put_object(Bucket=self.bucket, Key=f"{self.root.key}/{name}", Body=body)

    def remove(self, *names: str) -> None:
        for name in names:
            self.store.plain.delete_object(Bucket=self.bucket, Key=f"{self.root.key}/{name}")

    def fetch(self, **options: Any) -> FolderInfo:
        return fetch_folder_copy(self.root, self.copy, belongs=belongs, **options)

    def here_now(self) -> dict[str, bytes]:
        """What lies in the copy, but for its memory."""
        paths = [path for path in self.copy.rglob("*") if path.is_file()]
        found = {path.relative_to(self.copy).as_posix(): path.read_bytes() for path in paths}
        assert found.pop(MEMORY)
        return found


@pytest.fixture
def place(moto_store, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, value in moto_store.environment().items():
        monkeypatch.setenv(name, value)
    place = Place(moto_store, tmp_path)
    yield place
    moto_store.remove_bucket(place.bucket)


@pytest.fixture(params=[BY_FLAG, BY_LISTING])
def known_by(request) -> str:
    return str(request.param)


@pytest.fixture
def filled(place, known_by) -> Place:
    """The folder, with a flag or without."""
    (place.put if known_by == BY_FLAG else place.put_plain)(FILES)
    return place


@pytest.fixture
def requests() -> list[str]:
    seen: list[str] = []

    def handler(request: Any, **_: Any) -> None:
        parts = urlsplit(request.url)
        name = unquote(parts.path).rpartition("/coco/")[2] if "list-type" not in parts.query else "*"
        seen.append(f"{request.method} {name}")

    s3.client().meta.events.register("before-send.s3", handler)
    return seen


def test_a_copy_is_fetched_whole_and_remembers_what_it_is_of(filled, known_by):
    told: list[int] = []
    info = filled.fetch(on_bytes=told.append)
    assert filled.here_now() == FILES
    assert (info.uri, info.known_by, info.num_files, info.size_bytes) == (str(filled.root), known_by, 3, 3)
    assert remembered_folder(filled.copy) == info
    assert sum(told) == 3
    assert sorted(path.name for path in filled.copy.parent.iterdir()) == [".coco.json", "coco"]


def test_a_current_copy_costs_one_request_with_a_flag_and_a_listing_without(filled, known_by, requests):
    first = filled.fetch()
    requests.clear()
    assert filled.fetch() == first
    assert requests == ([f"HEAD {FLAG}"] if known_by == BY_FLAG else [f"HEAD {FLAG}", "GET *"])


def test_what_changed_is_fetched_what_went_is_removed_and_the_rest_stays(filled, known_by, requests):
    first = filled.fetch()
    kept = (filled.copy / "b.jpg").stat()
    new = {"a.jpg": b"new a", "b.jpg": b"b", "d.jpg": b"d"}
    if known_by == BY_FLAG:
        filled.put(new)
    else:
        filled.put_plain(new)
        filled.remove("deep/er/c.jpg")
    requests.clear()
    second = filled.fetch()
    assert filled.here_now() == new
    assert not (filled.copy / "deep").exists()
    assert len({first.digest, second.digest}) == 2
    assert (filled.copy / "b.jpg").stat().st_ino == kept.st_ino
    objects = [request for request in requests if request.endswith(".jpg")]
    assert len(objects) == 2
    assert all(request.startswith("GET ") for request in objects)


def test_the_digest_is_of_the_content_and_not_of_the_way_there(place):
    place.put({**FILES, "a.jpg": b"another"})
    place.put(FILES)  # `a.jpg` lies under a name of its own now
    first = place.fetch()
    place.remove(*[key.removeprefix("datasets/coco/") for key in place.store.keys(place.bucket)])
    place.put(FILES)
    second = place.fetch()
    assert (first.digest, first.flag_etag != second.flag_etag) == (second.digest, True)


@pytest.mark.parametrize("damage", [b"x", b"longer", None], ids=["other-bytes", "longer", "gone"])
def test_a_damaged_copy_is_mended(filled, damage):
    info = filled.fetch()
    path = filled.copy / "b.jpg"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert filled.fetch() == info
    assert filled.here_now() == FILES


def test_a_file_that_was_only_touched_is_not_fetched(filled, requests):
    filled.fetch()
    os.utime(filled.copy / "b.jpg")
    requests.clear()
    filled.fetch()
    assert not [request for request in requests if request.endswith(".jpg")]


def test_what_lies_here_already_is_taken_and_not_fetched(filled, requests):
    info = filled.fetch()
    (filled.copy / MEMORY).unlink()
    requests.clear()
    assert filled.fetch() == info
    assert not [request for request in requests if request.endswith(".jpg")]
    assert filled.here_now() == FILES


def test_a_flag_that_comes_later_costs_no_transfer(place, requests):
    place.put_plain(FILES)
    place.fetch()
    place.put(FILES)
    requests.clear()
    assert place.fetch().known_by == BY_FLAG
    assert requests == [f"HEAD {FLAG}", f"GET {FLAG}"]


def test_what_is_no_file_of_the_folder_is_left_out_without_a_flag(place):
    place.put_plain({**FILES, "notes.txt": b"x", ".hidden/d.jpg": b"x", "deep/": b"", "huge.zip": b"x"})
    place.fetch()
    assert place.here_now() == FILES


def test_the_empty_flag_of_another_program_says_nothing(place):
    place.put_plain({**FILES, FLAG: b""})
    assert place.fetch().known_by == BY_LISTING
    assert place.here_now() == FILES


def test_a_folder_without_a_flag_is_told_of(place, caplog):
    caplog.set_level("INFO", "csci_utils")
    place.put_plain(FILES)
    place.fetch()
    assert "has no manifest; its 3 files are those that a listing shows" in caplog.text


# --- faults


def test_a_folder_that_is_not_there_is_said_to_be(place):
    place.put_plain({"notes.txt": b"no picture"})
    with pytest.raises(
        ObjectMissingError, match="datasets/coco: there is no such folder: nothing lies below it; put it"
    ):
        place.fetch()
    assert not place.copy.exists()
    assert not is_there(place.root, belongs=belongs)
    with pytest.raises(BucketMissingError, match="there is no bucket 'nowhere-at-all'"):
        fetch_folder_copy(S3Uri("nowhere-at-all", "x"), place.copy, belongs=belongs)


def test_a_folder_is_there_with_its_flag_or_its_first_file(filled):
    assert is_there(filled.root, belongs=belongs)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"hello",
        json.dumps({"files": [{"name": "../x.jpg", "size_bytes": 1, "sha256": "0" * 64}]}).encode(),
        json.dumps({"files": [{"name": "/x.jpg", "size_bytes": 1, "sha256": "0" * 64}]}).encode(),
    ],
    ids=["cut", "text", "up", "absolute"],
)
def test_a_flag_that_cannot_be_read_is_not_taken_for_none(place, text):
    place.put_plain({**FILES, FLAG: text})
    with pytest.raises(FolderDamagedError, match=r"_SUCCESS: wanted a manifest, found something else; put the folder"):
        place.fetch()
    assert not place.copy.exists()


def test_a_name_that_leads_out_of_the_copy_is_left_out(place, caplog, tmp_path):
    files = {**FILES, "x/../../../out.jpg": b"out", "/abs.jpg": b"abs"}
    for name, body in files.items():
        place.store.plain.put_object(Bucket=place.bucket, Key=f"{place.root.key}/{name}", Body=body)
    fetch_folder_copy(place.root, place.copy, belongs=lambda name: name.endswith(".jpg"))
    assert place.here_now() == FILES
    assert caplog.text.count("left out: its name would lie outside of a copy of the folder") == 2
    assert not (tmp_path / "out.jpg").exists()


@pytest.mark.parametrize("damage", ["other-bytes", "gone"])
def test_an_object_that_is_not_what_the_flag_says_is_an_error_and_no_record_stays(place, damage):
    place.put(FILES)
    place.fetch()
    place.put({**FILES, "b.jpg": b"second b"})
    stored = next(key for key in place.store.keys(place.bucket) if "/b~" in key).removeprefix("datasets/coco/")
    if damage == "gone":
        place.remove(stored)
    else:
        place.put_plain({stored: b"another"})
    said = (
        "gone, though 'b.jpg' belongs to its folder" if damage == "gone" else "wanted sha256 [0-9a-f]{64} as the flag"
    )
    with pytest.raises(FolderDamagedError, match=rf"{said}.*; put the folder there again"):
        place.fetch()
    assert remembered_folder(place.copy) is None
    with pytest.raises(NotHereError, match="found none that is whole"):
        place.fetch(offline=True)
    place.put({**FILES, "b.jpg": b"second b"})
    place.fetch()
    assert place.here_now() == {**FILES, "b.jpg": b"second b"}


def changing(place: Place, monkeypatch: pytest.MonkeyPatch, changes: list[dict[str, bytes]]) -> None:
    """Let the folder change, once for each of the changes, after it was looked at."""
    look = folder_copy.look_at_folder

    def look_then_change(*args: Any, **options: Any) -> Any:
        found = look(*args, **options)
        if changes:
            files = changes.pop(0)
            (place.put if found.info.known_by == BY_FLAG else place.put_plain)(files)
        return found

    monkeypatch.setattr(folder_copy, "look_at_folder", look_then_change)


def test_a_folder_that_changes_while_it_is_fetched_comes_as_it_is_then(filled, monkeypatch):
    new = {"a.jpg": b"new a", "b.jpg": b"new b", "deep/er/c.jpg": b"new c"}
    changing(filled, monkeypatch, [new])
    info = filled.fetch()
    assert filled.here_now() == new
    monkeypatch.undo()
    held, _ = look_at_flag(filled.root, None)
    assert look_at_folder(filled.root, held, belongs=belongs).info == info


def test_a_folder_that_changes_again_and_again_is_given_up(place, monkeypatch):
    place.put(FILES)
    changing(place, monkeypatch, [{name: bytes([n]) * 9 for name in FILES} for n in range(5)])
    with pytest.raises(ObjectChangedError, match="changed again and again while it was fetched; run it again"):
        place.fetch()
    assert remembered_folder(place.copy) is None


def test_a_local_file_that_s3_does_not_have_is_neither_removed_nor_passed_over(filled):
    filled.fetch()
    (filled.copy / "mine.jpg").write_bytes(b"mine")
    (filled.copy / "notes.txt").write_bytes(b"no picture")
    with pytest.raises(StrangeFileError, match=r"mine\.jpg: there, though the folder in S3 does not have it; put it"):
        filled.fetch()
    assert (filled.copy / "mine.jpg").read_bytes() == b"mine"
    (filled.copy / "mine.jpg").unlink()
    filled.fetch()


def test_a_folder_of_somebodys_own_is_not_taken_for_a_copy(filled):
    filled.copy.mkdir(parents=True)
    (filled.copy / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(StrangeFileError, match=r"holiday\.jpg: there"):
        filled.fetch()
    assert os.listdir(filled.copy) == ["holiday.jpg"]


def test_offline_trusts_a_whole_copy_and_asks_nothing(filled, requests):
    with pytest.raises(NotHereError, match="wanted its copy .*, found none that is whole"):
        filled.fetch(offline=True)
    info = filled.fetch()
    requests.clear()
    assert filled.fetch(offline=True) == info
    assert requests == []
    with pytest.raises(NotHereError, match="found none that is whole"):
        fetch_folder_copy(S3Uri("another", "x"), filled.copy, belongs=belongs, offline=True)
    (filled.copy / "b.jpg").unlink()
    with pytest.raises(NotHereError, match="found none that is whole"):
        filled.fetch(offline=True)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"uri": 3}'])
def test_a_record_that_cannot_be_read_is_none(filled, content):
    filled.fetch()
    (filled.copy.parent / ".coco.json").write_bytes(content)
    assert remembered_folder(filled.copy) is None
    filled.fetch()
    assert filled.here_now() == FILES


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt("stop")])
def test_a_fault_on_the_way_leaves_no_record_and_the_next_fetch_goes_on(filled, monkeypatch, requests, fault):
    filled.fetch()
    shutil.rmtree(filled.copy)
    s3.use_limits(s3.S3Limits(parallel_objects=1))
    compared = folder_copy._compared

    def fail_at_the_last(file: Any, outcome: Any) -> Any:
        if file.name == "deep/er/c.jpg":
            raise fault
        return compared(file, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(folder_copy, "_compared", fail_at_the_last)
        with pytest.raises(type(fault)):
            filled.fetch()
    assert remembered_folder(filled.copy) is None
    requests.clear()
    seen: list[str] = []
    s3.client().meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    filled.fetch()
    assert not [url for url in seen if url.endswith((".jpg",))]  # all had come
    assert filled.here_now() == FILES


def test_a_big_file_that_had_come_is_not_fetched_again_though_its_etag_is_no_digest(place, monkeypatch, requests):
    s3.use_limits(s3.S3Limits(multipart_bytes=5 * 2**20, part_bytes=5 * 2**20, parallel_objects=1))
    shard = place.here / "0.tar"
    shard.write_bytes(bytes(6 * 2**20))
    s3.put(shard, place.root.joined("0.tar"))
    place.put_plain(FILES)
    compared = folder_copy._compared

    def fail_at_the_last(file: Any, outcome: Any) -> Any:
        if file.name == "deep/er/c.jpg":
            raise OSError("disk full")
        return compared(file, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(folder_copy, "_compared", fail_at_the_last)
        with pytest.raises(OSError, match="disk full"):
            place.fetch()
    seen: list[str] = []
    s3.client().meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    assert place.fetch().num_files == 4
    assert not [url for url in seen if url.endswith(".tar")]


KILLED = """
import os, signal, sys
from csci_utils import s3
from csci_utils.folder_copy import fetch_folder_copy
s3.use_limits(s3.S3Limits(parallel_objects=1))
def look(request, **_):
    if request.method == "GET" and request.url.partition("?")[0].endswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
s3.client().meta.events.register("before-send.s3", look)
fetch_folder_copy(s3.S3Uri.parse(sys.argv[1]), sys.argv[2], belongs=lambda name: name.endswith(".jpg"))
"""


def test_a_killed_fetch_is_gone_on_with(place, known_by, requests):
    files = {f"{number}.jpg": bytes([number]) * 100 for number in range(8)}
    (place.put if known_by == BY_FLAG else place.put_plain)(files)
    arguments = [str(place.root), str(place.copy), "5.jpg"]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=REPO, check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.name for path in place.copy.glob("*.jpg") if not is_scratch(path)) == [
        f"{n}.jpg" for n in range(5)
    ]
    assert remembered_folder(place.copy) is None
    memory = (place.copy / MEMORY).read_text()
    (place.copy / MEMORY).write_text(memory + '{"name": "4.j')  # as if it had been writing
    requests.clear()
    place.fetch()
    assert sorted(request for request in requests if request.endswith(".jpg")) == [f"GET {n}.jpg" for n in (5, 6, 7)]
    assert place.here_now() == files
