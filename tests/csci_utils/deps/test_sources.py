"""Which files belong to a project, to which part of it, and which modules they are."""

from __future__ import annotations

import os
import subprocess

import pytest

from csci_utils.deps.check_settings import CheckSettings
from csci_utils.deps.sources import read_tree
from tests.csci_utils.deps.checking import write

NOTHING = CheckSettings()


def tree_of(folder, files, settings=NOTHING, **also):
    return read_tree(write(folder, dict.fromkeys(files, "")), settings, **also)


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


def test_in_a_repository_what_git_tracks_or_would_track_is_taken(tmp_path):
    write(tmp_path, {".gitignore": "made/\n", "made/a.py": "", "build/kept.py": "", "gone.py": "", "\u00fc \n.py": ""})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    write(tmp_path, {"new.py": "", "made/b.py": ""})
    (tmp_path / "gone.py").unlink()
    assert read_tree(tmp_path, NOTHING).sources == ("build/kept.py", "new.py", "\u00fc \n.py")


def test_a_folder_of_a_repository_is_read_from_there(tmp_path, monkeypatch):
    write(tmp_path, {".gitignore": "made.py\n", "outer.py": "", "inner/a.py": "", "inner/made.py": ""})
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("GIT_DIR", "/gone")  # as a hook of another repository would have it
    assert read_tree(tmp_path / "inner", NOTHING).sources == ("a.py",)


def test_no_program_that_the_repository_names_is_run(tmp_path):
    write(tmp_path, {"a.py": ""})
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/run; false")
    assert read_tree(tmp_path, NOTHING).sources == ("a.py",)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("git_says", ["exit 128", "exec sleep 60"], ids=["fails", "hangs"])
def test_without_an_answer_of_git_the_folder_is_walked(tmp_path, monkeypatch, git_says):
    write(tmp_path / "bin", {"git": f"#!/bin/sh\n{git_says}\n"})
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setattr("csci_utils.deps.sources._GIT_TIMEOUT_S", 0.2)
    assert tree_of(tmp_path / "p", ["a.py"]).sources == ("a.py",)


def test_what_is_made_is_left_out(tmp_path):
    made = [".venv/a.py", "node_modules/a.py", "build/a.py", "x.egg-info/a.py", "src/__pycache__/a.py", ".tox/a.py"]
    odd = ["my-env/pyvenv.cfg", "my-env/lib/a.py", "conda/conda-meta/history", "conda/lib/a.py"]
    tree = tree_of(tmp_path, ["a.py", "src/b.py", ".ci/c.py", "notebook.ipynb", *made, *odd])
    assert tree.sources == (".ci/c.py", "a.py", "src/b.py")


def test_links_in_circles_are_not_followed(tmp_path):
    write(tmp_path, {"a/b.py": ""})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert read_tree(tmp_path, NOTHING).sources == ("a/b.py",)


def test_a_folder_with_a_pipfile_of_its_own_is_another_project(tmp_path):
    tree = tree_of(tmp_path, ["Pipfile", "a.py", "services/api/Pipfile", "services/api/b.py", "data/Pipfile"])
    assert tree.sources == ("a.py",)
    assert tree.remarks == (f"{tmp_path}/services/api has a Pipfile of its own, so it is not looked at",)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("a.py", "package"),
        ("src/a/b.py", "package"),
        ("a/latest.py", "package"),
        ("a/testament/b.py", "package"),
        ("setup.py", "build"),
        ("a/setup.py", "package"),
        ("tests/a.py", "development"),
        ("a/tests/b.py", "development"),
        ("test/a.py", "development"),
        ("conftest.py", "development"),
        ("a/test_b.py", "development"),
        ("a/b_test.py", "development"),
        ("docs/conf.py", "development"),
        ("benchmarks/a.py", "development"),
        (".ci/a.py", "development"),
        ("noxfile.py", "development"),
        ("integration_tests/a.py", "development"),
        ("tests_e2e/a.py", "development"),
        ("e2e/a.py", "development"),
        ("scripts/a.py", "development"),
        ("backend/scripts/a.py", "development"),
        ("tools/a.py", "development"),
        ("ci/a.py", "development"),
        ("tasks.py", "development"),
        ("a/tasks.py", "package"),
        ("fabfile.py", "development"),
        ("dodo.py", "development"),
        ("load/locustfile.py", "development"),
        *((f"{each}/a.py", "development") for each in ("samples", "demo", "perf", "notebooks", "dev", "hooks")),
        ("docs_src/a/b.py", "development"),
        ("backend/hooks/a.py", "development"),
        *((each, "development") for each in ("release.py", "duties.py", "pavement.py", "runtests.py")),
        ("a/release.py", "package"),
        ("helpers/a.py", "development"),
        ("scripts2/a.py", "package"),
        ("docs/app/a.py", "package"),
    ],
)
def test_parts_are_told_by_names_and_settings(tmp_path, source, part):
    settings = CheckSettings(development=("helpers",), package=("docs/app",))
    assert tree_of(tmp_path, [source], settings).part_of(source) == part


