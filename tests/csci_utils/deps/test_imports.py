"""What a source imports: every way to write it, how much it is needed, and sources that are none."""

from __future__ import annotations

import os
import sys

import pytest

from csci_utils.deps import imports
from csci_utils.deps.imports import Import, parse_imports, read_imports

LINUX_311 = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "python_full_version": "3.11.7",
}


def needs(source, *, markers=LINUX_311):
    parsed = parse_imports(source.encode(), markers=markers)
    assert parsed.problem is None
    return {each.module: each.need for each in parsed.imports}


def test_imports_have_names_and_lines():
    source = b"import a, b.c as d\n\nfrom e.f import g, h as i\nfrom j import *\nfrom . import k\nfrom ..l import m\n"
    assert parse_imports(source, markers={}).imports == (
        Import(module="a", line=1),
        Import(module="b.c", line=1),
        Import(module="e.f", names=("g", "h"), line=3),
        Import(module="j", names=("*",), line=4),
    )


@pytest.mark.parametrize(
    ("source", "need"),
    [
        ("def f():\n  import x", "required"),
        ("class C:\n  async def f(self):\n    with a: import x", "required"),
        ("match a:\n  case 1:\n    import x", "required"),
        ("if __name__ == '__main__':\n  import x", "required"),
        ("importlib.import_module('x')", "required"),
        ("import_module('x')", "required"),
        ("__import__('x')", "required"),
        ("runpy.run_module('x')", "required"),
        ("f = lambda: [__import__('x')]", "required"),
        ("importlib.util.find_spec('x')", "optional"),
        ("x = pytest.importorskip('x')", "optional"),
        ("if TYPE_CHECKING:\n  import x", "typing"),
        ("if typing.TYPE_CHECKING:\n  from x import y", "typing"),
        ("if not TYPE_CHECKING:\n  import x", "required"),
        ("if TYPE_CHECKING:\n  pass\nelse:\n  import x", "required"),
        ("try:\n  import x\nexcept ImportError:\n  x = None", "optional"),
        ("try:\n  import y\nexcept (AttributeError, ModuleNotFoundError):\n  import x", "optional"),
        ("try:\n  import x\nexcept builtins.ImportError:\n  pass", "optional"),
        ("try:\n  import x\nexcept:\n  pass", "optional"),
        ("try:\n  import x\nexcept Exception:\n  pass", "optional"),
        ("try:\n  pass\nexcept ImportError:\n  pass\nelse:\n  import x", "optional"),
        ("try:\n  pass\nexcept ImportError:\n  pass\nfinally:\n  import x", "required"),
        ("try:\n  import x\nexcept ValueError:\n  pass", "required"),
        ("try:\n  pass\nexcept ValueError:\n  import x", "required"),
        ("try:\n  import x\nexcept ImportError:\n  raise SystemExit('pip install x')", "required"),
        ("try:\n  import x\nexcept ImportError:\n  print(1)\n  sys.exit(1)", "required"),
        ("def f():\n  try:\n    import x\n  except ImportError as e:\n    raise Missing from e", "optional"),
        ("try:\n  if TYPE_CHECKING:\n    import x\nexcept ImportError:\n  pass", "optional"),
        ("with contextlib.suppress(ImportError):\n  import x", "optional"),
        ("with suppress(OSError, ImportError):\n  import x", "optional"),
        ("with suppress(OSError):\n  import x", "required"),
    ],
)
def test_how_much_an_import_is_needed(source, need):
    assert needs(source)["x"] == need


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("sys.version_info < (3, 11)", False),
        ("sys.version_info >= (3, 11)", True),
        ("sys.version_info[:2] == (3, 11)", True),
        ("sys.version_info[0] == 2", False),
        ("sys.version_info.major >= 3", True),
        ("sys.platform == 'win32'", False),
        ("sys.platform.startswith('linux')", True),
        ("sys.platform.startswith(('win', 'cygwin'))", False),
        ("sys.platform in ('linux', 'darwin')", True),
        ("platform.system() == 'Windows'", False),
        ("os.name == 'nt'", False),
        ("sys.implementation.name != 'pypy'", True),
        ("not sys.platform == 'linux'", False),
        ("sys.platform == 'linux' and unknown", None),
        ("sys.platform == 'win32' and unknown", False),
        ("sys.platform == 'linux' or unknown", True),
        ("sys.version_info[9] == 2", None),
        ("sys.version_info > 'a'", None),
        ("unknown", None),
        ("(3, 5) < sys.version_info < (3, 8)", False),
        ("(3, 5) < sys.version_info < (3, 12)", True),
        ("(3, 5) < unknown < (3, 8)", None),
        ("six.PY2", False),
        ("not PY2", True),
        ("six.PY3", True),
    ],
)
def test_branches_for_other_pythons_and_platforms_are_optional(condition, holds):
    found = needs(f"if {condition}:\n  import x\nelse:\n  import y")
    assert found == {
        "x": "optional" if holds is False else "required",
        "y": "optional" if holds is True else "required",
    }


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("sys.version_info >= (3, 11, 4)", None),
        ("not sys.version_info < (3, 11, 4)", None),
        ("sys.version_info == (3, 11, 4)", None),
        ("sys.version_info[2] > 3", None),
        ("sys.version_info.micro > 3", None),
        ("sys.version_info >= (3, 11)", True),
        ("sys.version_info >= (3, 11, 0)", True),
        ("sys.version_info < (3, 12, 4)", True),
        ("sys.version_info[:2] == (3, 11)", True),
        ("sys.version_info < (3,)", False),
    ],
)
def test_of_a_version_without_its_last_number_that_is_not_known(condition, holds):
    found = needs(f"if {condition}:\n  import x\nelse:\n  import y", markers={"python_full_version": "3.11"})
    if holds is None:
        assert set(found.values()) == {"optional"}  # one of them will do
    else:
        assert found == {"x": "required" if holds else "optional", "y": "optional" if holds else "required"}


