"""What a project wants of Travis: versions of Python, and the lines that install, test and deploy it."""

from __future__ import annotations

import json

import pytest

from csci_utils.deps.project import read_project
from csci_utils.deps.travis_plan import plan_of, pythons_of
from tests.conftest import REPO
from tests.csci_utils.deps.making import PROJECTS


def project(folder, pipfile="[packages]\n", lock=True, **files):
    """A project of these files; `setup_py` stands for `setup.py`."""
    if pipfile is not None:
        (folder / "Pipfile").write_text(pipfile)
    if lock:
        meta = {"hash": {"sha256": "0"}, "pipfile-spec": 6, "requires": {}, "sources": []}
        (folder / "Pipfile.lock").write_text(json.dumps({"_meta": meta, "default": {}, "develop": {}}))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return read_project(folder)


def pyproject(requires=None, *classifiers):
    lines = [
        "[project]",
        'name = "x"',
        f"classifiers = {[f'Programming Language :: Python :: {c}' for c in classifiers]}",
    ]
    return "\n".join([*lines, *([f'requires-python = "{requires}"'] if requires else [])])


@pytest.mark.parametrize(
    ("requires", "classifiers", "expected"),
    [
        (">=3.8", ["3", "3.10", "3.8", "3.9", "3 :: Only", "Implementation"], ("3.8", "3.9", "3.10")),
        (">=3.9", ["3.8", "3.9"], ("3.9",)),
        (None, ["3.7"], ("3.7",)),
        (">=3.8.5,<3.11", [], ("3.8", "3.9", "3.10")),
        (">=3.8,<=3.10", [], ("3.8", "3.9", "3.10")),
        ("!=3.9.*,>=3.8,<3.11", [], ("3.8", "3.10")),
        (">=2.7,<3.6,!=3.0.*,!=3.1.*,!=3.2.*,!=3.3.*", [], ("2.7", "3.4", "3.5")),
        ("==3.11.*", ["3.11", "3.12"], ("3.11",)),
        (None, ["3.99"], ("3.99",)),
        ("==3.11.7", [], ("3.11.7",)),
        ("==3.11.7", ["3.11", "3.12"], ("3.11.7",)),
        (">=3.11.2,<3.11.12", [], ("3.11",)),
        (">=3.9.18,<3.11,!=3.10.*", ["3.9", "3.10"], ("3.9",)),
    ],
)
def test_pythons_are_those_of_the_classifiers_that_python_requires_allows(tmp_path, requires, classifiers, expected):
    found = project(tmp_path, '[requires]\npython_version = "3.1"\n', pyproject_toml=pyproject(requires, *classifiers))
    assert pythons_of(found) == (expected, ())


@pytest.mark.parametrize(
    "files",
    [
        {"setup_py": "from setuptools import setup\nsetup(python_requires='>=3.9,<3.11')"},
        {"setup_cfg": "[options]\npython_requires = >=3.9,<3.11\n"},
        {"setup_cfg": "[metadata]\nclassifiers =\n  Programming Language :: Python :: 3.9\n"
                      "  Programming Language :: Python :: 3.10\n"},
    ],
    ids=["setup.py", "setup.cfg", "classifiers"],
)  # fmt: skip
def test_every_file_of_a_package_may_say_it(tmp_path, files):
    assert pythons_of(project(tmp_path, **files))[0] == ("3.9", "3.10")


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ('python_version = "3.7"', ("3.7",)),
        ('python_version = "3.10"\npython_full_version = "3.10.4"', ("3.10.4",)),
        ('python_version = "3"', ()),
        ('python_version = "*"', ()),
        ("", ()),
    ],
)
def test_else_the_pipfile_says_it(tmp_path, requires, expected):
    found, remarks = pythons_of(project(tmp_path, f"[requires]\n{requires}\n"))
    assert found == expected
    assert [each[:36] for each in remarks] == ([] if expected else ["no file says which Python is wanted,"])


def test_files_that_contradict_each_other_are_said(tmp_path):
    versions, remarks = pythons_of(project(tmp_path, pyproject_toml=pyproject(">=3.13,<3.15", "3.8")))
    assert versions == ("3.13", "3.14")
    assert remarks[0].startswith("no classifier names a Python that python_requires (")
    versions, remarks = pythons_of(project(tmp_path, pyproject_toml=pyproject("three", "3.8")))
    assert versions == ("3.8",)
    assert remarks == ("python_requires is 'three', which nothing can read; mend it",)


def test_a_pipfile_that_requires_one_python_and_classifiers_of_others_are_said(tmp_path):
    pipfile = '[requires]\npython_version = "3.1"\n'
    plan = plan_of(project(tmp_path, pipfile, pyproject_toml=pyproject(None, "3.1", "3.10")))
    assert "the Pipfile requires Python 3.1, and pipenv install --deploy stops on others (3.10)" in plan.remarks[-1]


@pytest.mark.parametrize(
    ("lock", "install", "remark"),
    [
        (True, "pipenv install --deploy --dev", "the lock is out of date with the Pipfile"),
        (False, "pipenv install --dev --skip-lock", "wanted a lock, found none"),
    ],
)
def test_pipenv_installs_what_is_locked_and_stops_at_an_old_lock(tmp_path, lock, install, remark):
    plan = plan_of(project(tmp_path, lock=lock))
    assert plan.values["install"] == ["pip install pipenv", install]
    assert remark in plan.remarks[-1]


