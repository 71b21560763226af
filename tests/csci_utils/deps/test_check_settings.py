"""What a project tells `check` in its pyproject.toml."""

from __future__ import annotations

import os
import re

import pytest

from csci_utils.deps.check_settings import CheckSettings, read_settings
from csci_utils.deps.errors import SettingsError
from csci_utils.deps.findings import finding
from tests.conftest import REPO
from tests.csci_utils.deps.checking import write

TABLE = "[tool.csci_utils.deps]\n"
EXCEPTION = "[[tool.csci_utils.deps.exceptions]]\n"


def settings_of(folder, text):
    return read_settings(write(folder, {"pyproject.toml": text}))


def test_without_a_table_all_is_as_by_default(tmp_path):
    assert read_settings(tmp_path) == CheckSettings()
    assert settings_of(tmp_path, "[tool.ruff]\n") == CheckSettings()


def test_the_table_is_read(tmp_path):
    settings = settings_of(
        tmp_path,
        f"{TABLE}development = ['scripts/']\npackage = ['docs/app']\nmodules = {{cv2 = 'opencv-python'}}\n"
        "[build-system]\nrequires = ['cython']\n",
    )
    assert (settings.development, settings.package) == (("scripts",), ("docs/app",))
    assert (settings.modules, settings.build_requires) == ({"cv2": "opencv-python"}, ("cython",))


@pytest.mark.parametrize("given", ["./foo/", "foo//", "/foo", "foo/.", " foo"])
def test_a_folder_is_the_same_however_it_is_written(tmp_path, given):
    settings = settings_of(tmp_path, f"{TABLE}development = ['{given}', './a//b.py']\npackage = ['{given}']\n")
    assert (settings.development, settings.package) == (("foo", "a/b.py"), ("foo",))


def test_the_table_that_the_readme_shows_is_taken(tmp_path):
    (table,) = re.findall(
        r"^```toml\n(.*?)^```", (REPO / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    settings = settings_of(tmp_path, table)
    assert (settings.package, settings.modules) == (("docs/app",), {"cv2": "opencv-python-headless"})
    assert [each.kind for each in settings.exceptions] == ["unused"]


@pytest.mark.parametrize(
    ("given", "covered"),
    [
        ("name = 'GuniCorn'", True),
        ("name = 'other'", False),
        ("kind = 'unused'", True),
        ("kind = 'python'\nname = 'gunicorn'", False),
        ("file = 'deploy/*.py'", True),
        ("file = 'Pipfile'", False),
        ("kind = 'unused'\nname = 'gunicorn'\nfile = 'deploy/a.py'", True),
    ],
)
def test_an_exception_covers_what_all_of_it_says(tmp_path, given, covered):
    (accepted,) = settings_of(tmp_path, f"{EXCEPTION}{given}\nreason = 'so'\n").exceptions
    meant = finding("unused", "gunicorn", file=tmp_path / "deploy" / "a.py", line=1, sentence="", mend="")
    assert accepted.covers(meant, folder=tmp_path) is covered
    assert accepted.reason == "so"


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "pyproject.toml")
    with pytest.raises(SettingsError, match="pyproject.toml: wanted a file, found a pipe of that name; rename it"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool", "wanted TOML, found "),
        (b"x = '\xff'", "wanted TOML, found 'utf-8' codec"),
        ("tool = 'https://bob:PW@host'", r"wanted a table 'tool', found 'https://\*\*\*@host'; see"),
        ("tool = 1", "wanted a table 'tool', found 1"),
        ("[tool.csci_utils]\ndeps = []", "wanted a table 'deps', found \\[\\]"),
        (f"{TABLE}developement = []", "wanted development, package, modules, exceptions, found 'developement'"),
        (f"{TABLE}development = 'scripts'", "wanted a list 'development', found 'scripts'; put it into brackets"),
        (f"{TABLE}modules = []", "wanted a table 'modules'"),
        (f"{EXCEPTION}name = 'x'", "wanted exceptions with a reason each"),
        (f"{EXCEPTION}name = 'x'\nreason = ' '", "wanted exceptions with a reason each"),
        (f"{TABLE}exceptions = ['x']", "wanted exceptions with a reason each, found 'x'"),
        (f"{EXCEPTION}reason = 'x'", "found one for everything"),
        (f"{EXCEPTION}reason = 'x'\nkind = 'unusd'", "wanted a kind of undeclared, .* found 'unusd'"),
        (f"{EXCEPTION}reason = 'x'\nnames = 'a'", "found 'names'"),
    ],
)
def test_what_nothing_reads_is_an_error(tmp_path, text, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        settings_of(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/pyproject.toml: wanted ")