def test_what_the_settings_name_and_is_not_there_is_told(tmp_path):
    settings = CheckSettings(development=("helpers", "gone"), package=("data", "docs/app.py"))
    tree = tree_of(tmp_path, ["helpers/a.py", "data/b.txt"], settings)
    says = "pyproject.toml: {} names {!r}, and no file is or lies below that; mend or remove it"
    assert tree.remarks == (says.format("development", "gone"), says.format("package", "docs/app.py"))


def test_the_whole_folder_may_be_for_developers(tmp_path):
    tree = tree_of(tmp_path, ["a.py", "b/c.py"], CheckSettings(development=(".",)))
    assert {tree.part_of(each) for each in tree.sources} == {"development"}
    assert tree.remarks == ()


def test_what_lies_in_a_package_is_the_packages(tmp_path):
    plain = ["plain/b.py", "plain/scripts/a.py"]
    tree = tree_of(tmp_path, ["app/__init__.py", "app/tools/a.py", "app/hooks/a.py", "app/demo/b.py", *plain])
    assert {tree.part_of(each) for each in tree.sources} == {"package"}


def test_a_folder_that_holds_mostly_tests_is_for_developers(tmp_path):
    checks = ["checks/test_a.py", "checks/test_b.py", "checks/helping.py", "checks/data/c.py"]
    beside = ["app/test_views.py", "app/views_test.py", "app/views.py", "test_main.py", "test_more.py", "main.py"]
    tree = tree_of(tmp_path, [*checks, *beside, "more/test_x.py", "more/y.py"])
    assert {tree.part_of(each) for each in checks} == {"development"}
    assert {tree.part_of(each) for each in ("app/views.py", "main.py", "more/y.py")} == {"package"}


def test_a_folder_with_settings_of_pytest_is_for_developers_unless_it_holds_what_is_tested(tmp_path):
    spec = ["spec/conftest.py", "spec/helping.py", "spec/unit/making.py"]
    ours = [
        "backend/app/__init__.py",
        "backend/run.py",
        "site/manage.py",
        "site/views.py",
        "app/__init__.py",
        "app/a.py",
    ]
    settings = ["backend/conftest.py", "site/conftest.py", "app/conftest.py", "src/conftest.py"]
    tree = tree_of(tmp_path, [*spec, *ours, *settings, "conftest.py", "main.py", "src/plain.py"])
    assert {tree.part_of(each) for each in spec} == {"development"}
    assert {tree.part_of(each) for each in (*ours, "main.py", "src/plain.py")} == {"package"}


def test_modules_of_the_project_are_those_of_its_folder_and_of_src(tmp_path):
    files = ["one.py", "two/__init__.py", "src/three/__init__.py", "plain/a.py", "data/x.txt", "fast.pyx"]
    tree = tree_of(tmp_path, [*files, "deep/down/six.py"], roots=["deep/down"])
    ours = ("one", "two", "two.made_later", "three", "plain.a", "fast", "six")
    assert [tree.holds(each) for each in ours] == ["module"] * 7
    assert tree.holds("plain") == "namespace"
    assert [tree.holds(each) for each in ("four", "data", "src.four", "plain.b", "down")] == [None] * 5


def test_a_namespace_is_shared_with_libraries(tmp_path):
    tree = tree_of(tmp_path, ["google/ours/__init__.py", "google/cloud/more.py"])
    ours = ("google.ours", "google.ours.x", "google.cloud.more", "google.cloud.more.f")
    assert [tree.holds(each) for each in ours] == ["module"] * 4
    assert [tree.holds(each) for each in ("google", "google.cloud")] == ["namespace"] * 2
    assert tree.holds("google.cloud.storage") is None


def test_a_module_that_git_ignores_is_in_its_folder_all_the_same(tmp_path):
    write(tmp_path, {".gitignore": "*_pb2.py\n", "wire/reading.py": "", "wire/made_pb2.py": "", "lone_pb2.py": ""})
    git(tmp_path, "init", "-q")
    tree = read_tree(tmp_path, NOTHING)
    assert tree.sources == ("wire/reading.py",)
    assert tree.holds("wire.made_pb2.Message") == "module"
    assert [tree.holds(each) for each in ("wire.gone_pb2", "wire.made_pb2x", "lone_pb2")] == [None] * 3


