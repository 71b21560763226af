"""`check` on this project: nothing as it stands; with a line less in the Pipfile, that import and the stale lock.

All that reads the whole project is slow; `make lint` runs `check` each time.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from functools import cache

import pytest
from packaging.requirements import Requirement

from csci_utils.deps import check_facts
from csci_utils.deps.check import check
from csci_utils.deps.cli import exit_status
from csci_utils.deps.environments import read_environment
from csci_utils.deps.facts import normal_name
from csci_utils.deps.imports import parse_imports
from csci_utils.deps.places import place_of
from csci_utils.deps.project import read_project
from csci_utils.deps.sources import read_tree
from tests.conftest import REPO
from tests.csci_utils.deps.checking import found

OTHER_NAMES = {"PIL": "pillow", "dotenv": "python-dotenv", "ruamel": "ruamel-yaml"}
ENTRIES = re.findall(r'^"?([a-z][a-z0-9.-]*)"? = ', (REPO / "Pipfile").read_text(), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def environment():
    return read_environment(place_of(sys.prefix), modules=True)


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """This project's files as git knows them, in a folder that is no repository."""
    folder = tmp_path_factory.mktemp("copy")
    for name in read_tree(REPO, check_facts.read_settings(REPO)).files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, folder / name)
    return folder


@pytest.fixture
def read_once(monkeypatch):
    """The sources do not change from test to test, so each is parsed once."""
    monkeypatch.setattr(check_facts, "read_imports", _read_once)


def _read_once(path, *, markers):
    return _parsed(path.read_bytes(), json.dumps(dict(markers)))


@cache
def _parsed(source, markers):
    return parse_imports(source, markers=json.loads(markers))


@cache
def imported_here():
    """By another route: the outermost names of all import statements that are no part of a `try`."""
    found = set()
    for name in subprocess.run(
        ["git", "ls-files", "-z", "*.py", "--others", "--cached", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0"):
        for node in _walk_outside_of_try(ast.parse((REPO / name).read_text(encoding="utf-8"))) if name else ():
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return {OTHER_NAMES.get(each, normal_name(each)) for each in found}


def _walk_outside_of_try(node):
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Try):
            yield from _walk_outside_of_try(child)


@cache
def brought_by_others():
    """By another route: what the distributions here require, this project's package with all its extras."""
    found = set()
    for distribution in importlib.metadata.distributions():
        extra = "all" if normal_name(distribution.name) == "neural-style-pipeline" else ""
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                found.add(normal_name(requirement.name))
    return found


def without(folder, name):
    """The same project with one entry less in its Pipfile."""
    lines = (REPO / "Pipfile").read_text().splitlines(keepends=True)
    left = [line for line in lines if not re.match(rf'"?{re.escape(name)}"? = ', line)]
    assert len(left) == len(lines) - 1
    (folder / "Pipfile").write_text("".join(left))
    return folder


@pytest.mark.slow
def test_nothing_is_found_here(environment, read_once):
    report = check(read_project(REPO), environment)
    assert report.findings == ()
    assert report.remarks == ()
    assert report.sources > 200
    assert report.imported > 10


@pytest.mark.slow
def test_without_an_environment_nothing_is_found_here_either(copied, read_once):
    shutil.copy(REPO / "Pipfile", copied)
    assert found(copied) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_with_a_line_less_that_import_and_the_stale_lock_are_found(copied, environment, read_once, name):
    wanted = {("stale-lock", "Pipfile.lock")}
    if normal_name(name) in imported_here():
        wanted |= {("transitive" if normal_name(name) in brought_by_others() else "undeclared", normal_name(name))}
    report = check(read_project(without(copied, name)), environment)
    assert {(each.kind, each.name) for each in report.findings} == wanted
    assert len(report.findings) == len(wanted)
    assert report.breaks_ci


@pytest.mark.slow
def test_many_lines_are_imports():
    assert len({normal_name(each) for each in ENTRIES} & imported_here()) > 12
    assert len(ENTRIES) > 20


@pytest.mark.slow
def test_the_command_line_says_so_and_ends_with_1(copied, capsys):
    folder = without(copied, "numpy")
    assert exit_status(["check", "--project", str(folder), "--python", sys.prefix]) == 1
    out, err = capsys.readouterr()
    stale, numpy = out.splitlines()
    assert stale == (
        f"Pipfile.lock:{_line(folder / 'Pipfile.lock', 'sha256')}: stale-lock: Pipfile.lock: "
        "the lock was not made from this Pipfile: the digests differ. Mend: pipenv lock"
    )
    assert re.match(
        r"[\w/]+\.py:\d+: transitive: numpy: it is imported and not declared; "
        r"only neural-style-pipeline(, (?!neural-style-pipeline)[\w-]+)+( and \d+ more)? bring it; "
        r"so do \d+ more files\. ",
        numpy,
    )
    assert numpy.endswith(" Mend: pipenv install 'numpy>=2.0,<3'")
    assert err == ""


def _line(file, word):
    return next(number for number, line in enumerate(file.read_text().splitlines(), start=1) if word in line)


def test_make_lint_runs_it():
    done = subprocess.run(["make", "--dry-run", "lint"], cwd=REPO, capture_output=True, text=True, check=True)
    assert ".venv/bin/python -m csci_utils.deps check --python .venv/bin/python" in done.stdout.splitlines()
