from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csci_utils import s3
from csci_utils.s3 import (
    AccessRefusedError,
    DigestMismatchError,
    ObjectExistsError,
    S3Error,
    S3Limits,
    S3Uri,
    StoreTimeoutError,
    StoreUnreachableError,
)
from csci_utils.s3.digests import etag_of_parts
from tests.csci_utils.fake_store import (
    abort_upload,
    begin_upload,
    complete_upload,
    hang_up,
    lose_answer,
    refuse,
    stay_silent,
    take_damaged,
    take_part,
    wait_until,
)

pytestmark = pytest.mark.slow

URI = S3Uri("bucket", "big.pth")
PART = 40_000
BODY = hashlib.shake_256(b"parts").digest(4 * PART + 1234)
LIMITS = {"multipart_bytes": PART, "part_bytes": PART, "parallel_parts": 2, "chunk_bytes": 10_000}
BEGIN, COMPLETE, ABORT = "POST /bucket/big.pth?uploads", "POST /bucket/big.pth?uploadId=upload-1", "DELETE"
THIRD = "PUT /bucket/big.pth?partNumber=3&uploadId=upload-1"


@pytest.fixture
def empty(store):
    """The store, with nothing in it."""
    s3.use_limits(S3Limits(**LIMITS))
    store.body = None
    return store


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "big.pth"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"]


def notes(journal: Path) -> list[str]:
    return [path.name for path in journal.iterdir()] if journal.is_dir() else []


def no_threads() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("s3-")]


def test_a_big_file_goes_in_parts(empty, file, journal):
    moved, seen = [], []
    empty.at(THIRD, lambda handler: (seen.append(notes(journal)), take_part(handler)))
    sent = s3.put(file, URI, on_bytes=moved.append, journal=journal)
    assert empty.body == BODY
    assert sent == s3.head(URI)
    assert sent.etag.endswith("-5")
    assert sent.sha256 == hashlib.sha256(BODY).hexdigest()
    assert sum(moved) == len(BODY)
    assert sorted(empty.received) == sorted(BODY[at : at + PART] for at in range(0, len(BODY), PART))
    assert len(seen[0]) == 1
    assert notes(journal) == []
    assert no_threads()


@pytest.mark.parametrize(
    "fault",
    [take_damaged, refuse(400, "BadDigest"), refuse(400, "IncompleteBody"), refuse(503, "SlowDown"), hang_up],
    ids=["taken-damaged", "bad-digest", "incomplete", "503", "hang-up"],
)
def test_a_part_that_fails_is_sent_again(empty, file, fault):
    empty.at(THIRD, fault, fault)
    moved: list[int] = []
    s3.put(file, URI, on_bytes=moved.append)
    assert empty.body == BODY
    assert empty.requests.count(THIRD) == 3
    assert sum(moved) == len(BODY)


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        (take_damaged, DigestMismatchError, r"write part 3 of it: the store took other bytes than were sent"),
        (
            refuse(400, "BadDigest"),
            DigestMismatchError,
            r"part 3 of it: other bytes arrived .*400 BadDigest",
        ),
        (refuse(403, "AccessDenied"), AccessRefusedError, r"write part 3 of it: the store refused"),
        (hang_up, StoreUnreachableError, r"write part 3 of it: .* closed the connection"),
    ],
    ids=["taken-damaged", "bad-digest", "refused", "hang-up"],
)
def test_a_part_that_fails_every_time_leaves_nothing(empty, file, journal, fault, error, match):
    empty.at(THIRD, *[fault] * 40)
    moved: list[int] = []
    with pytest.raises(error, match=match):
        s3.put(file, URI, on_bytes=moved.append, journal=journal)
    assert empty.parts == {}
    assert empty.body is None
    assert notes(journal) == []
    assert sum(moved) == 0
    assert no_threads()


