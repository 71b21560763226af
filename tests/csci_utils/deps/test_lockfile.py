"""Locks: what they hold, whether they are in step, and what is said of those that cannot be read."""

from __future__ import annotations

import json
import os

import pytest

from csci_utils.deps.errors import LockfileError, PipfileError
from csci_utils.deps.lockfile import in_step, read_lock
from csci_utils.deps.pipfile import read_pipfile
from tests.conftest import REPO
from tests.csci_utils.deps.making import PROJECTS, PUBLIC


def lock_of(tmp_path, **sections):
    meta = {"hash": {"sha256": "0" * 64}, "pipfile-spec": 6, "requires": {"python_version": "3.11"}, "sources": []}
    path = tmp_path / "Pipfile.lock"
    path.write_text(json.dumps({"_meta": meta, **sections}))
    return path


def test_entries_without_a_version_are_entries(tmp_path):
    default = {
        "Six_Pack": {"version": "==1.2", "hashes": ["sha256:0"], "markers": "sys_platform == 'win32'"},
        "from-git": {"git": "https://host/x.git", "ref": "abc", "editable": True, "extras": ["b", "a"]},
        "here": {"path": ".", "editable": True},
        "any": {"version": "*"},
    }
    lock = read_lock(lock_of(tmp_path, default=default, develop={}, docs={"sphinx": {"version": "==7"}}))
    found = lock.section("default")
    assert list(found) == ["six-pack", "from-git", "here", "any"]
    assert (found["six-pack"].version, found["six-pack"].hashes) == ("1.2", 1)
    assert found["six-pack"].marker == 'sys_platform == "win32"'
    assert (found["from-git"].source, found["from-git"].ref, found["from-git"].version) == ("git", "abc", None)
    assert (found["from-git"].extras, found["here"].address, found["any"].version) == (("a", "b"), ".", None)
    assert list(lock.section("docs")) == ["sphinx"]
    assert lock.requires == {"python_version": "3.11"}


@pytest.mark.parametrize("project", PUBLIC)
def test_a_lock_that_pipenv_digested_is_in_step(project, tmp_path):
    """The digests in the locks of the public projects are those that pipenv 2026.10.3 gave."""
    pipfile = PROJECTS / project / "Pipfile"
    lock = read_lock(PROJECTS / project / "Pipfile.lock")
    assert in_step(lock, read_pipfile(pipfile))
    other = tmp_path / "Pipfile"
    other.write_text(pipfile.read_text().replace('pytest = "*"', 'pytest = ">=7"').replace('nose = "*"', ""))
    changed = other.read_text() != pipfile.read_text()
    assert in_step(lock, read_pipfile(other)) is not changed


@pytest.mark.parametrize(
    ("table", "blamed"),
    [
        ("scripts = 3", "scripts"),
        ("pipenv = 3", "pipenv"),
        ("[scripts]\nx = 3\n[requires]\npython_version = '3.11'", "scripts"),
        ("[[source]]\nname = 'x'", "source"),
        ("[packages]\nx = {extras = 3}\n[scripts]\nx = 'y'", "packages"),
    ],
)
def test_a_pipfile_that_pipenv_cannot_count_is_one_sentence(table, blamed, tmp_path):
    lock = read_lock(PROJECTS / "pymisp" / "Pipfile.lock")
    (tmp_path / "Pipfile").write_text(f"{table}\n")
    with pytest.raises(PipfileError, match=rf"Pipfile: wanted \[{blamed}\] as pipenv reads it, found what it does not"):
        in_step(lock, read_pipfile(tmp_path / "Pipfile"))


def test_a_comment_or_the_spelling_of_a_name_needs_no_new_lock(tmp_path):
    lock = read_lock(PROJECTS / "misp-modules" / "Pipfile.lock")
    other = tmp_path / "Pipfile"
    text = (PROJECTS / "misp-modules" / "Pipfile").read_text()
    other.write_text("# more\n" + text.replace("domaintools_api", "DomainTools-API"))
    assert in_step(lock, read_pipfile(other))


def test_this_projects_lock_is_in_step():
    assert in_step(read_lock(REPO / "Pipfile.lock"), read_pipfile(REPO / "Pipfile"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"{", "Pipfile.lock: wanted JSON, found .*; make it anew: pipenv lock"),
        (b"\xff\xfe{", "wanted JSON, found"),
        (b"[]", "wanted an object, found list"),
        (b'{"default": {}}', "wanted a lock of specification 6, found None"),
        (b'{"_meta": {"pipfile-spec": 5, "hash": {"sha256": "0"}}, "default": {}}', "specification 6, found 5"),
        (b'{"_meta": {"pipfile-spec": 7}}', "specification 6, found 7"),
        (b'{"_meta": {"pipfile-spec": 6}, "default": []}', r"wanted entries in 'default', found \[\]"),
        (b'{"_meta": {"pipfile-spec": 6}, "default": {"six": "==1"}}', "wanted entries in 'default', found"),
        (
            b'{"_meta": {"pipfile-spec": 6}, "default": {"six": "https://bob:PW@h"}}',
            r"found {'six': 'https://\*\*\*@h'}",
        ),
        (
            b'{"_meta": {"pipfile-spec": 6}, "default": {" ": {}}}',
            "default: wanted the name of a distribution, found ' '",
        ),
        (
            b'{"_meta": {"pipfile-spec": 6}, "default": {"six": {"path": "a\\u0000b"}}}',
            "wanted an address of six, found",
        ),
        (b"[" * 100_000, "wanted JSON, found it nested too deeply"),
    ],
    ids=["cut", "encoding", "list", "no-meta", "old", "newer", "no-table", "no-entry", "secret", "name", "nul", "deep"],
)
def test_a_broken_lock_is_one_sentence(tmp_path, text, match):
    path = tmp_path / "Pipfile.lock"
    path.write_bytes(text)
    with pytest.raises(LockfileError, match=match) as caught:
        read_lock(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_list_of_hashes_counts_as_none(tmp_path):
    assert read_lock(lock_of(tmp_path, default={"six": {"version": "==1", "hashes": 5}})).entries[0].hashes == 0


def test_a_pipe_of_that_name_is_no_lock(tmp_path):
    os.mkfifo(tmp_path / "Pipfile.lock")
    with pytest.raises(LockfileError, match="wanted a file, found a pipe of that name; rename it"):
        read_lock(tmp_path / "Pipfile.lock")


def test_a_marker_that_nothing_can_compare_is_kept_as_it_stands(tmp_path):
    lock = read_lock(lock_of(tmp_path, default={"six": {"version": "==1", "markers": "on mondays"}}))
    assert lock.section("default")["six"].marker == "on mondays"
