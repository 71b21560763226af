"""What `check` finds missing agrees with deptry, on three environments; where they differ, the reason stands here."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from csci_utils.deps.check import check
from csci_utils.deps.environments import read_environment
from csci_utils.deps.facts import Environment, normal_name
from csci_utils.deps.places import place_of
from csci_utils.deps.project import read_project
from tests.conftest import REPO
from tests.csci_utils.deps.checking import write
from tests.csci_utils.deps.making import make_dist, make_venv

CODES = {"DEP001": "missing", "DEP003": "missing", "DEP004": "dev-only"}
"""Not declared and not there; not declared and there by chance; declared for developers. (DEP002 is `unused`.)"""
KINDS = {"undeclared": "missing", "transitive": "missing", "dev-only": "dev-only"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "dotenv": "python-dotenv",
    "yaml": "pyyaml",
    "paste": "pastedeploy",
    "dns": "dnspython",
}
PARTS_OF_DEPTRY = ("deptry", "click", "packaging", "requirements-parser", "tomli")
PACKAGES = ("csci_utils", "neural_style", "pipeline")


@pytest.fixture(scope="session")
def deptry(tmp_path_factory) -> Path:
    """Deptry and what it needs, for other interpreters; nothing else of this one's libraries."""
    folder = tmp_path_factory.mktemp("deptry")
    for name in PARTS_OF_DEPTRY:
        files = importlib.metadata.files(name) or []
        for part in {each.parts[0] for each in files if each.parts[0] not in ("..", "__pycache__")}:
            (folder / part).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(part))))
    return folder


def by_deptry(project: Path, python: Path, deptry: Path, *options: str) -> set[tuple[str, str]]:
    """What deptry finds, run by an interpreter, since it looks into the environment that it runs in."""
    command = [str(python), "-m", "deptry", ".", "-o", "found.json", "--ignore", "DEP002", *options]
    environ = {**os.environ, "PYTHONPATH": str(deptry)}
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    data = json.loads((project / "found.json").read_text())
    found = {(CODES[each["error"]["code"]], each["module"]) for each in data}
    return {(kind, DISTRIBUTIONS.get(module, normal_name(module))) for kind, module in found}


@functools.cache
def environment_of(python: Path) -> Environment:
    """What is installed there, read once."""
    return read_environment(place_of(str(python)), modules=True)


def by_check(project: Path, python: Path) -> set[tuple[str, str]]:
    report = check(read_project(project), environment_of(python))
    return {(KINDS[each.kind], each.name) for each in report.findings if each.kind in KINDS}


def requirements(folder: Path, names: Mapping[str, str]) -> None:
    write(folder, {file: "".join(f"{each}\n" for each in text.split()) for file, text in names.items()})


def python_of(name: str) -> Path:
    python = REPO / name / "bin" / "python"
    if not python.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {python}; make it: make setup setup-swift")
    return python


@pytest.fixture(scope="module")
def paste(tmp_path_factory) -> Path:
    """An interpreter that finds one distribution, which is a part of a namespace."""
    folder = tmp_path_factory.mktemp("paste")
    make_dist(make_venv(folder), "PasteDeploy", files=["paste/deploy/__init__.py"])
    return folder / "bin" / "python"


@pytest.mark.slow
def test_they_agree_on_this_projects_own_environment(tmp_path, deptry):
    for each in PACKAGES:
        shutil.copytree(REPO / each, tmp_path / each, ignore=shutil.ignore_patterns("__pycache__"))
    everything = {each.name for each in read_project(REPO).section("packages").values()} - {"neural-style-pipeline"}
    left_out = {"numpy", "python-dotenv", "moto", "torch", "botocore"}
    requirements(
        tmp_path,
        {
            "requirements.txt": " ".join(everything - left_out - {"tqdm", "pillow"}),
            "requirements-dev.txt": "tqdm pillow",
        },
    )
    found = by_check(tmp_path, Path(sys.executable))
    theirs = by_deptry(tmp_path, Path(sys.executable), deptry)
    # `pipeline.embedded` catches that moto is missing and says what to do: an extra that one may do without.
    assert theirs - found == {("missing", "moto")}
    assert found == theirs - {("missing", "moto")}
    assert theirs == {("missing", each) for each in left_out} | {("dev-only", "tqdm"), ("dev-only", "pillow")}


