"""Requirements files, as pip reads them."""

from __future__ import annotations

import os

import pytest

from csci_utils.deps.errors import RequirementsError
from csci_utils.deps.requirements import read_requirements


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "requirements.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_requirements(path)


@pytest.mark.parametrize(
    ("line", "name", "specifier"),
    [
        ("Six", "six", ""),
        ("six==1.16  # why", "six", "==1.16"),
        ("six [a, b] >= 1 ; python_version < '3'", "six", ">=1"),
        ("six==1 --hash=sha256:00 --hash=sha256:11", "six", "==1"),
        ("six @ https://host/six.zip", "six", ""),
        ("https://host/my_pkg-1.0-py3-none-any.whl", "my-pkg", ""),
        ("./wheels/my_pkg-1.0.tar.gz", "my-pkg", ""),
        ("git+ssh://git@host/some/tool.git@v1#egg=The_Tool&subdirectory=x", "the-tool", ""),
        ("-e git+https://host/some/tool.git", "tool", ""),
        ("--editable=./sub/tool[docs]", "tool", ""),
        ("-e./sub/tool", "tool", ""),
    ],
)
def test_a_line_is_a_requirement(tmp_path, line, name, specifier):
    (found,) = read(tmp_path, f"\n# nothing\n{line}\n")
    assert (found.name, found.specifier, found.line) == (name, specifier, 3)
    assert found.editable is line.startswith(("-e", "--e"))


def test_an_address_is_taken_apart(tmp_path):
    git, path = read(tmp_path, "-e git+ssh://git@host/x/tool.git@v1#egg=tool[a]\n-e ./sub[docs]\n")
    assert (git.source, git.address, git.ref, git.extras) == ("git", "ssh://git@host/x/tool.git", "v1", ("a",))
    assert (path.source, path.address, path.extras) == ("path", "./sub", ("docs",))


@pytest.mark.parametrize(
    ("line", "address", "ref"),
    [
        ("git+https://host/x.git@feature/y#egg=x&subdirectory=z", "https://host/x.git", "feature/y"),
        ("x @ git+https://host/x.git@v1#subdirectory=z", "https://host/x.git", "v1"),
        ("x @ git+ssh://git@host/x.git", "ssh://git@host/x.git", None),
        ("git+https://host/@scope/x.git", "https://host/", "scope/x.git"),  # as pip splits it
        ("git+file:///some/x@v1", "file:///some/x", "v1"),
        ("x @ https://host/x.zip#sha256=0", "https://host/x.zip", None),
    ],
)
def test_a_branch_may_hold_a_slash_and_a_fragment_is_no_part_of_it(tmp_path, line, address, ref):
    (found,) = read(tmp_path, f"{line}\n")
    assert (found.address, found.ref) == (address, ref)


@pytest.mark.parametrize(
    "line", ["--index-url https://registry.invalid", "-i x", "-c constraints.txt", "--pre", "-f x"]
)
def test_options_and_constraints_declare_nothing(tmp_path, line):
    assert [each.name for each in read(tmp_path, f"{line}\nsix\n")] == ["six"]


def test_lines_go_on_after_a_backslash_and_keep_the_first_number(tmp_path):
    first, second = read(tmp_path, "six \\\n  >=1 \\\n  --hash=sha256:00\n\nFlask\\\n")
    assert (first.name, first.specifier, first.line) == ("six", ">=1", 1)
    assert (second.name, second.line) == ("flask", 5)


def test_files_may_name_each_other(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "dev.txt").write_text("-r ../requirements.txt\npytest\n")
    found = read(tmp_path, "-r more/dev.txt\nsix\n")
    assert [(each.name, each.file.name) for each in found] == [("pytest", "dev.txt"), ("six", "requirements.txt")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_odd_encodings_are_read(tmp_path, encoding):
    text = "# r\xe9sum\xe9\nsix==1\n"
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    (found,) = read(tmp_path, mark + text.encode(encoding))
    assert (found.name, found.line) == ("six", 2)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("six = 1", r"requirements.txt:2: wanted a requirement, found 'six = 1'; mend or remove"),
        ("<html>", "wanted a requirement, found '<html>'"),
        ("https://[::1", r"requirements.txt:2: wanted a requirement, found 'https://\[::1'"),
        ("-e git+https://[::1/x", "wanted a requirement, found 'git"),
        ("-e ./a\0b", "wanted a requirement, found './a"),
        ("six @ https://bob:PW@host/x.zip ; oo", r"found 'six @ https://\*\*\*@host/x.zip ; oo'"),
        ("https:/bob:PW@host/x.zip", r"found 'https:/\*\*\*@host/x.zip'; mend"),
        ("https:/TOKEN@host", r"found 'https:/\*\*\*@host'; mend"),
        ("-r pipe.txt", "wanted the file pipe.txt beside it, found none"),
        ("-r gone.txt", r"requirements.txt:2: wanted the file gone.txt beside it, found none"),
    ],
)
def test_what_is_no_requirement_is_one_sentence(tmp_path, line, match):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(RequirementsError, match=match):
        read(tmp_path, f"flask\n{line}\n")


def test_a_pipe_of_that_name_is_no_requirements_file(tmp_path):
    os.mkfifo(tmp_path / "requirements.txt")
    with pytest.raises(RequirementsError, match="wanted a file, found a pipe of that name; rename it"):
        read_requirements(tmp_path / "requirements.txt")