def test_a_file_that_changes_while_its_parts_are_sent_is_refused(empty, file):
    def change(handler) -> None:
        file.write_bytes(b"x" * len(BODY))
        take_part(handler)

    s3.use_limits(S3Limits(**{**LIMITS, "parallel_parts": 1}))
    empty.at(THIRD, change)
    with pytest.raises(S3Error, match=r"big\.pth changed while it was sent; send it again"):
        s3.put(file, URI)
    assert (empty.parts, empty.body) == ({}, None)


def test_a_change_that_leaves_no_trace_in_the_files_time_is_noticed_too(empty, file):
    def change(handler) -> None:
        state = file.stat()
        with file.open("r+b") as changed:
            changed.seek(4 * PART)
            changed.write(b"x")
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        take_part(handler)

    s3.use_limits(S3Limits(**{**LIMITS, "parallel_parts": 1}))
    empty.at(THIRD, change)
    with pytest.raises(S3Error, match=r"big\.pth changed while it was sent; send it again"):
        s3.put(file, URI)
    assert (empty.parts, empty.body) == ({}, None)


def test_a_file_that_changes_with_its_last_part_is_refused(empty, file):
    def change(handler) -> None:
        file.write_bytes(b"x" * len(BODY))
        take_part(handler)

    empty.at("partNumber=5&uploadId=upload-1", change)
    with pytest.raises(S3Error, match=r"big\.pth changed while it was sent; send it again"):
        s3.put(file, URI)
    assert (empty.parts, empty.body) == ({}, None)


def test_a_failing_abort_is_logged_and_hides_nothing(empty, caplog, file, journal):
    empty.at(THIRD, refuse(403, "AccessDenied"))
    empty.at("uploadId=upload-1", refuse(403, "AccessDenied"))
    empty.at(f"{ABORT} /bucket/big.pth?uploadId=upload-1", refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefusedError, match=r"write part \d of it"):
        s3.put(file, URI, journal=journal)
    assert any("wanted to give up its multipart upload" in line for line in lines(caplog))
    assert len(notes(journal)) == 1  # for the next start


def test_an_upload_that_somebody_else_gives_up_is_begun_again(empty, caplog, file):
    def given_up(handler) -> None:
        handler.store.parts.clear()
        take_part(handler)

    empty.at(THIRD, given_up)
    s3.put(file, URI)
    assert empty.body == BODY
    assert empty.requests.count(BEGIN) == 2
    assert "the store knows no such multipart upload (404 NoSuchUpload)" in lines(caplog)[-1]


# --- lost answers


def test_an_upload_whose_completion_was_lost_is_complete(empty, file):
    empty.at(COMPLETE, lose_answer(complete_upload))
    assert s3.put(file, URI) == s3.head(URI)
    assert empty.body == BODY
    assert empty.requests.count(BEGIN) == 1


def test_a_completion_that_does_not_happen_is_an_error(empty, file):
    empty.at(COMPLETE, *[hang_up] * 9)
    with pytest.raises(StoreUnreachableError, match="complete it"):
        s3.put(file, URI)
    assert (empty.parts, empty.body) == ({}, None)


def test_an_upload_whose_beginning_was_lost_leaves_no_twin(empty, file):
    empty.at(BEGIN, lose_answer(begin_upload))
    s3.put(file, URI)
    assert empty.body == BODY
    assert empty.parts == {}


@pytest.mark.parametrize("fault", [lose_answer(begin_upload), refuse(503, "SlowDown")], ids=["lost", "slow-down"])
def test_an_upload_of_somebody_else_is_no_twin(empty, file, fault):
    empty.parts["upload-0"] = {1: b"of somebody else"}
    empty.at(BEGIN, fault)
    s3.put(file, URI)
    assert list(empty.parts) == ["upload-0"]


def test_a_beginning_that_may_come_late_is_left_to_the_next_start(empty, file, journal):
    s3.use_limits(S3Limits(**LIMITS, read_timeout_s=0.6, silent_attempts=2))
    empty.at(BEGIN, stay_silent, stay_silent)
    with pytest.raises(StoreTimeoutError):
        s3.put(file, URI, journal=journal)
    assert len(notes(journal)) == 1


