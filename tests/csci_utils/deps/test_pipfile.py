"""Pipfiles: what they declare, with what lines, and what is said of those that cannot be read."""

from __future__ import annotations

import os

import pytest

from csci_utils.deps.errors import PipfileError
from csci_utils.deps.facts import normal_name
from csci_utils.deps.pipfile import read_pipfile
from tests.csci_utils.deps.making import PROJECTS


def pipfile(tmp_path, text):
    path = tmp_path / "Pipfile"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def declared(tmp_path, text):
    return {each.name: each for each in read_pipfile(pipfile(tmp_path, text)).declared}


@pytest.mark.parametrize("spelled", ["ruamel.yaml", "Ruamel_YAML", "RUAMEL-yaml", "ruamel-_.yaml", " ruamel.yaml "])
def test_names_are_compared_without_case_dashes_and_underscores(spelled):
    assert normal_name(spelled) == "ruamel-yaml"


def test_every_entry_has_its_line(tmp_path):
    text = (
        "[packages]\n\"ruamel.yaml\" = '*'\nFlask = '*' # six = 1\n\n[packages.moto]\nextras = ['s3',\n 'six']\n\n"
        "[dev-packages]\nsix = '*'\n"
    )
    found = declared(tmp_path, text)
    assert {name: each.line for name, each in found.items()} == {"ruamel-yaml": 2, "flask": 3, "moto": 5, "six": 10}
    assert (found["moto"].section, found["six"].section) == ("packages", "dev-packages")
    assert found["ruamel-yaml"].spelled == "ruamel.yaml"


@pytest.mark.parametrize(
    ("written", "specifier"),
    [('"*"', ""), ('""', ""), ('">=1, <2"', ">=1,<2"), ('"1.2"', "==1.2"), ('"~=1.2"', "~=1.2"), ('{git = "x"}', "")],
)
def test_versions_are_read_as_pipenv_reads_them(tmp_path, written, specifier):
    assert declared(tmp_path, f"[packages]\nsix = {written}\n")["six"].specifier == specifier


@pytest.mark.parametrize(
    ("written", "source", "address"),
    [
        ('{git = "https://host/x.git", ref = "v1", editable = true}', "git", "https://host/x.git"),
        ('{hg = "https://host/x"}', "hg", "https://host/x"),
        ('{path = "."}', "path", "."),
        ('{file = "https://host/x.zip"}', "url", "https://host/x.zip"),
        ('{file = "file:///x.zip"}', "path", "file:///x.zip"),
    ],
)
def test_an_entry_without_a_version_says_where_it_comes_from(tmp_path, written, source, address):
    found = declared(tmp_path, f"[packages]\nx = {written}\n")["x"]
    assert (found.source, found.address, found.problem) == (source, address, None)
    assert (found.editable, found.ref) == ((True, "v1") if source == "git" else (False, None))


def test_markers_may_be_given_together_or_one_by_one(tmp_path):
    found = declared(
        tmp_path,
        "[packages]\na = {version = '*', markers = \"python_version < '3.9'\"}\n"
        "b = {version = '*', sys_platform = \"== 'win32'\", python_version = \"< '3.9'\"}\n",
    )
    assert found["a"].marker == 'python_version < "3.9"'
    assert found["b"].marker == 'sys_platform == "win32" and python_version < "3.9"'


def test_extras_may_stand_in_one_string(tmp_path):
    found = declared(tmp_path, '[packages]\na = {extras = ["Url_s,email", "pdf"], version = "*"}\n')
    assert found["a"].extras == ("email", "pdf", "url-s")