@pytest.mark.slow
def test_they_agree_on_an_old_environment_with_namespaces(tmp_path, deptry):
    shutil.copy(REPO / "tests" / "servers" / "swift_node.py", tmp_path / "node.py")
    app = (
        "import os, yaml, dns.resolver\nfrom paste.deploy import loadapp\nimport requests.adapters as r, numpy as np\n"
    )
    write(tmp_path, {"app/__init__.py": "", "app/web.py": f"{app}from app import web\nimport node\nfrom . import x\n"})
    requirements(tmp_path, {"requirements.txt": "swift lxml requests", "requirements-dev.txt": "PasteDeploy"})
    found = by_check(tmp_path, python_of(".swift"))
    assert found == by_deptry(tmp_path, python_of(".swift"), deptry)
    missing = {("missing", each) for each in ("eventlet", "pyyaml", "dnspython", "numpy")}
    assert found == missing | {("dev-only", "pastedeploy")}


@pytest.mark.slow
def test_they_agree_on_a_small_environment(tmp_path, deptry):
    write(
        tmp_path,
        {
            "src/app/__init__.py": "import certifi, distlib.util\nfrom virtualenv import cli_run\n",
            "src/app/lazy.py": "def f():\n    import filelock\n    from platformdirs import user_cache_dir as u\n",
            "src/app/typing_only.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import attr\n",
            "run.py": "import app.lazy, tomllib, httpx\n",
        },
    )
    requirements(tmp_path, {"requirements.txt": "virtualenv certifi"})
    found = by_check(tmp_path, python_of(".pipenv"))
    # Deptry takes `src` for the root of all sources or for none; here there are some above it.
    assert found == by_deptry(tmp_path, python_of(".pipenv"), deptry, "--known-first-party", "app")
    assert found == {("missing", each) for each in ("distlib", "filelock", "platformdirs", "httpx")}


DIFFERENT = {
    # Deptry takes every import as needed; what the source can do without, CI can.
    "caught.py": ("try:\n  import httpx\nexcept ImportError:\n  httpx = None\n", {"httpx"}, set()),
    "suppressed.py": ("with contextlib.suppress(ImportError):\n  import httpx\n", {"httpx"}, set()),
    # And what stands in a branch for another Python or platform.
    "older.py": ("import sys\nif sys.version_info < (3, 8):\n  import httpx\n", {"httpx"}, set()),
    "odd.py": ("import os\nif os.name == 'odd':\n  import httpx\n", {"httpx"}, set()),
    # Deptry knows one way to import by name, and no other.
    "by_name.py": ("__import__('requests')\n", set(), {"requests"}),
    "run.py": ("import runpy\nrunpy.run_module('numpy')\n", set(), {"numpy"}),
    # Deptry takes a namespace as one module: whoever declares one part of it may import all.
    # Who brings the part is a guess.
    "spaces.py": ("import paste.deploy\nfrom paste import httpserver\n", set(), {"paste-httpserver"}),
}
"""Sources of one project: what stands there, what deptry alone finds in it, and what `check` alone does."""


@pytest.mark.slow
def test_where_they_differ_there_is_a_reason(tmp_path, deptry, paste):
    write(tmp_path, {name: source for name, (source, _, _) in DIFFERENT.items()})
    requirements(tmp_path, {"requirements.txt": "PasteDeploy"})
    ours = by_file(check(read_project(tmp_path), environment_of(paste)).findings)
    by_deptry(tmp_path, paste, deptry)
    theirs = {}
    for each in json.loads((tmp_path / "found.json").read_text()):
        theirs.setdefault(each["location"]["file"], set()).add(normal_name(each["module"]))
    for name, (_, only_deptry, only_check) in DIFFERENT.items():
        both = theirs.get(name, set()), ours.get(name, set())
        assert (both[0] - both[1], both[1] - both[0]) == (only_deptry, only_check), name


def by_file(findings):
    found = {}
    for each in findings:
        if each.kind in KINDS:
            found.setdefault(each.file.name, set()).add(each.name)
    return found


@pytest.mark.slow
def test_tests_are_read_by_check_alone(tmp_path, deptry, paste):
    """Deptry leaves out `tests` unless told otherwise, and then has no part for developers."""
    write(tmp_path, {"tests/test_a.py": "import httpx, requests\n", "requirements.txt": "", "a.py": ""})
    write(tmp_path, {"requirements-dev.txt": "requests\n"})
    assert by_check(tmp_path, paste) == {("missing", "httpx")}
    assert by_deptry(tmp_path, paste, deptry) == set()