@pytest.mark.parametrize(
    ("pipfile", "makefile", "script"),
    [
        ("[dev-packages]\npytest = '*'\n", "", ["pipenv run pytest"]),
        ("[dev-packages]\nNose = '*'\n", "", ["pipenv run nosetests"]),
        ("[packages]\n", "", ["pipenv run python -m unittest discover"]),
        ("[scripts]\ntests = 'x'\n[packages]\npytest = '*'\n", "", ["pipenv run tests"]),
        ("[scripts]\ntest = 'x'\ntests = 'x'\n", "", ["pipenv run test"]),
        ("[scripts]\ntest = 'x'\n", "test: setup\n\tpytest\n", ["make test"]),
        ("[packages]\n", "lint:\n\truff\ntest :\n\tx\n", ["make lint", "make test"]),
        ("[packages]\n", "test := x\ntested:\n", ["pipenv run python -m unittest discover"]),
    ],
)
def test_what_tests_a_project(tmp_path, pipfile, makefile, script):
    assert plan_of(project(tmp_path, pipfile, Makefile=makefile)).values["script"] == script


def test_a_makefile_that_sets_up_and_tests_installs(tmp_path):
    assert plan_of(project(tmp_path, Makefile="setup:\ntest: setup\n")).values["install"] == ["make setup"]
    assert plan_of(project(tmp_path, Makefile="setup:\n")).values["install"][0] == "pip install pipenv"


@pytest.mark.parametrize(
    ("files", "programs", "job"),
    [
        ({"Makefile": "deploy:\n"}, [], {"script": ["make deploy"]}),
        ({"Pipfile": "[scripts]\ndeploy = 'x'\n"}, ["one"], {"script": ["pipenv run deploy"]}),
        ({}, ["pset_4"], {"script": ["pipenv run python -m pset_4"]}),
        (
            {"pyproject.toml": "[project]\nname = 'PSet.4'"},
            ["other", "pset_4"],
            {"script": ["pipenv run python -m pset_4"]},
        ),
        ({}, ["one", "two"], {"install": "skip", "script": "skip"}),
        ({}, [], {"install": "skip", "script": "skip"}),
    ],
)
def test_what_runs_on_master(tmp_path, files, programs, job):
    project(tmp_path)
    for name in [*programs, ".hidden"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").touch()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    plan = plan_of(read_project(tmp_path))
    assert plan.firsts["jobs"]["include"] == [{"stage": "deploy"} | job]
    assert bool(plan.first_remarks) == ("install" in job)


@pytest.mark.parametrize(
    ("versions", "dist"),
    [
        (["3.7"], None),
        (["3.8"], "jammy"),
        (["3.10"], "jammy"),
        (["3.6", "3.8"], None),
        (["3.6", "3.9"], "focal"),
        (["3.7", "3.12"], "focal"),
        (["3.5", "3.9"], None),
        ([], None),
    ],
)
def test_new_pythons_have_the_image_that_has_them(tmp_path, versions, dist):
    plan = plan_of(project(tmp_path, pyproject_toml=pyproject(None, *versions)))
    assert plan.firsts.get("dist") == dist


def test_a_full_version_has_the_image_of_its_minor(tmp_path):
    plan = plan_of(project(tmp_path, pyproject_toml=pyproject("==3.11.7")))
    assert (plan.values["python"], plan.firsts["dist"]) == (["3.11.7"], "jammy")


def test_without_a_lock_no_other_python_stops_pipenv(tmp_path):
    pipfile = '[requires]\npython_version = "3.10"\n'
    stops = "pipenv install --deploy stops on others (3.11)"
    for lock, stopped in ((False, False), (True, True)):
        plan = plan_of(project(tmp_path, pipfile, lock=lock, pyproject_toml=pyproject(None, "3.10", "3.11")))
        assert any(stops in each for each in plan.remarks) == stopped


@pytest.mark.parametrize(
    ("lock", "install"),
    [
        (True, "pipenv install --deploy --categories 'packages dev-packages docs api'"),
        (False, "pipenv install --categories 'packages dev-packages docs api' --skip-lock"),
    ],
)
def test_further_categories_are_installed_too(tmp_path, lock, install):
    plan = plan_of(project(tmp_path, '[docs]\na = "*"\n[api]\nb = "*"\n[packages]\nc = "*"\n', lock=lock))
    assert plan.values["install"][1] == install


def test_requirements_in_a_folder_of_their_own_are_installed_from_there(tmp_path):
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "prod.txt").write_text("flask\n")
    plan = plan_of(read_project(tmp_path / "requirements" / "prod.txt"))
    assert plan.values["install"] == ["pip install -r requirements/prod.txt"]


def test_requirements_only_are_installed_by_pip():
    plan = plan_of(read_project(PROJECTS / "requirements-only"))
    assert plan.values["install"] == ["pip install -r requirements.txt"]
    assert plan.values["cache"] == {"directories": ["$HOME/.cache/pip"]}
    assert not any("pipenv" in str(each) for each in (*plan.values.values(), plan.firsts, plan.remarks))


def test_this_project_is_tested_on_the_pythons_of_its_classifiers():
    plan = plan_of(read_project(REPO))
    assert plan.pythons == ("3.11", "3.12", "3.13")
    assert (plan.values["install"], plan.values["script"]) == (["make setup"], ["make lint", "make test"])
    assert plan.remarks == ()
