from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from csci_utils import remote_folder, remote_notes, s3
from csci_utils.folder import written
from csci_utils.io import FOREIGN_SCRATCH_AGE_S, is_scratch, scratch_path
from csci_utils.manifest import FLAG, FolderDamagedError, Manifest, read_flag
from csci_utils.remote_folder import fetch_folder, read_remote_flag, remove_remote_folder, send_folder
from csci_utils.s3 import ObjectMissingError, S3Error, S3Uri
from tests.conftest import REPO
from tests.servers.stores import Store

pytestmark = pytest.mark.slow

OLD = {"a.txt": b"old a", "deep/b.txt": b"old b"}
NEW = {"a.txt": b"new a", "c.txt": b"new c"}
TOKEN = re.compile(r"~[0-9a-f]{8}(?=(\.[^./]*)?$)")


class Place:
    """A folder in a bucket of its own, and a plain look at it."""

    def __init__(self, store: Store, here: Path) -> None:
        self.store = store
        self.bucket = store.new_bucket()
        self.root = S3Uri(self.bucket, "made/result.parquet")
        self.here = here

    def send(self, files: dict[str, bytes]) -> Manifest:
        folder = Path(tempfile.mkdtemp(dir=self.here))
        for name, body in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
        return send_folder(folder, self.root, manifest=written(folder, target=self.root))

    def put(self, name: str, body: bytes) -> None:
        self.store.plain.put_object(Bucket=self.bucket, Key=f"{self.root.key}/{name}", Body=body)

    def listed(self) -> list[str]:
        return sorted(key.removeprefix(f"{self.root.key}/") for key in self.store.keys(self.bucket))

    def named(self) -> list[str]:
        """The keys without what makes them unique."""
        return sorted(TOKEN.sub("", key) for key in self.listed())

    def content(self) -> dict[str, bytes] | None:
        """What a reader finds who goes by the flag; None where there is none."""
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


@pytest.fixture(params=["moto", pytest.param("swift", marks=pytest.mark.slow)])
def place(request, tmp_path, monkeypatch) -> Iterator[Place]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = request.getfixturevalue(f"{request.param}_store")
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    place = Place(store, tmp_path)
    yield place
    store.remove_bucket(place.bucket)


@pytest.fixture
def requests() -> list[str]:
    """Every request from here on, as "PUT name"; only those of the client under test."""
    seen: list[str] = []
    on_request(lambda method, name: seen.append(f"{method} {name}"))
    return seen


def on_request(look: Callable[[str, str], object], *, event: str = "before-send.s3") -> None:
    def handler(request: Any, **_: Any) -> None:
        parts = urlsplit(request.url)
        look(
            request.method,
            unquote(parts.path).rpartition("/result.parquet/")[2] if "list-type" not in parts.query else "*",
        )

    s3.client().meta.events.register(event, handler)


def test_a_folder_is_its_files_and_the_flag(place):
    placed = place.send(OLD)
    assert place.listed() == [FLAG, "a.txt", "deep/b.txt"]
    assert place.content() == OLD
    assert read_remote_flag(place.root) == placed
    assert [entry.name for entry in placed.entries] == ["a.txt", "deep/b.txt"]


def test_parts_go_first_and_the_flag_last(place, requests):
    place.send(OLD)
    puts = [request for request in requests if request.startswith("PUT")]
    assert sorted(puts[2:-1]) == ["PUT a.txt", "PUT deep/b.txt"]
    assert puts[-1] == f"PUT {FLAG}"
    assert puts[0] == puts[1]  # the note
    assert is_scratch(puts[0].removeprefix("PUT "))
    note = puts[0].removeprefix("PUT ")
    assert requests == [f"PUT {note}", "GET *", f"PUT {note}", *puts[2:-1], f"PUT {FLAG}", f"DELETE {note}"]


def test_an_older_folder_is_whole_until_the_flag_turns_it_into_the_new_one(place):
    place.send(OLD)
    seen = []
    on_request(lambda method, name: seen.append((method, name, place.content())))
    place.send(NEW)
    turned = [number for number, (method, name, _) in enumerate(seen) if (method, name) == ("PUT", FLAG)]
    assert len(turned) == 1
    assert [content for _, _, content in seen[: turned[0] + 1]] == [OLD] * (turned[0] + 1)
    assert [content for _, _, content in seen[turned[0] + 1 :]] == [NEW] * (len(seen) - turned[0] - 1)
    assert place.content() == NEW
    assert place.named() == [FLAG, "a.txt", "c.txt"]