def test_a_beginning_that_is_lost_every_time_leaves_nothing(empty, caplog, file, journal):
    empty.parts["upload-0"] = {1: b"of somebody else"}
    empty.at(BEGIN, *[lose_answer(begin_upload)] * 9)
    with pytest.raises(StoreUnreachableError, match="wanted to write it"):
        s3.put(file, URI, journal=journal)
    assert empty.requests.count(BEGIN) == 8
    assert list(empty.parts) == ["upload-0"]
    assert notes(journal) == []


def test_what_a_lost_beginning_left_waits_where_it_cannot_be_seen(empty, caplog, file, journal):
    empty.at(BEGIN, *[lose_answer(begin_upload)] * 9)
    empty.at("GET /bucket?uploads&prefix=big.pth", refuse(403, "AccessDenied"))
    with pytest.raises(StoreUnreachableError):
        s3.put(file, URI, journal=journal)
    assert "whether a lost answer left an upload there could not be seen" in lines(caplog)[-1]
    assert len(notes(journal)) == 1


def complete_and_fail(handler) -> None:
    """As Swift does when it has made the object and cannot remove the upload: to give that up destroys the object."""
    upload_id = handler.query["uploadId"]
    parts = handler.store.parts[upload_id]
    lose_answer(complete_upload)(handler)
    handler.store.parts[upload_id] = parts


def test_what_was_completed_after_all_is_not_given_up(empty, file, journal):
    empty.at(COMPLETE, complete_and_fail, refuse(403, "AccessDenied"))
    empty.at("HEAD /bucket/big.pth", refuse(400, "BadRequest"))  # the first look
    with pytest.raises(AccessRefusedError, match="complete it"):
        s3.put(file, URI, journal=journal)
    assert empty.body == BODY
    assert not any(line.startswith(ABORT) for line in empty.requests)
    assert notes(journal) == []


def test_what_may_have_been_completed_is_left_to_the_next_start(empty, caplog, file, journal):
    empty.at(COMPLETE, complete_and_fail, refuse(403, "AccessDenied"))
    empty.at("HEAD /bucket/big.pth", *[refuse(400, "BadRequest")] * 2)
    with pytest.raises(AccessRefusedError, match="complete it"):
        s3.put(file, URI, journal=journal)
    assert list(empty.parts) == ["upload-1"]
    assert len(notes(journal)) == 1
    assert "its parts stay in the store" in lines(caplog)[-1]


def test_a_completed_object_that_is_another_is_removed(empty, file):
    def other(handler) -> None:
        parts = handler.store.parts["upload-1"]
        parts[2] = b"x" * PART
        complete_upload(handler)

    empty.at(COMPLETE, other)
    with pytest.raises(DigestMismatchError, match="the store took some with"):
        s3.put(file, URI)
    assert empty.body is None


# --- only where there is nothing


def test_a_big_file_is_not_sent_where_there_is_an_object(empty, file):
    empty.hold(b"other", sha256=True)
    with pytest.raises(ObjectExistsError, match=r"there is an object already \(etag"):
        s3.put(file, URI, only_if_absent=True)
    assert empty.received == []


def test_an_object_that_comes_while_parts_are_sent_stays(empty, file):
    conditions = []

    def other(handler) -> None:
        conditions.append(handler.headers["If-None-Match"])
        handler.store.hold(b"other", sha256=True)
        refuse(412, "PreconditionFailed")(handler)

    empty.at(COMPLETE, other)
    with pytest.raises(ObjectExistsError, match="there is an object already"):
        s3.put(file, URI, only_if_absent=True)
    assert conditions == ["*"]
    assert empty.body == b"other"
    assert empty.parts == {}


def hold_equal(handler, *, part_bytes: int) -> None:
    """What is under the key when somebody else has sent the same bytes."""
    md5s = [hashlib.md5(BODY[at : at + part_bytes]).digest() for at in range(0, len(BODY), part_bytes)]
    etag = f'"{etag_of_parts(md5s)}"'
    handler.store.hold(BODY, sha256=True, ETag=etag, x_amz_meta_upload="of somebody else")