@pytest.mark.parametrize(("condition", "need"), [("False", "optional"), ("0", "optional"), ("True", "required")])
def test_what_is_never_run_is_never_needed(condition, need):
    for markers in (LINUX_311, {}):
        assert needs(f"if {condition}:\n  import x", markers=markers) == {"x": need}


def test_a_flag_that_is_set_once_is_followed():
    flags = "NEW: bool = sys.version_info >= (3, 11)\nWIN = sys.platform == 'win32'\nOLD_OR_WIN = not NEW or WIN\n"
    source = f"{flags}if NEW:\n  import a\nelse:\n  import b\nif OLD_OR_WIN:\n  import c\nif not WIN:\n  import d\n"
    assert needs(source) == {"a": "required", "b": "optional", "c": "optional", "d": "required"}


@pytest.mark.parametrize(
    "also",
    [
        "WIN = f()",
        "def f():\n  global WIN\n  WIN = 1",
        "def f(WIN): pass",
        "from a import WIN",
        "class WIN: pass",
        "for WIN in b: pass",
        "from a import *",
    ],
)
def test_a_flag_that_something_else_may_set_is_not_known(also):
    assert needs(f"WIN = sys.platform == 'win32'\n{also}\nif WIN:\n  import x\n")["x"] == "required"


def test_a_setting_is_no_flag():
    assert needs("DEBUG = False\nif DEBUG:\n  import x\n") == {"x": "required"}


def test_without_an_environment_no_branch_is_left_out():
    source = "if sys.version_info < (3,):\n  import x\nif sys.platform == 'odd':\n  import y"
    assert needs(source, markers={}) == {"x": "required", "y": "required"}


def test_what_only_a_running_program_could_tell_is_left_out():
    assert needs("import_module(f'{a}.b')\nimport_module(a)\nimport_module()\nimport_module('.b', 'a')\n") == {}
    assert needs("import_module('not a name')\n'import z'\n# import z\n") == {}


def test_words_among_the_strings_are_kept():
    parsed = parse_imports(b"""A = ["ruff", "two words", 'a.b.C', "", b"c"]\ndef f(x: "T"): "doc"\n""", markers={})
    assert parsed.strings == {"ruff", "a.b.C", "T", "doc"}


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbfimport x\n",
        "# -*- coding: latin-1 -*-\nimport x # \xe9\n".encode("latin-1"),
        "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nimport x # \x80\n".encode("latin-1"),
        "# coding: koi8-r\nimport x; \u044f = 1\n".encode("koi8-r"),
        b"import x\r\nimport y\r\n",
        b"\n\x0cimport x\n",
        b"'\\d'\nimport x\n",
    ],
    ids=["bom", "latin-1", "cp1252", "koi8", "crlf", "form-feed", "odd-backslash"],
)
def test_encodings_are_what_the_source_declares(source):
    parsed = parse_imports(source, markers={})
    assert parsed.problem is None
    assert parsed.imports[0].module == "x"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (b"import x\ndef (:\n", 2),
        (b"print 'python 2'\n", 1),
        (b"import x; y = '\xff'\n", None),
        (b"# coding: klingon\nimport x\n", None),
        ("import x\n".encode("utf-16"), None),
        (b"import x\n\0", None),
        (b"(" * 300, None),
        (b"x = " + b"-" * 200_000 + b"1", None),
    ],
    ids=["syntax", "python-2", "bytes", "unknown-encoding", "utf-16", "nul", "brackets", "deep"],
)
def test_a_source_that_is_no_python_says_where(source, line):
    parsed = parse_imports(source, markers={})
    assert parsed.problem
    assert "\n" not in parsed.problem
    assert parsed.imports == ()
    assert line is None or parsed.line == line


@pytest.mark.parametrize(
    "error", [ValueError("NUL"), RecursionError(), MemoryError()], ids=lambda each: type(each).__name__
)
def test_what_parsers_of_other_pythons_raise_is_a_problem_too(monkeypatch, error):
    def fail(source):
        raise error

    monkeypatch.setattr(imports.ast, "parse", fail)
    assert parse_imports(b"", markers={}).problem == (str(error) or "it is nested too deeply")


def test_a_condition_that_is_nested_too_deeply_is_a_problem():
    source = "import x\nif " + "not " * (sys.getrecursionlimit() + 500) + "a:\n  import y\n"
    assert parse_imports(source.encode(), markers=LINUX_311).problem == "it is nested too deeply"


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    assert read_imports(tmp_path / "pipe.py", markers={}).problem == "it cannot be read: a pipe is no file"


@pytest.mark.slow
def test_a_long_chain_of_conditions_is_no_problem():
    chain = (
        "if a: pass\n"
        + "".join(f"elif a == {n}: pass\n" for n in range(sys.getrecursionlimit() + 200))
        + "else:\n  import x\n"
    )
    assert needs(chain) == {"x": "required"}


def test_a_file_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    assert read_imports(tmp_path / "gone.py", markers={}).problem == "it cannot be read: No such file or directory"
    (tmp_path / "big.py").write_text("import x\n" * 10)
    monkeypatch.setattr(imports, "LARGEST_SOURCE_BYTES", 80)
    assert "so it was not read" in read_imports(tmp_path / "big.py", markers={}).problem