def test_only_a_name_that_is_taken_is_changed_and_its_suffix_stays(place):
    place.send(OLD)
    placed = place.send(NEW)
    assert [entry.name for entry in placed.entries] == ["a.txt", "c.txt"]
    assert re.fullmatch(r"a~[0-9a-f]{8}\.txt", placed.entries[0].place)
    assert placed.entries[1].place == "c.txt"
    assert place.send(OLD).entries[0].place == "a.txt"  # free again
    assert place.content() == OLD
    assert place.listed() == [FLAG, "a.txt", "deep/b.txt"]


def test_what_else_lies_there_is_never_touched(place):
    place.put("mine.txt", b"mine")
    place.put("a.txt", b"mine too")
    place.send(OLD)
    place.send(NEW)
    remove_remote_folder(place.root)
    assert place.listed() == ["a.txt", "mine.txt"]
    assert place.store.read(place.bucket, f"{place.root.key}/a.txt") == b"mine too"


def test_a_folder_whose_name_begins_the_same_is_another(place):
    place.store.plain.put_object(Bucket=place.bucket, Key=f"{place.root.key}-2/{FLAG}", Body=b"")
    place.send(OLD)
    assert [entry.stored_as for entry in place.send(NEW).entries] != [None, None]
    assert place.store.read(place.bucket, f"{place.root.key}-2/{FLAG}") == b""


def test_the_flag_of_another_program_is_replaced_and_its_parts_stay(place):
    place.put(FLAG, b"")
    place.put("part-0", b"from Spark")
    assert read_remote_flag(place.root) is None
    place.send(NEW)
    assert place.content() == NEW
    assert place.listed() == [FLAG, "a.txt", "c.txt", "part-0"]


# --- faults


def failing_on(method: str, name: str, fault: BaseException) -> None:
    def look(seen: str, seen_name: str) -> None:
        if seen == method and (name == "" or TOKEN.sub("", seen_name) == name):
            raise fault

    on_request(look)


@pytest.mark.parametrize("old", [False, True], ids=["new", "replace"])
@pytest.mark.parametrize(
    ("method", "name", "fault"),
    [
        ("GET", "*", OSError("no route")),
        ("GET", "*", KeyboardInterrupt("no route")),
        ("PUT", "a.txt", OSError("no route")),
        ("PUT", "c.txt", OSError("no route")),
        ("PUT", FLAG, OSError("no route")),
        ("PUT", FLAG, KeyboardInterrupt("no route")),
    ],
    ids=["list", "list-ctrl-c", "first-part", "last-part", "flag", "flag-ctrl-c"],
)
def test_after_a_fault_the_old_folder_is_as_it_was_and_nothing_is_left(place, old, method, name, fault):
    if old:
        place.send(OLD)
    before = place.listed()
    failing_on(method, name, fault)
    with pytest.raises(type(fault), match="no route"):
        place.send(NEW)
    assert place.listed() == before
    assert place.content() == (OLD if old else None)


def test_an_interrupt_while_parts_are_sent_leaves_nothing(place, monkeypatch):
    place.send(OLD)
    before, put_many = place.listed(), remote_folder.put_many

    def interrupted(pairs: Any) -> Iterator[Any]:
        outcomes = put_many(pairs)
        yield next(outcomes)
        assert len(place.listed()) > len(before)
        raise KeyboardInterrupt("stop")

    monkeypatch.setattr(remote_folder, "put_many", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        place.send(NEW)
    assert place.listed() == before
    assert place.content() == OLD


def test_a_flag_that_is_in_place_after_all_keeps_its_parts(place):
    """The answer got lost on its way, not the request."""
    place.send(OLD)

    def lost(method: str, name: str) -> None:
        if (method, name) == ("PUT", FLAG) and not done:
            done.append(None)
            place.store.plain.put_object(
                Bucket=place.bucket,
                Key=f"{place.root.key}/{FLAG}",
                Body=texts[-1],
                Metadata={"sha256": hashlib.sha256(texts[-1].encode()).hexdigest()},
            )
            raise OSError("the answer was lost")

    done: list[None] = []
    texts: list[str] = []
    on_request(lost)
    to_text = Manifest.to_text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "to_text", lambda self: texts.append(to_text(self)) or texts[-1])
        with pytest.raises(OSError, match="the answer was lost"):
            place.send(NEW)
    assert place.content() == NEW


