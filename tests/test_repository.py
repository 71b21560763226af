"""What a fresh clone promises: text only, a lock that names no index, extras that add up, honest Luigi settings."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import subprocess
import tomllib

import pytest

from tests.conftest import REPO


def tracked_files() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def setup_arguments() -> dict[str, object]:
    """The literal parts of setup.py, read without running it."""
    tree = ast.parse((REPO / "setup.py").read_text(encoding="utf-8"))
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "EXTRAS":
            found["extras"] = ast.literal_eval(node.value)
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "name", "python_requires"):
            found[node.arg] = ast.literal_eval(node.value)
    return found


def split_requirement(requirement: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(.*)", requirement)
    assert match is not None
    return match[1], match[2]


@pytest.fixture(scope="module")
def lock():
    return json.loads((REPO / "Pipfile.lock").read_text(encoding="utf-8"))


def test_lock_names_no_index(lock):
    entries = {**lock["default"], **lock["develop"]}
    assert lock["_meta"]["sources"] == []
    assert len(entries) > 50
    assert [name for name, entry in entries.items() if "index" in entry] == []


@pytest.mark.slow
def test_no_file_names_a_registry():
    hosts = re.compile(rb"(pypi|pythonhosted|npmjs|registry\.npm|deb\.debian)\.(org|com)")
    names = tracked_files()
    assert "setup.py" in names
    assert [name for name in names if hosts.search((REPO / name).read_bytes())] == []


def test_git_holds_text_only():
    binary = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|pth?|model|onnx|safetensors|ckpt|npz)$|(^|/)\.env$|^data/")
    assert [name for name in tracked_files() if binary.search(name)] == []
    assert [name for name in tracked_files() if b"\0" in (REPO / name).read_bytes()] == []


@pytest.mark.parametrize("name", ["data/images/luigi.jpg", ".env", "model.pth", "bucket/images/x.png"])
def test_git_ignores(name):
    done = subprocess.run(["git", "check-ignore", "--no-index", name], cwd=REPO, capture_output=True, check=False)
    assert done.returncode == 0


def test_pipfile_and_setup_ask_for_the_same_versions():
    pipfile = tomllib.loads((REPO / "Pipfile").read_text(encoding="utf-8"))
    arguments = setup_arguments()
    extras = arguments["extras"]
    required = dict(map(split_requirement, arguments["install_requires"] + sum(extras.values(), [])))
    packages = {
        name: entry if isinstance(entry, str) else entry.get("version") for name, entry in pipfile["packages"].items()
    }
    itself = packages.pop(arguments["name"])
    assert itself is None
    assert packages == required


def test_pipfile_installs_the_project_itself_with_every_extra():
    pipfile = tomllib.loads((REPO / "Pipfile").read_text(encoding="utf-8"))
    assert "source" not in pipfile
    assert pipfile["packages"]["neural-style-pipeline"] == {"path": ".", "editable": True, "extras": ["all"]}


def test_all_is_the_sorted_union_of_the_extras():
    from importlib.metadata import metadata

    required = metadata("neural-style-pipeline").get_all("Requires-Dist") or []
    by_extra: dict[str, list[str]] = {}
    for line in required:
        requirement, _, marker = line.partition(";")
        match = re.search(r"extra == ['\"]([^'\"]+)['\"]", marker)
        if match:
            by_extra.setdefault(match[1], []).append(requirement.strip())
    everything = by_extra.pop("all")
    assert {"embedded", "luigi", "onnx", "onnxruntime", "torch"} <= set(by_extra)
    assert everything == sorted({requirement for group in by_extra.values() for requirement in group})


@pytest.mark.slow
def test_luigi_cfg_gives_honest_statuses_and_holds_no_secret():
    config = configparser.ConfigParser(interpolation=None)
    config.read(REPO / "luigi.cfg")
    assert dict(config["retcode"]) == {
        "already_running": "10",
        "missing_data": "20",
        "not_run": "25",
        "task_failed": "30",
        "scheduling_error": "35",
        "unhandled_exception": "40",
    }
    assert config["worker"]["check_complete_on_run"] == "true"
    assert config["core"]["autoload_range"] == "false"
    assert not config.has_section("s3")


@pytest.mark.slow
def test_ci_runs_what_the_readme_names():
    ci = (REPO / ".ci" / "run").read_text(encoding="utf-8")
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    for command in ("make run", "make test"):
        assert f"$ {command}" in readme
    assert "make lint" in ci
    assert "make test" in ci


@pytest.fixture
def run_ci(tmp_path):
    """Run `.ci/run` with programs that only say how they were called; of the system's own it has the simplest."""

    def run(*programs: str) -> list[str]:
        for name in programs:
            (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $* $CI"\n')
            (tmp_path / name).chmod(0o755)
        for name in ("bash", "dirname", "env", "sh"):
            (tmp_path / name).symlink_to(shutil.which(name))
        environ = {"PATH": str(tmp_path)}
        done = subprocess.run(
            [REPO / ".ci" / "run"], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        return [*done.stderr.splitlines(), *done.stdout.splitlines()]

    return run


def test_in_ci_what_a_test_lacks_is_a_failure(run_ci):
    assert run_ci("make", "chromium") == ["make lint true", "make test true"]


def test_ci_installs_chromium_where_it_is_not(run_ci):
    installed, *rest = run_ci("make", "apt-get")
    assert re.fullmatch(r"apt-get .*install -y chromium true", installed)
    assert rest == ["apt-get -qq update true", "make lint true", "make test true"]
