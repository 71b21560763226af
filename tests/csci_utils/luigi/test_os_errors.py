from __future__ import annotations

import errno
import os
import traceback

import pytest

from csci_utils.io import atomic_path, scratch_path
from csci_utils.luigi.failure import ExitStatus, describe_failure, parse_failure
from csci_utils.luigi.os_errors import describe_os_error, parse_os_error

SENTENCES = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "a folder was wanted",
    errno.EISDIR: "a file was wanted, and a folder has its name; remove or rename it",
    errno.EEXIST: "something else has that name already; remove or rename it",
    errno.EACCES: "permission denied; let this user read and write there",
    errno.EPERM: "permission denied; let this user read and write there",
    errno.EROFS: "the file system can only be read; choose another place",
    errno.ENAMETOOLONG: "the name is longer than the file system takes; choose a shorter one",
    errno.ENOSPC: "no space is left on the disk; free some and run again",
    errno.EDQUOT: "this user's share of the disk is full; free some and run again",
    errno.EMFILE: "too many files are open; use fewer workers",
    errno.EXDEV: "invalid cross-device link",
}


def refused(code: int, *names: object) -> OSError:
    path, to = (*names, None, None)[:2]
    return OSError(code, os.strerror(code), path, None, to)


@pytest.mark.parametrize("code", SENTENCES, ids=lambda code: errno.errorcode[code])
def test_what_the_system_refuses_is_said_in_words(code):
    failure = describe_failure(refused(code, "data/x.jpg"))
    assert failure.status is ExitStatus.TASK_FAILED
    assert failure.sentence.startswith(f"data/x.jpg: {SENTENCES[code]}")
    assert describe_failure(refused(code)).sentence.startswith(SENTENCES[code])


@pytest.mark.parametrize("code", [errno.EACCES, errno.EXDEV], ids=["known", "other"])
def test_of_a_scratch_file_its_folder_is_named(code):
    scratch = scratch_path("data/images/luigi.jpg")
    within = scratch_path("data/images/folder") / "1.jpg"
    for name in (scratch, str(scratch), os.fsencode(scratch), str(within), str(scratch_path(within))):
        assert describe_failure(refused(code, name)).sentence.startswith("data/images: ")
    assert describe_failure(refused(code, str(scratch), "data/images/luigi.jpg")).sentence.startswith(
        "data/images/luigi.jpg: "
    )


@pytest.mark.parametrize("names", [(), ("data/x",), ('it\'s a "x"\\',), (scratch_path("d/x.jpg"), "d/x.jpg")])
def test_a_bare_traceback_gives_the_same_sentence(names):
    err = refused(errno.ENOTDIR, *map(str, names))
    try:
        raise err
    except OSError:
        assert parse_failure(traceback.format_exc()) == describe_failure(err)


def test_a_file_number_is_no_path():
    assert describe_failure(refused(errno.EIO, 7)).sentence.startswith("the disk could not be read")


def test_a_name_cannot_break_the_line():
    assert describe_failure(refused(errno.EACCES, "a\nb\x1b")).sentence.startswith("a\\nb\\x1b: permission")


def test_another_text_is_no_error_of_the_systems():
    assert parse_os_error("x.jpg: not a picture") is None
    assert describe_os_error(OSError()) == "the system refused"


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(OSError, match="Errno") as caught, atomic_path(tmp_path / "data" / "x" / "luigi.jpg"):
        pass
    sentence = describe_failure(caught.value).sentence
    assert sentence.startswith(f"{tmp_path}/data")
    assert "a folder was wanted" in sentence or "has that name already" in sentence
