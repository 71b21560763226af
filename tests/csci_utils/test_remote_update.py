"""A folder in S3 is brought to what lies here: what is equal is not sent, what failed goes on, nobody is disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from csci_utils import remote_update, s3
from csci_utils.io import is_scratch
from csci_utils.manifest import FLAG
from csci_utils.remote_notes import new_note, write_note
from csci_utils.remote_update import FilesChangedError, FolderUpdate
from csci_utils.s3 import ObjectChangedError, S3Uri
from tests.conftest import REPO
from tests.servers.stores import Store

pytestmark = pytest.mark.slow

OLD = {"a.jpg": b"old a", "deep/b.jpg": b"old b"}
NEW = {"a.jpg": b"new a", "deep/b.jpg": b"old b", "c.jpg": b"new c"}
TOKEN = re.compile(r"~[0-9a-f]{8}(?=(\.[^./]*)?$)")


class Place:
    """A folder in a bucket of its own, the files that are to become it, and a plain look at it."""

    def __init__(self, store: Store, here: Path) -> None:
        self.store = store
        self.bucket = store.new_bucket()
        self.root = S3Uri(self.bucket, "datasets/coco")
        self.here = here

    def look(self, files: dict[str, bytes]) -> FolderUpdate:
        folder = Path(tempfile.mkdtemp(dir=self.here))
        for name, body in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
        return FolderUpdate({name: folder / name for name in files}, self.root)

    def update(self, files: dict[str, bytes]) -> FolderUpdate:
        update = self.look(files)
        update.carry_out()
        return update

    def put(self, name: str, body: bytes) -> None:
        self.store.plain.put_object(Bucket=self.bucket, Key=f"{self.root.key}/{name}", Body=body)

    def listed(self) -> list[str]:
        return sorted(key.removeprefix(f"{self.root.key}/") for key in self.store.keys(self.bucket))

    def content(self) -> dict[str, bytes] | None:
        flag = self.store.read(self.bucket, f"{self.root.key}/{FLAG}")
        if flag is None:
            return None
        found = {}
        for entry in json.loads(flag)["files"]:
            body = self.store.read(self.bucket, f"{self.root.key}/{entry.get('stored_as', entry['name'])}")
            assert body is not None, f"{entry} is missing"
            assert hashlib.sha256(body).hexdigest() == entry["sha256"], f"{entry} is another"
            found[entry["name"]] = body
        return found


@pytest.fixture
def place(moto_store, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, value in moto_store.environment().items():
        monkeypatch.setenv(name, value)
    place = Place(moto_store, tmp_path)
    yield place
    moto_store.remove_bucket(place.bucket)


@pytest.fixture
def requests() -> list[str]:
    """Every request from here on, as "PUT name"."""
    seen: list[str] = []
    on_request(lambda method, name: seen.append(f"{method} {name}"))
    return seen


def on_request(look: Any) -> None:
    def handler(request: Any, **_: Any) -> None:
        parts = urlsplit(request.url)
        look(request.method, unquote(parts.path).rpartition("/coco/")[2] if "list-type" not in parts.query else "*")

    s3.client().meta.events.register("before-send.s3", handler)


def sent(requests: list[str]) -> list[str]:
    """What was sent besides notes, in the order of names."""
    puts = [request.removeprefix("PUT ") for request in requests if request.startswith("PUT ")]
    return sorted(TOKEN.sub("", name) for name in puts if not is_scratch(name))


def test_all_is_sent_once_and_the_flag_last(place, requests):
    update = place.update(OLD)
    assert (update.replaced, update.removed, [entry.name for entry in update.to_send]) == ([], [], sorted(OLD))
    puts = [request for request in requests if request.startswith("PUT ") and not is_scratch(request[4:])]
    assert (sorted(puts[:-1]), puts[-1]) == (["PUT a.jpg", "PUT deep/b.jpg"], f"PUT {FLAG}")
    assert place.content() == OLD
    assert place.listed() == [FLAG, "a.jpg", "deep/b.jpg"]


def test_what_is_equal_costs_no_transfer(place, requests):
    place.update(OLD)
    requests.clear()
    update = place.update(OLD)
    assert (update.is_current, requests) == (True, ["GET *", f"GET {FLAG}"])


def test_only_what_differs_is_sent_and_what_went_is_removed(place, requests):
    place.update({**OLD, "gone.jpg": b"gone"})
    requests.clear()
    update = place.update(NEW)
    assert (update.replaced, update.removed) == (["a.jpg"], ["gone.jpg"])
    assert sent(requests) == [FLAG, "a.jpg", "c.jpg"]
    assert place.content() == NEW
    assert sorted(TOKEN.sub("", name) for name in place.listed()) == [FLAG, "a.jpg", "c.jpg", "deep/b.jpg"]
    assert not [name for name in place.listed() if name == "gone.jpg"]


def test_a_file_with_another_name_is_not_sent_again(place, requests):
    place.update(OLD)
    requests.clear()
    place.update({"a.jpg": OLD["a.jpg"], "renamed.jpg": OLD["deep/b.jpg"]})
    assert sent(requests) == [FLAG]
    assert place.content() == {"a.jpg": OLD["a.jpg"], "renamed.jpg": OLD["deep/b.jpg"]}


def test_the_bytes_told_are_those_of_all_files(place):
    place.update(OLD)
    told: list[int] = []
    place.look(NEW).carry_out(on_bytes=told.append)
    assert sum(told) == sum(map(len, NEW.values()))


def test_what_others_put_there_is_taken_if_it_is_equal_and_left_alone_else(place, requests):
    place.put("a.jpg", NEW["a.jpg"])
    place.put("deep/b.jpg", b"other")
    place.put("mine.jpg", b"mine")
    requests.clear()
    place.update(NEW)
    assert sent(requests) == [FLAG, "c.jpg", "deep/b.jpg"]
    assert place.content() == NEW
    assert place.store.read(place.bucket, f"{place.root.key}/deep/b.jpg") == b"other"
    assert "mine.jpg" in place.listed()


def test_an_object_that_was_changed_behind_the_flag_is_noticed_and_sent_again(place):
    place.update(OLD)
    place.put("a.jpg", b"OLD A")  # of the same length
    update = place.look(OLD)
    assert (update.is_current, [entry.name for entry in update.to_send]) == (False, ["a.jpg"])
    update.carry_out()
    assert place.content() == OLD


def test_big_files_are_told_by_their_digest(place, requests, monkeypatch):
    """Their ETag is none of their bytes."""
    s3.use_limits(s3.S3Limits(multipart_bytes=5 * 2**20, part_bytes=5 * 2**20))
    on_request(lambda method, name: requests.append(f"{method} {name}"))
    shard = {"0.tar": bytes(6 * 2**20)}
    place.update(shard)
    requests.clear()
    assert place.update(shard).is_current
    assert sorted(requests) == ["GET *", f"GET {FLAG}", "HEAD 0.tar"]


# --- faults


@pytest.mark.parametrize("fault", [OSError("no route"), KeyboardInterrupt("no route")], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("name", ["c.jpg", FLAG])
def test_after_a_fault_the_old_folder_is_as_it_was_and_the_next_try_goes_on(place, requests, name, fault):
    place.update(OLD)

    def look(method: str, seen_name: str) -> None:
        if faulty and method == "PUT" and seen_name == name:
            raise fault

    faulty = [True]
    on_request(look)
    with pytest.raises(type(fault), match="no route"):
        place.update(NEW)
    assert place.content() == OLD
    faulty.clear()
    requests.clear()
    place.update(NEW)
    assert place.content() == NEW
    assert sent(requests) == ([FLAG] if name == FLAG else sorted([FLAG, *sent_again(place, requests)]))
    assert sorted(TOKEN.sub("", each) for each in place.listed()) == [FLAG, "a.jpg", "c.jpg", "deep/b.jpg"]


def sent_again(place: Place, requests: list[str]) -> list[str]:
    """What the fault kept from being sent: ``c.jpg``, and ``a.jpg`` if it was later in its thread."""
    names = [name for name in sent(requests) if name != FLAG]
    assert set(names) <= {"a.jpg", "c.jpg"}
    assert "c.jpg" in names
    return names


KILLED = """
import os, signal, sys
from pathlib import Path
from csci_utils import s3
from csci_utils.remote_update import FolderUpdate
method, name, folder = sys.argv[2], sys.argv[3], Path(sys.argv[4])
s3.use_limits(s3.S3Limits(parallel_objects=1))
def look(request, **_):
    if request.method == method and request.url.partition("?")[0].endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)