def test_neighbours_of_scripts_and_tests_are_found_from_the_root_of_their_package(tmp_path):
    scripts = ["jobs/run.py", "jobs/helper.py"]
    tests = ["tests/unit/__init__.py", "tests/unit/test_a.py", "tests/making.py", "spec/tests/other.py"]
    tree = tree_of(tmp_path, ["app/__init__.py", "app/a.py", "app/luigi/__init__.py", *scripts, *tests])
    assert tree.root_of("app/a.py") == "."
    assert tree.root_of("tests/unit/test_a.py") == "tests"
    assert tree.holds_near("helper", "jobs/run.py") == "module"
    assert tree.holds_near("making", "tests/unit/test_a.py") == "module"
    assert tree.holds_near("other.x", "tests/unit/test_a.py") is None
    assert tree.holds_somewhere("other.x", "tests/unit/test_a.py") == "module"  # pytest puts it on the path
    assert tree.holds_somewhere("helper", "tests/unit/test_a.py") == "module"  # and a conftest.py any other
    assert tree.holds_somewhere("making", "jobs/run.py") is None
    assert tree.holds_near("luigi", "app/a.py") is None
    assert tree.holds_near("making", "jobs/run.py") is None
    assert tree.holds_near("test_a", "jobs/run.py") is None


def test_a_name_is_looked_for_only_where_a_folder_has_it(tmp_path, monkeypatch):
    folders = [f"jobs{n}" for n in range(50)]
    sources = [f"{each}/{name}.py" for each in folders for name in ("run", "test_run")]
    tree = tree_of(tmp_path, [*sources, "deep/one/here.py", "far/space/a.py"])
    looked: list[str] = []
    leads = type(tree)._leads
    monkeypatch.setattr(type(tree), "_leads", lambda self, root, name: looked.append(root) or leads(self, root, name))
    for each in sources:
        assert tree.holds_somewhere("yaml.nodes", each) is None
        assert tree.holds_somewhere("here", each) == "module"
    assert tree.holds_somewhere("space", "jobs1/run.py") is None  # far/space is the root of what lies in it
    assert tree.holds_somewhere("run", "jobs1/run.py") == "module"
    assert len(looked) <= len(sources) + 1


def test_every_folder_above_a_source_may_be_on_the_path(tmp_path):
    tree = tree_of(tmp_path, ["backend/app/__init__.py", "backend/jobs/nightly/run.py", "backend/plain/a.py"])
    assert tree.holds_near("app.models", "backend/jobs/nightly/run.py") == "module"
    assert tree.holds_near("plain", "backend/jobs/nightly/run.py") == "namespace"
    assert tree.holds("app") is None


def test_an_environment_that_git_does_not_ignore_is_no_source(tmp_path):
    write(tmp_path, {"a.py": "", "venv/pyvenv.cfg": "", "venv/lib/x.py": "", "lib/python3/site-packages/y.py": ""})
    write(tmp_path, {"conda/conda-meta/history": "", "conda/lib/z.py": "", "web/node_modules/gyp/w.py": ""})
    git(tmp_path, "init", "-q")
    assert read_tree(tmp_path, NOTHING).sources == ("a.py",)


@pytest.mark.parametrize("in_git", [True, False])
def test_a_link_to_a_folder_is_a_package_by_its_name(tmp_path, in_git):
    write(tmp_path / "shared", {"__init__.py": "", "deep/x.py": ""})
    write(tmp_path / "p", {"a.py": "", "inner/b.py": ""})
    (tmp_path / "p" / "ours").symlink_to(tmp_path / "shared")
    (tmp_path / "p" / "loose").symlink_to(tmp_path / "shared" / "deep")
    if in_git:
        git(tmp_path / "p", "init", "-q")
    tree = read_tree(tmp_path / "p", NOTHING)
    assert tree.sources == ("a.py", "inner/b.py")
    assert [tree.holds(each) for each in ("ours", "ours.deep.x", "loose.x")] == ["module"] * 3
    assert tree.holds("loose") == "namespace"
    assert tree.holds("loose.y") is None


def test_pipes_and_devices_are_no_sources(tmp_path):
    write(tmp_path, {"a.py": ""})
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    assert read_tree(tmp_path, NOTHING).files == ("a.py",)
