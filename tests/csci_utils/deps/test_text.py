"""Text that others wrote, as it is shown."""

from __future__ import annotations

import time

import pytest

from csci_utils.deps.errors import PipfileError
from csci_utils.deps.text import all_without_secrets, quoted, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:secret@host/x.git", "https://***@host/x.git"),
        ("git+https://user:s@cr@t@host/x", "git+https://***@host/x"),
        ("https://user:se/cr/et@host/x", "https://***@host/x"),
        ("https://user:sec#ret@host/x", "https://***@host/x"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://:token@host/x", "https://***@host/x"),
        ("https://bob@corp.com:secret@host/x@1.0", "https://***@host/x@1.0"),
        ("https://bob@corp.com:s@cr@t@host:8080/x", "https://***@host:8080/x"),
        ("https://bob@corp.com:se/cret@host/x", "https://***@host/x"),
        ("https://bob@corp.com@host/x", "https://***@host/x"),
        ("git+ssh://bob@corp.com:secret@host/x", "git+ssh://***@host/x"),
        ("git+ssh://git@host:owner/x.git@1.0", "git+ssh://git@host:owner/x.git@1.0"),
        ("https://user:${TOKEN}@host/x", "https://***:${TOKEN}@host/x"),
        ("https://${NAME}:secret@host/x", "https://${NAME}:***@host/x"),
        ("https://${NAME}:${TOKEN}@host/x", "https://${NAME}:${TOKEN}@host/x"),
        ("https://${TOKEN}@host/x", "https://${TOKEN}@host/x"),
        ("https://a${TOKEN}@host/x", "https://***@host/x"),
        ("git+ssh://git@host/x", "git+ssh://git@host/x"),
        ("git+ssh://git:secret@host/x", "git+ssh://***@host/x"),
        (
            "https://host/x.whl?signature=secret&user=me#egg=x&subdirectory=y",
            "https://host/x.whl?***#egg=x&subdirectory=y",
        ),
        ("https://host/x@1.0", "https://host/x@1.0"),
        ("https://host:8080/x@1.0", "https://host:8080/x@1.0"),
        ("https://[::1]:80/x@1.0", "https://[::1]:80/x@1.0"),
        ("git@host:x.git", "git@host:x.git"),
        ("x @ https://me:secret@host/x ; os_name == 'nt'", "x @ https://***@host/x ; os_name == 'nt'"),
        (
            "{'a': 'https://me:secret@host', 'b': 'https://token@host'}",
            "{'a': 'https://***@host', 'b': 'https://***@host'}",
        ),
    ],
)
def test_an_address_is_shown_without_its_secrets(address, shown):
    assert without_secrets(address) == shown
    assert without_secrets(shown) == shown


def test_secrets_are_taken_from_all_that_toml_and_json_hold():
    found = {"git": "https://me:secret@host", "more": [{"file": "https://token@host"}, 3, None], "editable": True}
    shown = {"git": "https://***@host", "more": [{"file": "https://***@host"}, 3, None], "editable": True}
    assert all_without_secrets(found) == shown


def test_what_is_quoted_is_cut_behind_its_secrets():
    assert (
        quoted(["x" * 30, f"https://me:{'secret' * 9}@host/{'y' * 30}"], longest=60)[35:] == "'https://***@host/yyyyyyy"
    )


def test_no_error_says_a_secret():
    assert str(PipfileError("found 'https://me:secret@host'")) == "found 'https://***@host'"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "://a:" * 40_000,
        "://@a:" * 40_000,
        "://" + "@a" * 90_000 + ":",
        "a" * 200_000,
        "ssh" * 70_000,
        "://" * 70_000 + "?",
    ],
)
def test_long_text_takes_no_long_time(text):
    start = time.process_time()
    without_secrets(text)
    assert time.process_time() - start < 2