def test_an_equal_object_of_somebody_else_is_not_taken_for_ones_own(empty, file, journal):
    def come_between(handler) -> None:
        hold_equal(handler, part_bytes=PART)
        hang_up(handler)

    empty.at(COMPLETE, come_between, refuse(412, "PreconditionFailed"))
    with pytest.raises(ObjectExistsError, match="there is an object already"):
        s3.put(file, URI, only_if_absent=True, journal=journal)
    assert (empty.parts, empty.body) == ({}, BODY)
    assert notes(journal) == []


def test_an_equal_object_of_somebody_else_in_other_parts_is_not_damaged(empty, file):
    def damaged_then_replaced(handler) -> None:
        handler.store.parts["upload-1"][2] = b"x" * PART
        complete_upload(handler)
        hold_equal(handler, part_bytes=PART // 2)

    empty.at(COMPLETE, damaged_then_replaced)
    with pytest.raises(DigestMismatchError, match="the store took some with"):
        s3.put(file, URI)
    assert empty.body == BODY


@pytest.mark.parametrize("other", [b"other", None], ids=["done", "failed"])
def test_a_completion_in_the_way_of_another_is_begun_again(empty, file, other):
    def conflict(handler) -> None:
        if other is not None:
            handler.store.hold(other, sha256=True)
        refuse(409, "ConditionalRequestConflict")(handler)

    empty.at(COMPLETE, conflict)
    if other is None:
        assert s3.put(file, URI, only_if_absent=True) == s3.head(URI)
    else:
        with pytest.raises(ObjectExistsError, match="there is an object already"):
            s3.put(file, URI, only_if_absent=True)
        assert empty.requests.count(BEGIN) == 1  # what would be refused is not sent
    assert empty.body == (other or BODY)
    assert empty.parts == {}


# --- being stopped


def test_ctrl_c_while_parts_are_sent_leaves_none(empty, file, journal):
    s3.use_limits(S3Limits(**LIMITS, stop_wait_s=0.3))
    empty.at(THIRD, stay_silent)
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        s3.put(file, URI, journal=journal)
    assert (empty.parts, empty.body) == ({}, None)
    assert len(notes(journal)) == 1  # a part was under way: the next start looks again
    empty.released.set()
    wait_until(no_threads)


def test_ctrl_c_between_parts_is_clean(empty, file, journal):
    def stop(_num: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        s3.put(file, URI, journal=journal, on_bytes=stop)
    assert (empty.parts, empty.body) == ({}, None)
    assert notes(journal) == []


def test_ctrl_c_is_quick_when_the_store_is_gone(empty, file, journal):
    def gone(_num: int) -> None:
        signal.raise_signal(signal.SIGINT)

    s3.use_limits(S3Limits(**LIMITS, read_timeout_s=0.6))
    abort = f"{ABORT} /bucket/big.pth?uploadId=upload-1"
    empty.at(abort, *[stay_silent] * 9)
    with pytest.raises(KeyboardInterrupt):
        s3.put(file, URI, journal=journal, on_bytes=gone)
    assert empty.requests.count(abort) == 1
    assert len(notes(journal)) == 1


def test_an_error_is_patient_when_the_store_is_slow(empty, file, journal):
    s3.use_limits(S3Limits(**LIMITS, read_timeout_s=0.6))
    abort = f"{ABORT} /bucket/big.pth?uploadId=upload-1"
    empty.at(THIRD, refuse(403, "AccessDenied"))
    empty.at(abort, stay_silent)
    with pytest.raises(AccessRefusedError):
        s3.put(file, URI, journal=journal)
    assert (empty.parts, notes(journal)) == ({}, [])


# --- what a kill left


KILLED = """
import os, signal, sys
from pathlib import Path
from csci_utils import s3
s3.use_limits(s3.S3Limits(multipart_bytes=40_000, part_bytes=40_000))
def stop(_num): os.kill(os.getpid(), signal.SIGKILL)
s3.put(sys.argv[1], s3.S3Uri("bucket", "big.pth"), on_bytes=stop, journal=Path(sys.argv[2]))
"""


@pytest.fixture
def killed(empty, file, journal):
    """The store and the journal after a process was killed in the middle of its parts."""
    repo = Path(__file__).parents[3]
    args = [sys.executable, "-c", KILLED, str(file), str(journal)]
    done = subprocess.run(args, cwd=repo, timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    empty.wait_until_left()
    assert list(empty.parts) == ["upload-1"]
    assert len(notes(journal)) == 1
    return empty


def test_the_next_start_gives_up_what_a_kill_left(killed, journal):
    assert s3.sweep_uploads(journal) == [URI]
    assert killed.parts == {}
    assert notes(journal) == []
    assert s3.sweep_uploads(journal) == []


def test_an_upload_that_was_completed_after_all_is_no_error(killed, journal):
    killed.parts.clear()
    assert s3.sweep_uploads(journal) == [URI]
    assert notes(journal) == []


def rewrite(journal: Path, **facts: object) -> None:
    (note,) = journal.iterdir()
    note.write_text(json.dumps({**json.loads(note.read_text()), **facts}))


def token(journal: Path) -> str:
    (note,) = journal.iterdir()
    return str(json.loads(note.read_text())["token"])


def test_a_note_says_that_the_completion_is_sent_before_it_is(empty, file, journal):
    seen = []
    empty.at(THIRD, lambda handler: (seen.append(next(journal.iterdir()).read_text()), take_part(handler)))
    empty.at(COMPLETE, lambda handler: (seen.append(next(journal.iterdir()).read_text()), complete_upload(handler)))
    s3.put(file, URI, journal=journal)
    assert [json.loads(text)["completing"] for text in seen] == [False, True]
    assert json.loads(seen[0])["token"] == empty.headers["x-amz-meta-upload"]


def test_the_next_start_leaves_what_was_completed_before_the_kill(killed, journal):
    rewrite(journal, completing=True)
    killed.hold(BODY, sha256=True, x_amz_meta_upload=token(journal))
    assert s3.sweep_uploads(journal) == [URI]
    assert not any(line.startswith(ABORT) for line in killed.requests)
    assert notes(journal) == []


@pytest.mark.parametrize("other", [{}, {"x_amz_meta_upload": "of somebody else"}], ids=["no-token", "another"])
def test_the_next_start_gives_up_what_another_object_stands_in_for(killed, journal, other):
    rewrite(journal, completing=True)
    killed.hold(BODY, sha256=True, **other)
    assert s3.sweep_uploads(journal) == [URI]
    assert (killed.parts, killed.body) == ({}, BODY)
    assert notes(journal) == []


def test_the_next_start_gives_nothing_up_where_it_cannot_look(killed, caplog, journal):
    rewrite(journal, completing=True)
    killed.at("HEAD /bucket/big.pth", refuse(400, "BadRequest"))
    assert s3.sweep_uploads(journal) == []
    assert list(killed.parts) == ["upload-1"]
    assert len(notes(journal)) == 1
    assert "the next start tries again" in lines(caplog)[-1]
    assert s3.sweep_uploads(journal) == [URI]
    assert killed.parts == {}


@pytest.fixture
def unnamed(killed, journal):
    """The same after a process was killed before it heard which upload it had begun."""
    rewrite(journal, upload_id=None)
    killed.parts["upload-1"].clear()
    return killed


def test_an_upload_that_got_no_name_is_found_by_its_key_and_time(unnamed, journal):
    unnamed.parts["upload-9"] = {}
    unnamed.at("DELETE /bucket/big.pth?uploadId=upload-1", refuse(404, "NoSuchUpload"))
    assert s3.sweep_uploads(journal) == [URI]
    assert list(unnamed.parts) == ["upload-1"]  # which the store says is gone
    assert not any("of-a-longer-key" in line for line in unnamed.requests)


def test_an_upload_with_parts_is_not_one_that_got_no_name(unnamed, journal):
    unnamed.parts["upload-1"][1] = b"of somebody else"
    unnamed.parts["upload-2"] = {}
    unnamed.at("GET /bucket/big.pth?max-parts=1&uploadId=upload-2", refuse(404, "NoSuchUpload"))
    assert s3.sweep_uploads(journal) == [URI]
    assert list(unnamed.parts) == ["upload-1", "upload-2"]
    assert not any(line.startswith(ABORT) for line in unnamed.requests)


def test_a_clock_that_s3_takes_is_near_enough(unnamed, journal):
    (note,) = journal.iterdir()
    rewrite(journal, since_s=json.loads(note.read_text())["since_s"] + 15 * 60)
    assert s3.sweep_uploads(journal) == [URI]
    assert unnamed.parts == {}


def test_what_was_begun_long_before_is_not_touched(unnamed, journal):
    rewrite(journal, since_s=json.loads(next(journal.iterdir()).read_text())["since_s"] + 3600)
    assert s3.sweep_uploads(journal) == [URI]
    assert list(unnamed.parts) == ["upload-1"]


def test_the_upload_of_a_live_process_stays(unnamed, file, journal):
    swept = []
    unnamed.at(
        "partNumber=3&uploadId=upload-2", lambda handler: (swept.extend(s3.sweep_uploads(journal)), take_part(handler))
    )
    s3.put(file, URI, journal=journal)
    assert swept == [URI]
    assert unnamed.body == BODY
    assert "DELETE /bucket/big.pth?uploadId=upload-1" in unnamed.requests
    assert "DELETE /bucket/big.pth?uploadId=upload-2" not in unnamed.requests


def test_what_the_store_refuses_is_kept_for_the_next_start(killed, caplog, journal):
    killed.at("DELETE /bucket/big.pth?uploadId=upload-1", refuse(403, "AccessDenied"))
    assert s3.sweep_uploads(journal) == []
    assert len(notes(journal)) == 1
    assert "the next start tries again" in lines(caplog)[-1]
    assert s3.sweep_uploads(journal) == [URI]


def test_a_note_about_another_store_waits_until_it_is_old(killed, caplog, journal):
    rewrite(journal, endpoint="http://127.0.0.1:1")
    assert s3.sweep_uploads(journal) == []
    assert len(notes(journal)) == 1
    rewrite(journal, since_s=0)
    s3.sweep_uploads(journal)
    assert notes(journal) == []
    assert "http://127.0.0.1:1" in lines(caplog)[-1]
    assert list(killed.parts) == ["upload-1"]


def test_a_note_that_cannot_be_read_goes_with_its_owner(killed, journal):
    (note,) = journal.iterdir()
    note.write_text("{")
    assert s3.sweep_uploads(journal) == []
    assert notes(journal) == []


def test_a_journal_that_is_not_there_is_empty(journal):
    assert s3.sweep_uploads(journal) == []


def test_a_note_holds_no_login(empty, file, journal, monkeypatch):
    seen = []
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", empty.url.replace("http://", "http://user:hunter2@"))
    s3.forget_client()
    empty.at(THIRD, lambda handler: (seen.append(next(journal.iterdir()).read_text()), take_part(handler)))
    s3.put(file, URI, journal=journal)
    assert seen
    assert "hunter2" not in seen[0]


def test_an_abort_that_comes_twice_is_no_error(empty, caplog, file):
    empty.at(THIRD, refuse(403, "AccessDenied"))
    empty.at("DELETE /bucket/big.pth?uploadId=upload-1", lose_answer(abort_upload))
    with pytest.raises(AccessRefusedError):
        s3.put(file, URI)
    assert empty.parts == {}
    assert not any("give up" in line and "wanted to" in line for line in lines(caplog))