def test_a_store_that_refuses_from_the_start_is_asked_no_more(place, requests):
    failing_on("PUT", "", PermissionError("refused"))
    with pytest.raises(PermissionError, match="refused"):
        place.send(NEW)
    assert [request.partition(" ")[0] for request in requests] == ["PUT"]


def test_what_cannot_be_removed_is_told_and_goes_the_next_time(place, caplog):
    place.send(OLD)
    with pytest.MonkeyPatch.context() as patch:

        def refuse(uri: S3Uri) -> None:
            raise S3Error(f"{uri}: refused")

        patch.setattr(remote_folder, "delete", refuse)
        with caplog.at_level(logging.WARNING, "csci_utils"):
            place.send(NEW)
        patch.setattr(remote_notes, "is_abandoned", lambda *_: True)
    assert "in place, but not all that it replaced could be removed" in caplog.text
    assert place.content() == NEW
    assert len(place.listed()) == 6  # old and new parts, the flag, the note
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_notes, "is_abandoned", lambda *_: True)  # as if this process had ended meanwhile
        place.send(OLD)
    assert place.content() == OLD
    assert place.named() == [FLAG, "a.txt", "deep/b.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
from csci_utils import remote_folder, s3
from csci_utils.folder import written
method, name, folder = sys.argv[2], sys.argv[3], Path(sys.argv[4])
def look(request, **_):
    if request.method == method and request.url.partition("?")[0].endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)
s3.client().meta.events.register("before-send.s3", look)
remote_folder.send_folder(folder, s3.S3Uri.parse(sys.argv[1]), manifest=written(folder, target=folder))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name", "then"),
    [("PUT", ".txt", OLD), ("PUT", FLAG, OLD), ("DELETE", ".txt", NEW), ("DELETE", ".json", NEW)],
    ids=["parts", "flag", "old-parts", "note"],
)
def test_what_a_killed_writer_left_goes_with_the_next_one(place, tmp_path, method, name, then):
    place.send(OLD)
    folder = tmp_path / "new"
    folder.mkdir()
    for file, body in NEW.items():
        (folder / file).write_bytes(body)
    arguments = [str(place.root), method, name, str(folder)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=REPO, check=False)
    assert done.returncode == -signal.SIGKILL
    assert place.content() == then
    assert any(is_scratch(key) for key in place.listed())
    last = {"z.txt": b"last"}
    place.send(last)
    assert place.content() == last
    assert place.listed() == [FLAG, "z.txt"]


# --- several writers


def leave_note(place: Place, *, host: str | None, since_s: float, places: list[str]) -> str:
    note = scratch_path("writing.json").name
    if host is not None:
        note = re.sub(r"(?<=~scratch-)[0-9a-f]{8}", host, note)
    place.put(note, json.dumps({"since_s": since_s, "places": places}).encode())
    return note


def test_a_writer_that_lives_keeps_its_parts_and_its_names(place):
    note = leave_note(place, host=None, since_s=0, places=["a.txt"])
    placed = place.send(NEW)
    assert all(TOKEN.search(entry.place) for entry in placed.entries)
    assert note in place.listed()
    assert place.content() == NEW


@pytest.mark.parametrize(
    ("age_s", "stays"), [(FOREIGN_SCRATCH_AGE_S - 600, True), (FOREIGN_SCRATCH_AGE_S + 600, False)]
)
def test_a_writer_of_another_host_is_taken_for_gone_by_age(place, age_s, stays):
    place.put("left.txt", b"left")
    note = leave_note(place, host="0badcafe", since_s=time.time() - age_s, places=["left.txt"])
    place.send(NEW)
    assert ("left.txt" in place.listed(), note in place.listed()) == (stays, stays)
    assert place.content() == NEW