s3.client().meta.events.register("before-send.s3", look)
FolderUpdate({path.name: path for path in folder.iterdir()}, s3.S3Uri.parse(sys.argv[1])).carry_out()
"""


@pytest.mark.parametrize(
    ("method", "name", "lacks", "then"),
    [
        ("PUT", "/5.jpg", [FLAG, "5.jpg", "6.jpg", "7.jpg"], "old"),
        ("PUT", FLAG, [FLAG], "old"),
        ("DELETE", "/0.jpg", [], "new"),
        ("DELETE", ".json", [], "new"),
    ],
    ids=["parts", "flag", "old-parts", "note"],
)
def test_a_killed_update_is_gone_on_with(place, tmp_path, requests, method, name, lacks, then):
    old = {"0.jpg": b"zero", "gone.jpg": b"gone"}
    new = {f"{number}.jpg": bytes([number]) * 100 for number in range(8)}
    place.update(old)
    folder = tmp_path / "new"
    folder.mkdir()
    for file, body in new.items():
        (folder / file).write_bytes(body)
    arguments = [str(place.root), method, name, str(folder)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=REPO, check=False)
    assert done.returncode == -signal.SIGKILL
    assert place.content() == (old if then == "old" else new)
    requests.clear()
    place.update({**new, "last.jpg": b"last"})
    assert sent(requests) == sorted({*lacks, FLAG, "last.jpg"})
    assert place.content() == {**new, "last.jpg": b"last"}
    assert len(place.listed()) == 10  # nothing of the old one, no note


def test_a_file_that_is_written_to_meanwhile_is_said_to_be(place):
    update = place.look(NEW)
    update._files["c.jpg"].write_bytes(b"longer than before")
    with pytest.raises(FilesChangedError, match=r"c\.jpg: written to while the folder was sent; send it again"):
        update.carry_out()
    assert place.content() is None


# --- several writers


def test_a_folder_that_another_wrote_after_the_look_is_not_replaced(place):
    place.update(OLD)
    update = place.look(NEW)
    place.update({"theirs.jpg": b"theirs"})
    with pytest.raises(ObjectChangedError, match="somebody else has written it meanwhile"):
        update.carry_out()
    assert place.content() == {"theirs.jpg": b"theirs"}


def live_note(place: Place, places: list[str]) -> str:
    note = new_note()
    remote_update._notes_in_use.add(note)
    write_note(place.root, note, places)
    return note


def test_nothing_is_removed_while_another_writes_and_the_next_one_makes_up_for_it(place):
    place.update(OLD)
    theirs = live_note(place, ["theirs.jpg"])
    place.put("theirs.jpg", b"theirs")
    place.update(NEW)
    assert place.content() == NEW
    assert {"a.jpg", "theirs.jpg", theirs} <= set(place.listed())
    remote_update._notes_in_use.discard(theirs)
    place.update({**NEW, "d.jpg": b"d"})
    assert place.content() == {**NEW, "d.jpg": b"d"}
    assert sorted(TOKEN.sub("", name) for name in place.listed()) == [FLAG, "a.jpg", "c.jpg", "d.jpg", "deep/b.jpg"]


def test_what_another_removes_at_the_last_moment_is_sent_again(place, monkeypatch):
    place.update(OLD)
    note = live_note(place, [])
    put_text, removed = remote_update.put_text, []

    def remove_then_put(text: str, uri: S3Uri) -> None:
        if not removed:
            place.store.plain.delete_object(Bucket=place.bucket, Key=f"{place.root.key}/deep/b.jpg")
            removed.append(uri)
        put_text(text, uri)

    monkeypatch.setattr(remote_update, "put_text", remove_then_put)
    place.update(NEW)
    assert place.content() == NEW
    remote_update._notes_in_use.discard(note)


def test_what_cannot_be_removed_is_told_and_goes_the_next_time(place, monkeypatch, caplog):
    place.update(OLD)
    with monkeypatch.context() as patch:

        def refuse(uri: S3Uri) -> None:
            raise s3.S3Error(f"{uri}: refused")

        patch.setattr(remote_update, "delete", refuse)
        place.update(NEW)
    assert "in place, but not all that it replaced could be removed" in caplog.text
    assert place.content() == NEW
    assert place.update(NEW).is_current
    place.update(OLD)
    assert place.content() == OLD
    assert len(place.listed()) == 3


def test_no_scratch_file_stays_here(place, tmp_path):
    place.update(NEW)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
