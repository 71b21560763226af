"""Projects: where their folder is, and what it holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csci_utils.deps.errors import PipfileError, ProjectNotFoundError
from csci_utils.deps.package_metadata import PackageMetadata, read_package_metadata
from csci_utils.deps.project import find_project, read_project
from tests.conftest import REPO
from tests.csci_utils.deps.making import PROJECTS, PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_projects_are_read(name):
    project = read_project(PROJECTS / name)
    declared = {each.name for each in project.declared}
    locked = {each.name for each in project.lock.entries}
    assert project.lock_is_in_step
    assert project.remarks == ()
    assert len(declared & locked) >= 3
    assert {each.source for each in project.declared} - {"index"} or name == "paperless-ngx"
    assert [each for each in project.declared if each.line == 0 or each.problem] == []


def test_a_section_and_a_name_can_be_asked_for():
    project = read_project(PROJECTS / "paperless-ngx")
    assert project.section("dev-packages").keys() == {"factory-boy", "pytest", "sphinx", "sphinx-rtd-theme"}
    assert [each.version for each in project.locked("PDFMiner_six")] == ["20220319"]
    assert project.locked("nothing") == ()


def test_a_folder_with_only_requirements_is_a_project_and_says_so():
    project = read_project(PROJECTS / "requirements-only")
    assert (project.pipfile, project.lock, project.lock_problem, project.lock_is_in_step) == (None, None, None, None)
    assert {each.section for each in project.declared} == {"requirements"}
    assert {each.name for each in project.declared} >= {
        "django",
        "django-autoconfig",
        "requirements-only",
        "some-thing",
    }
    assert "no Pipfile, so its requirements.txt is taken" in project.remarks[0]


def test_a_pipfile_goes_before_requirements(tmp_path):
    (tmp_path / "Pipfile").write_text("[packages]\nsix = '*'\n")
    (tmp_path / "requirements.txt").write_text("flask\n")
    project = read_project(tmp_path)
    assert [each.name for each in project.declared] == ["six"]
    assert project.lock_problem == f"{tmp_path}/Pipfile.lock: wanted a lock, found none; make it: pipenv lock"


def test_a_lock_that_cannot_be_read_leaves_the_project_readable(tmp_path):
    (tmp_path / "Pipfile").write_text("[packages]\nsix = '*'\n")
    (tmp_path / "Pipfile.lock").write_text('{"_meta": {"pipfile-spec": 2}}')
    project = read_project(tmp_path)
    assert project.lock is None
    assert "specification 6, found 2" in project.lock_problem


def test_what_pipenv_would_trip_over_is_a_remark(tmp_path):
    (tmp_path / "Pipfile").write_text("[packages]\nruamel.yaml = '*'\n")
    assert read_project(tmp_path).remarks[0].startswith(f"{tmp_path}/Pipfile:2: an unquoted dot")


def test_a_folder_without_either_is_an_error(tmp_path):
    with pytest.raises(ProjectNotFoundError, match=r"wanted a Pipfile or a requirements.txt, found neither"):
        read_project(tmp_path)
    with pytest.raises(FileNotFoundError, match="wanted the folder of a project, found none"):
        read_project(tmp_path / "gone")


def test_a_broken_pipfile_is_an_error(tmp_path):
    (tmp_path / "Pipfile").write_text("[packages\n")
    with pytest.raises(PipfileError, match="wanted TOML"):
        read_project(tmp_path)


def test_the_project_is_the_nearest_folder_upwards_with_a_pipfile(tmp_path, monkeypatch):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    (tmp_path / "Pipfile").touch()
    assert find_project(None, environ={}) == tmp_path
    assert find_project(None, environ={"PIPENV_NO_INHERIT": "1"}) == deep
    assert find_project(None, environ={"PIPENV_MAX_DEPTH": "2"}) == deep
    assert find_project(None, environ={"PIPENV_MAX_DEPTH": "3"}) == tmp_path
    assert find_project(None, environ={"PIPENV_MAX_DEPTH": "many"}) == tmp_path
    assert find_project(Path("."), environ={}) == deep
    assert find_project(None, environ={"PIPENV_PIPFILE": os.path.relpath(tmp_path / "Pipfile")}) == tmp_path / "Pipfile"


def test_a_pipfile_may_have_a_name_of_its_own(tmp_path):
    (tmp_path / "Pipfile").write_text("[packages]\nflask = '*'\n")
    (tmp_path / "Pipfile.old").write_text("[packages]\nsix = '*'\n")
    project = read_project(tmp_path / "Pipfile.old")
    assert (project.folder, [each.name for each in project.declared]) == (tmp_path, ["six"])
    assert "Pipfile.old.lock: wanted a lock" in project.lock_problem


@pytest.mark.parametrize("name", ["requirements.txt", "reqs-prod.txt", "base.in"])
def test_a_requirements_file_may_be_named_though_a_pipfile_lies_beside_it(tmp_path, name):
    (tmp_path / "Pipfile").write_text("[packages]\nflask = '*'\n")
    (tmp_path / name).write_text("six\n")
    project = read_project(tmp_path / name)
    assert (project.folder, [each.name for each in project.declared]) == (tmp_path, ["six"])
    assert (project.pipfile, project.requirements) == (None, tmp_path / name)
    assert project.remarks == (f"{tmp_path}/{name}: a requirements file, so that is taken, and nothing is locked",)


@pytest.mark.parametrize("name", ["Pipfile.lock", "pyproject.toml", "setup.py"])
def test_another_file_is_no_project(tmp_path, name):
    (tmp_path / "Pipfile").touch()
    (tmp_path / name).touch()
    with pytest.raises(
        ProjectNotFoundError, match=rf"{name}: wanted a folder, a Pipfile or .* name the folder it lies in"
    ):
        read_project(tmp_path / name)


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg", "pyproject.toml", "pytest.ini"])
def test_a_pipe_says_nothing_of_a_package(tmp_path, name):
    (tmp_path / "requirements.txt").touch()
    os.mkfifo(tmp_path / name)
    assert read_project(tmp_path).package == PackageMetadata()


def test_setup_py_is_read_and_not_run(tmp_path):
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "setup.py").write_text(
        "raise SystemExit('run')\nMORE: dict = {'a': ['x']}\n"
        "setup(name='thing', python_requires='>=3.8', extras_require=MORE, install_requires=['six', 'y>1'],"
        "packages=f())\n"
    )
    package = read_project(tmp_path).package
    assert (package.name, package.requires_python) == ("thing", ">=3.8")
    assert (package.requires, package.extras) == (("six", "y>1"), {"a": ("x",)})


def test_pyproject_goes_before_setup_cfg(tmp_path):
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "setup.cfg").write_text(
        "[metadata]\nname = old\nclassifiers =\n  A :: B\n  C\n[options]\npython_requires = >=3.6\n"
        "[options.extras_require]\ndev =\n  pytest\n  six\n"
    )
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'new'\ndependencies = ['six']\n")
    package = read_project(tmp_path).package
    assert (package.name, package.requires_python, package.requires) == ("new", ">=3.6", ("six",))
    assert (package.classifiers, package.extras) == (("A :: B", "C"), {"dev": ("pytest", "six")})
    assert [each.name for each in package.files] == ["setup.cfg", "pyproject.toml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[project]\nname = 'x'\n"),
        ("setup.cfg", "[metadata]\nname = x\n"),
        ("setup.py", "'\\d'\nsetup(name='x')\n"),
    ],
)
def test_a_byte_order_mark_or_an_odd_backslash_changes_nothing(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert read_package_metadata(tmp_path).name == "x"


@pytest.mark.parametrize(
    ("name", "text", "roots"),
    [
        ("setup.py", "setup(package_dir={'': 'lib', 'a.b': 'x/y', 'mine': 'py/mine'})", ("lib", "py")),
        ("setup.cfg", "[options]\npackage_dir =\n  = lib\n", ("lib",)),
        ("setup.cfg", "[options.packages.find]\nwhere = lib more\n[tool:pytest]\npythonpath = tests/x\n", None),
        ("pyproject.toml", "[tool.setuptools.packages.find]\nwhere = ['./lib/']\n", ("lib",)),
        ("pyproject.toml", "[tool.setuptools]\npackage-dir = {'' = 'lib'}\n", ("lib",)),
        ("pyproject.toml", "[tool.pytest.ini_options]\npythonpath = ['lib', '..', '/abs']\n", ("lib",)),
        ("pyproject.toml", "[tool.pytest.ini_options]\npythonpath = 'lib more'\n", ("lib", "more")),
        ("pyproject.toml", "[tool.poetry]\npackages = [{include = 'x', from = 'lib'}, {include = 'y'}]\n", ("lib",)),
        ("pyproject.toml", "[tool.hatch.build.targets.wheel]\npackages = ['lib/x']\n", ("lib",)),
        ("pyproject.toml", "tool = 1\n", ()),
        ("pyproject.toml", "[tool.setuptools]\npackage-dir = 'x'\n[tool.poetry]\npackages = [1]\n", ()),
        ("pytest.ini", "[pytest]\npythonpath = lib\n", ("lib",)),
        ("tox.ini", "[pytest]\npythonpath = lib\n", ("lib",)),
    ],
)
def test_where_modules_are_imported_from_is_said_by_many_files(tmp_path, name, text, roots):
    (tmp_path / name).write_text(text)
    package = read_package_metadata(tmp_path)
    assert package.roots == (roots if roots is not None else ("lib", "more", "tests/x"))
    assert package.files == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.py", "setup(name=" + "-" * 100_000 + "1)"),
        ("setup.py", "setup(name=" + "(" * 5000 + ")"),
        ("pyproject.toml", "x = " + "[" * 5000),
        ("setup.py", "setup(\n"),
        ("setup.cfg", "name\n"),
        ("pyproject.toml", "["),
        ("setup.py", "\0"),
        ("setup.cfg", "\xe9"),
    ],
)
def test_a_broken_package_file_says_nothing(tmp_path, name, text):
    (tmp_path / "requirements.txt").touch()
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    assert read_project(tmp_path).package.files == ()


def test_this_project_says_what_it_is():
    package = read_project(REPO).package
    assert (package.name, package.requires_python) == ("neural-style-pipeline", ">=3.11")
    assert "Programming Language :: Python :: 3.12" in package.classifiers
    assert any(each.startswith("boto3") for each in package.requires)
    assert "luigi" in package.extras