def test_a_category_is_a_section_and_settings_are_none(tmp_path):
    text = "[docs]\nsphinx = '*'\n[scripts]\nx = 'y'\n[pipenv]\nx = true\n[requires]\npython_version = '3.11'\n"
    found = read_pipfile(pipfile(tmp_path, text))
    assert [(each.section, each.name) for each in found.declared] == [("docs", "sphinx")]
    assert found.requires == {"python_version": "3.11"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[packages]\nsix = 'latest!'\n", r"wanted versions like .*, found 'latest!'"),
        ("[packages]\nsix = {version = '*', markers = 'on mondays'}\n", "wanted a marker like .*, found 'on mondays'"),
        ("[packages]\nruamel.yaml = '*'\n", r"an unquoted dot makes a table of 'ruamel'; write \"ruamel.yaml\""),
    ],
    ids=["specifier", "marker", "dot"],
)
def test_an_entry_that_cannot_be_compared_says_so(tmp_path, text, problem):
    (found,) = declared(tmp_path, text).values()
    assert found.line == 2
    with pytest.raises(ValueError, match=problem):
        raise ValueError(found.problem)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"[packages\n", r"Pipfile: wanted TOML, found expected .*line 1"),
        (b"[packages]\nsix = '*'\nsix = '*'\n", "wanted TOML, found cannot overwrite a value"),
        (b"[packages]\nsix = '\xe9'\n", "wanted UTF-8, found other bytes at 18; save it"),
        (b"[packages]\nsix = 1.16\n", r"Pipfile:2: wanted a version of 'six' in quotes, found 1.16; write \"1.16\""),
        (b"packages = 3\n", r"wanted a table \[packages\], found 3"),
        (b"six = '*'\n[packages]\n", r"wanted a table \[six\], found '\*'; move it"),
        (b"requires = '3.11'\n", r"wanted a table \[requires\], found '3.11'"),
        (
            b"url = 'https://bob:PW@host/simple'\n",
            r"wanted a table \[url\], found 'https://\*\*\*@host/simple'; move it",
        ),
        (b"[packages]\n'' = '*'\n", "Pipfile:2: wanted the name of a distribution, found ''; mend"),
        (b'[packages]\nsix = {path = "a\\u0000b"}\n', r"Pipfile:2: wanted an address of six, found 'a\\x00b'; mend"),
        (b"x = " + b"[" * 5000, "wanted TOML, found values that are nested too deeply"),
    ],
    ids=["toml", "twice", "encoding", "number", "no-table", "outside", "requires", "secret", "no-name", "nul", "deep"],
)
def test_a_broken_pipfile_is_one_sentence(tmp_path, text, match):
    with pytest.raises(PipfileError, match=match) as caught:
        read_pipfile(pipfile(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_folder_of_that_name_is_no_pipfile(tmp_path):
    (tmp_path / "Pipfile").mkdir()
    with pytest.raises(PipfileError, match="wanted a file, found a folder"):
        read_pipfile(tmp_path / "Pipfile")


@pytest.mark.parametrize("key", ["subdirectory", "no_binary", "skip_resolver", "name", "pip_args", "hashes"])
def test_every_key_that_pipenv_knows_makes_an_entry(tmp_path, key):
    (found,) = declared(tmp_path, f"[packages]\nsix = {{{key} = 'x'}}\n").values()
    assert found.problem is None


def test_a_pipe_of_that_name_is_no_pipfile(tmp_path):
    os.mkfifo(tmp_path / "Pipfile")
    with pytest.raises(PipfileError, match="wanted a file, found a pipe of that name; rename it"):
        read_pipfile(tmp_path / "Pipfile")


def test_a_byte_order_mark_is_no_error(tmp_path):
    assert list(declared(tmp_path, b"\xef\xbb\xbf[packages]\nsix = '*'\n")) == ["six"]


def test_the_facts_of_a_public_project_are_all_there():
    found = {each.name: each for each in read_pipfile(PROJECTS / "misp-modules" / "Pipfile").declared}
    ranking = found["pybgpranking"]
    assert (ranking.source, ranking.ref) == ("git", "68de39f6c5196f796055c1ac34504054d688aa59")
    assert found["crowdstrike-falconpy"].specifier == "==0.9.0"
    assert found["misp-modules"].address == "."
    assert found["pymisp"].extras == ("email", "fileobjects", "openioc", "pdfexport", "url")
    lines = (PROJECTS / "misp-modules" / "Pipfile").read_text().splitlines()
    assert all(lines[each.line - 1].startswith(each.spelled) for each in found.values())