@pytest.mark.parametrize(
    ("text", "host"), [(b"", None), (b"[]", "0badcafe"), (b'{"places": 3}', "0badcafe"), (b"\xff", None)]
)
def test_a_note_that_cannot_be_read_is_of_a_writer_that_lives(place, text, host):
    note = leave_note(place, host=host, since_s=0, places=[])
    place.put(note, text)
    place.send(NEW)
    assert note in place.listed()
    assert place.content() == NEW


def test_a_folder_that_another_finished_meanwhile_is_replaced_too(place, monkeypatch):
    leave_note(place, host=None, since_s=0, places=[])
    put_many = remote_folder.put_many

    def meanwhile(pairs: Any) -> Iterator[Any]:
        yield from put_many(pairs)
        monkeypatch.undo()
        place.send(OLD)

    monkeypatch.setattr(remote_folder, "put_many", meanwhile)
    place.send(NEW)
    assert place.content() == NEW
    assert [name for name in place.named() if not is_scratch(name)] == [FLAG, "a.txt", "c.txt"]


def test_a_folder_that_another_replaced_at_once_leaves_nothing_of_its_own(place, monkeypatch):
    """The other one had looked before this flag was there, so it does not know of these parts."""
    note = leave_note(place, host=None, since_s=0, places=[])
    tidy = remote_folder._Writer.tidy

    def replaced(writer: Any) -> None:
        place.put(FLAG, b'{"files": []}')
        tidy(writer)

    monkeypatch.setattr(remote_folder._Writer, "tidy", replaced)
    place.send(NEW)
    assert place.listed() == sorted([note, FLAG])


@pytest.mark.slow
def test_writers_that_overlap_all_end_well_and_one_folder_stands(place):
    contents = [{f"{name}.txt": bytes([number]) * 9 for name in "abc"} for number in range(4)]
    errors: list[BaseException] = []

    def write(files: dict[str, bytes]) -> None:
        try:
            for _ in range(3):
                place.send(files)
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=write, args=[files]) for files in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert place.content() in contents
    assert not any(is_scratch(key) for key in place.listed())


# --- reading and removing


def test_a_fetched_folder_has_its_own_names_and_flag(place, tmp_path):
    place.send(OLD)
    place.send(NEW)
    manifest = fetch_folder(place.root, tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in NEW} == NEW
    assert sorted(os.listdir(tmp_path / "copy")) == sorted([FLAG, *NEW])
    assert read_flag(tmp_path / "copy") == manifest
    manifest.compare(tmp_path / "copy")


@pytest.mark.parametrize("damage", ["other-bytes", "gone"])
def test_a_damaged_folder_is_not_fetched(place, tmp_path, damage):
    place.send(OLD)
    if damage == "gone":
        place.store.plain.delete_object(Bucket=place.bucket, Key=f"{place.root.key}/a.txt")
    else:
        place.put("a.txt", b"OLD A")
    kind, match = {
        "gone": (ObjectMissingError, "a.txt: wanted to read it"),
        "other-bytes": (FolderDamagedError, r"a\.txt: wanted sha256 [0-9a-f]{64} as the flag _SUCCESS says, found"),
    }[damage]
    with pytest.raises(kind, match=match):
        fetch_folder(place.root, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_flag_that_leads_out_of_the_folder_is_not_followed(place, tmp_path):
    place.put(FLAG, json.dumps({"files": [{"name": "../x", "size_bytes": 1, "sha256": "0" * 64}]}).encode())
    with pytest.raises(FolderDamagedError, match="wanted a manifest, found the flag of another program"):
        fetch_folder(place.root, tmp_path / "copy")


def test_reading_what_is_not_there_says_so(place, tmp_path):
    with pytest.raises(ObjectMissingError, match=rf"{FLAG}: wanted to read it: there is no such object"):
        fetch_folder(place.root, tmp_path / "copy")
    assert not remove_remote_folder(place.root)


def test_removing_takes_the_flag_first(place, requests):
    place.send(OLD)
    requests.clear()
    assert remove_remote_folder(place.root)
    assert requests[:2] == [f"GET {FLAG}", f"DELETE {FLAG}"]
    assert place.listed() == []
