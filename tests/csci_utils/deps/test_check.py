"""What `check` finds, kind by kind, and what it leaves alone."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from csci_utils.deps.check import check
from csci_utils.deps.cli import exit_status
from csci_utils.deps.project import read_project
from tests.csci_utils.deps.checking import environment_with, found, write, write_lock
from tests.csci_utils.deps.making import PROJECTS, PUBLIC, make_dist, make_program, make_venv

PIPFILE = "[packages]\nflask = '*'\n\n[dev-packages]\npytest = '*'\n"
USES = {"app.py": "import flask\n", "tests/test_app.py": "import pytest, app\n"}
INSTALLED = {"flask": ["flask/__init__.py"], "pytest": ["pytest/__init__.py"], "werkzeug": ["werkzeug/__init__.py"]}


@pytest.fixture
def project(tmp_path):
    """One that is in order."""
    write(tmp_path / "p", {"Pipfile": PIPFILE, **USES})
    write_lock(tmp_path / "p", {"flask": "1.0", "werkzeug": "1.0"}, {"pytest": "1.0", "pluggy": "1.0"})
    return tmp_path / "p"


@pytest.fixture
def environment(tmp_path):
    return environment_with(tmp_path / "site", INSTALLED, flask=["werkzeug"], pytest=["pluggy"])


def the_finding(folder, environment=None):
    (only,) = check(read_project(folder), environment).findings
    return only


def test_a_project_in_order_has_nothing_to_mend(project, environment):
    assert found(project, environment) == []
    assert found(project) == []


def test_what_is_imported_and_not_declared_breaks_ci(project, environment):
    write(project, {"app.py": "import flask\n\nimport yaml\n", "b.py": "def f(): import yaml\n"})
    for each in (the_finding(project, environment), the_finding(project)):
        assert (each.kind, each.name, each.file, each.line) == ("undeclared", "pyyaml", project / "app.py", 3)
        assert each.breaks_ci
        assert each.mend == "pipenv install pyyaml"
        assert "it is imported, and nothing declared brings it as yaml; so does one more file (a guess" in each.sentence


def test_what_is_installed_by_chance_is_not_declared(project, tmp_path, environment):
    environment = environment_with(tmp_path / "site", {"django": ["django/__init__.py"]})
    write(project, {"app.py": "import flask, django\n"})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.sentence) == (
        "undeclared",
        "django",
        "it is imported, and nothing declared brings it",
    )


def test_what_tests_lack_is_for_developers(project, environment):
    write(project, {"tests/test_app.py": "import pytest, yaml\n"})
    only = the_finding(project, environment)
    assert (only.kind, only.breaks_ci, only.mend) == ("undeclared", True, "pipenv install --dev pyyaml")


def test_what_only_developers_have_breaks_the_package(project, environment):
    write(project, {"app.py": "import flask\nimport pytest\n"})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.line, only.mend) == ("dev-only", "pytest", 2, "pipenv install pytest")
    assert only.sentence == "the package imports it, and dev-packages declares it for developers only"


def test_what_only_something_for_developers_brings_breaks_the_package(project, tmp_path):
    environment = environment_with(
        tmp_path / "site", {**INSTALLED, "pluggy": ["pluggy.py"]}, flask=["werkzeug"], pytest=["pluggy"]
    )
    write(project, {"app.py": "import flask, pluggy\n"})
    assert the_finding(project, environment).kind == "dev-only"
    assert "only pytest for developers brings it" in the_finding(project, environment).sentence
    assert found(project) == [("dev-only", "pluggy")]


def test_what_only_another_brings_is_told_and_does_not_break_ci(project, environment):
    write(project, {"app.py": "import flask\nfrom werkzeug.x import y\n"})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.breaks_ci) == ("transitive", "werkzeug", False)
    assert only.sentence == "it is imported and not declared; only flask brings it"
    assert the_finding(project).sentence.startswith("it is imported and not declared; only the lock brings it")


def test_a_stale_lock_brings_nothing(project, environment):
    write(project, {"Pipfile": PIPFILE.replace("flask = '*'\n", "")})
    assert found(project, environment) == [("undeclared", "flask"), ("stale-lock", "Pipfile.lock")]
    assert found(project) == [("undeclared", "flask"), ("stale-lock", "Pipfile.lock")]


def test_what_nothing_uses_is_told_and_does_not_break_ci(project, environment):
    write(project, {"app.py": "", "Makefile": "test:\n\tpytest\n", "tests/test_app.py": ""})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.line, only.breaks_ci) == ("unused", "flask", 2, False)
    assert only.mend == "pipenv uninstall flask"
    write(project, {"Makefile": "", "app.py": "try:\n  import flask\nexcept ImportError:\n  pass\n"})
    only = the_finding(project, environment)
    assert (only.name, only.mend) == ("pytest", "pipenv uninstall --dev pytest")


def test_what_is_declared_and_not_installed_is_told(project, tmp_path):
    only = the_finding(project, environment_with(tmp_path / "site", {"flask": ["flask.py"]}))
    assert (only.kind, only.name, only.line, only.breaks_ci) == ("not-installed", "pytest", 5, False)
    assert only.mend == "pipenv sync --dev"
    assert only.sentence == f"it is declared, and not in the environment {tmp_path}/site"


def test_what_other_pythons_and_platforms_import_is_no_matter_without_an_environment(project):
    """The condition is judged by the Pipfile's Python, and by the platform that this runs on."""
    source = (
        "import flask, sys\nif sys.version_info < (3, 9):\n  import tomli\n"
        "if sys.version_info >= (3, 10):\n  import yaml\nif sys.platform == 'odd':\n  import win32api\n"
    )
    write(project, {"app.py": source})
    assert found(pythons(project, pipfile="3.9", lock="3.9")) == []
    assert found(pythons(project, pipfile="3.8", lock="3.8")) == [("undeclared", "tomli")]
    assert found(pythons(project, pipfile="3.10", lock="3.10")) == [("undeclared", "pyyaml")]


def test_a_micro_version_that_nobody_names_is_not_known(project, tmp_path):
    source = "import flask, sys\nif sys.version_info >= (3, 11, 4):\n  import tomllib\nelse:\n  import tomli\n"
    write(project, {"app.py": source})
    assert found(pythons(project, pipfile="3.11", lock="3.11")) == []
    assert found(pythons(project, pipfile="3.10", lock="3.10")) == [("undeclared", "tomli")]
    environment = environment_with(tmp_path / "site", INSTALLED, flask=["werkzeug"])
    pythons(project, pipfile="3.11", lock="3.11")
    assert found(project, replace(environment, version="3.11")) == []
    assert found(project, replace(environment, version="3.11.3")) == [("undeclared", "tomli")]


def test_an_environment_that_cannot_be_asked_has_a_platform_all_the_same(project, environment):
    write(project, {"app.py": "import flask, sys\nif sys.platform == 'odd':\n  import win32api\n"})
    assert environment.markers == {}
    assert found(project, environment) == []


def test_what_is_for_another_platform_need_not_be_installed(project, tmp_path, environment):
    line = "pywin32 = {version = '*', sys_platform = \"== 'win32'\"}\n"
    write(project, {"Pipfile": PIPFILE.replace("\n\n", f"\n{line}\n")})
    write_lock(project, {"flask": "1.0", "pywin32": "1.0"}, {"pytest": "1.0"})
    assert found(project, environment) == []
    assert found(project) == []
    write(project, {"app.py": "import flask, os\nif os.name == 'odd':\n  import win32api\n"})
    assert found(project) == []


def test_another_version_than_the_locks_is_told(project, tmp_path, environment):
    write_lock(project, {"flask": "1.0.0", "werkzeug": "2.0"}, {"pytest": "1.0", "werkzeug": "2.1"})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.breaks_ci) == ("version-installed", "werkzeug", False)
    assert (only.file, only.sentence) == (project / "Pipfile.lock", "2.0 is locked, and 1.0 is installed")
    assert '"werkzeug"' in only.file.read_text().splitlines()[only.line - 1]
    write_lock(project, {"flask": "1.0.0", "werkzeug": "2.0"}, {"pytest": "1.0", "werkzeug": "1"})
    assert found(project, environment) == []
    write_lock(project, {"flask": "1.0.0", "werkzeug": "2.0"}, {"pytest": "1.0"})
    lock = json.loads((project / "Pipfile.lock").read_text())
    lock["default"]["werkzeug"]["markers"] = "os_name == 'odd'"
    (project / "Pipfile.lock").write_text(json.dumps(lock))
    assert found(project, environment) == []


def test_a_local_version_is_that_version(project, tmp_path):
    files = {"flask==1.0+cpu": ["flask.py"], "pytest": ["pytest.py"]}
    assert found(project, environment_with(tmp_path / "other", files)) == []


def test_a_lock_with_another_version_than_is_declared_breaks_ci(project, environment):
    write(project, {"Pipfile": PIPFILE.replace("flask = '*'", "flask = '>=2'")})
    write_lock(project, {"flask": "1.0"}, {"pytest": "1.0"})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.line, only.breaks_ci) == ("version-locked", "flask", 2, True)
    assert (only.sentence, only.mend) == (">=2 is declared, and the lock has 1.0", "pipenv lock")


def test_a_lock_that_lacks_an_entry_breaks_ci(project, environment):
    write_lock(project, {"flask": "1.0"}, {})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.line) == ("stale-lock", "pytest", 5)


@pytest.mark.parametrize(
    ("lock", "sentence"),
    [
        (None, "wanted a lock, found none"),
        ('{"_meta": {"pipfile-spec": 5}}', "wanted a lock of specification 6, found 5"),
        ("{", "wanted JSON, found "),
    ],
    ids=["missing", "old", "broken"],
)
def test_a_lock_that_cannot_be_read_breaks_ci(project, environment, lock, sentence):
    (project / "Pipfile.lock").unlink()
    write(project, {"Pipfile.lock": lock} if lock else {})
    only = the_finding(project, environment)
    assert (only.kind, only.name, only.mend, only.breaks_ci) == ("stale-lock", "Pipfile.lock", "pipenv lock", True)
    assert sentence in only.sentence


SETUP = "from setuptools import setup\nsetup(name='Our_App', python_requires='{}', install_requires=['flask<3,>=2'])\n"


def pythons(folder, *, pipfile=None, lock=None, setup=None):
    requires = f"[requires]\npython_version = '{pipfile}'\n" if pipfile else ""
    write(folder, {"Pipfile": PIPFILE + requires} | ({"setup.py": SETUP.format(setup)} if setup else {}))
    write_lock(folder, {"flask": "1.0"}, {"pytest": "1.0"}, {"python_version": lock} if lock else {})
    return folder


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"pipfile": "3.11", "lock": "3.11", "setup": ">=3.9"}, []),
        ({"pipfile": "3.11", "lock": "3.11", "setup": ">=3.11.4"}, []),
        ({"pipfile": "3.11", "lock": "3.11", "setup": "==3.11.7"}, []),
        ({"pipfile": "3.11", "lock": "3.11", "setup": ">=3.11.2,<3.11.12"}, []),
        ({"pipfile": "3.11", "lock": "3.11", "setup": "==3.12.7"}, ["requires"]),
        ({"pipfile": "3.8", "lock": "3.8", "setup": ">=3.9"}, ["requires"]),
        ({"pipfile": "3.11", "lock": "3.10"}, ["lock"]),
        ({"lock": "3.10"}, ["lock"]),
        ({"setup": "3.9 or so"}, ["python_requires"]),
    ],
)
def test_pythons_that_exclude_each_other_break_ci(project, said, names):
    findings = check(read_project(pythons(project, **said)), None).findings
    assert [(each.kind, each.name, each.breaks_ci) for each in findings] == [("python", name, True) for name in names]
    assert all(each.line for each in findings)


ANEW = "pipenv --rm; pipenv --python {} sync --dev"


@pytest.mark.parametrize(
    ("said", "sentence", "mend"),
    [
        ({"pipfile": "2.7"}, "the Pipfile wants Python 2.7, and the environment has 3.11.4", ANEW.format("2.7")),
        ({"setup": "<3"}, "the package wants Python <3, and the environment has 3.11.4", ANEW.format("2.7")),
        ({"setup": ">=3.12"}, "the package wants Python >=3.12, and the environment has 3.11.4", ANEW.format("3.12")),
        (
            {"pipfile": "3.11", "setup": ">=3.12"},
            "the package wants Python >=3.12, and the environment has 3.11.4",
            f"write another version below [requires]; pipenv lock; {ANEW.format('3.12')}",
        ),
    ],
)
def test_an_environment_of_another_python_is_told_and_does_not_break_ci(project, environment, said, sentence, mend):
    findings = check(read_project(pythons(project, **said)), replace(environment, version="3.11.4")).findings
    (only,) = [each for each in findings if each.kind == "python-installed"]
    assert (only.name, only.breaks_ci, only.sentence, only.mend) == ("environment", False, sentence, mend)
    assert only.line


def test_sources_that_do_not_parse_are_told_and_the_others_are_read(project, environment):
    write(project, {"broken.py": "import flask\nprint 'x'\n", "odd.py": b"x = '\xff'\n", "b.py": "import yaml\n"})
    findings = check(read_project(project), environment).findings
    assert [(each.kind, each.name, each.breaks_ci) for each in findings] == [
        ("undeclared", "pyyaml", True),
        ("unparsed", "broken.py", False),
        ("unparsed", "odd.py", False),
    ]
    assert (findings[1].line, findings[1].file) == (2, project / "broken.py")


def test_exceptions_leave_findings_out_and_are_told_when_needless(project, environment):
    exception = "[[tool.csci_utils.deps.exceptions]]\nname = '{}'\nreason = 'it is {}'\n"
    text = exception.format("PyYAML", "there") + exception.format("django", "gone")
    write(project, {"app.py": "import flask, yaml\n", "pyproject.toml": text})
    report = check(read_project(project), environment)
    assert report.findings == ()
    assert {reason: len(left_out) for reason, left_out in report.accepted.items()} == {
        "it is there": 1,
        "it is gone": 0,
    }
    assert report.remarks == ("an exception in pyproject.toml is for nothing that is found (it is gone); remove it",)
    assert check(read_project(project), None).remarks == ()


def test_type_checkers_need_what_they_read_and_nobody_else_does(project, environment, tmp_path):
    write(project, {"app.py": "import flask\nif TYPE_CHECKING:\n  import pytest, mypy_boto3_s3\n"})
    assert found(project, environment) == []
    write(project, {"Pipfile": PIPFILE + "mypy = '*'\n", "mypy.ini": "[mypy]\n"})
    write_lock(project, {"flask": "1.0"}, {"pytest": "1.0", "mypy": "1.0"})
    only = the_finding(project)
    assert (only.kind, only.name, only.mend) == ("undeclared", "mypy-boto3-s3", "pipenv install --dev mypy-boto3-s3")


@pytest.mark.parametrize(
    ("build", "names"),
    [("", ["cython"]), ("[build-system]\nrequires = ['setuptools', 'Cython>=3']\n", [])],
    ids=["undeclared", "declared"],
)
def test_what_builds_the_package_is_declared_for_the_build(project, build, names):
    write(project, {"setup.py": "import setuptools, wheel\nimport cython\n", "pyproject.toml": build})
    assert [each.name for each in check(read_project(project), None).findings] == names


def test_the_projects_own_modules_are_no_libraries(project, environment):
    write(
        project,
        {
            "src/pkg/__init__.py": "from pkg.made_later import x\nfrom . import y\n",
            "space/ours/mod.py": "import app, pkg, space.ours.mod, tests.making\nfrom space.ours import mod\n",
            "scripts/run.py": "import helper\n",
            "scripts/helper.py": "import flask\n",
            "tests/unit/test_x.py": "import making\n",
            "tests/making.py": "",
        },
    )
    assert found(project, environment) == []
    with_root = "[tool.pytest.ini_options]\npythonpath = ['odd/root']\n"
    write(project, {"odd/root/mine.py": "", "app.py": "import flask, mine\n", "pyproject.toml": with_root})
    assert found(project, environment) == []
    write(project, {"scripts/werkzeug.py": "", "scripts/run.py": "import werkzeug\n"})
    assert found(project, environment) == [("transitive", "werkzeug")]  # the name of a library that is locked


def test_code_below_a_folder_is_the_projects_own(project, environment):
    write(
        project,
        {
            "backend/app/__init__.py": "import flask\n",
            "backend/tests/test_app.py": "import pytest, app.views\n",
            "lib/ours/__init__.py": "",
            "libs/others/__init__.py": "",
            "tests/test_ours.py": "import ours, others\n",
        },
    )
    (project / "app.py").unlink()
    for each in (None, environment):
        assert found(project, each) == []


def test_a_module_far_away_is_the_projects_own_where_no_library_is_to_be_seen(project, tmp_path, environment):
    write(project, {"packages/core/ours/__init__.py": "", "tests/deep/helping.py": ""})
    write(project, {"apps/web/main.py": "import flask, ours\n"})
    assert found(project) == []
    assert found(project, environment) == []
    assert found(project, environment_with(tmp_path / "site", {"ours": ["ours.py"]})) == [("undeclared", "ours")]
    write(project, {"apps/web/main.py": "import flask, helping\n"})
    assert found(project) == [("undeclared", "helping")]


def test_a_far_module_hides_no_library_that_is_installed(project, tmp_path, environment):
    """Tests may have every folder on the path; what the environment has is its own all the same."""
    write(project, {"lambdas/a/redis.py": "", "plugins/yaml/__init__.py": "", "tests/unit/near.py": ""})
    write(project, {"tests/test_app.py": "import pytest, redis, yaml\n", "tests/unit/test_b.py": "import near\n"})
    assert found(project, environment) == []
    installed = {"redis": ["redis/__init__.py"], "pyyaml": ["yaml/__init__.py"], "near": ["near.py"]}
    environment = environment_with(tmp_path / "site", installed)
    assert found(project, environment) == [("undeclared", "pyyaml"), ("undeclared", "redis")]


def test_a_namespace_that_libraries_share_is_the_projects_too(project, tmp_path, environment):
    environment = environment_with(tmp_path / "site", {"firm-core": ["firm/core/__init__.py"]})
    write(project, {"firm/ours/__init__.py": "", "app.py": "import flask, firm\nfrom firm import ours\n"})
    assert found(project, environment) == []
    write(project, {"app.py": "import flask\nfrom firm import ours, core\n"})
    assert found(project, environment) == [("undeclared", "firm-core")]


def test_of_a_folder_that_is_no_package_only_what_is_there_is_the_projects(project):
    env = "import flask\nfrom alembic import op, versions\nfrom alembic.versions import x\nfrom alembic import *\n"
    write(project, {"alembic/env.py": env, "alembic/versions/x.py": "from alembic import op\n"})
    only = the_finding(project)
    assert (only.kind, only.name, only.line) == ("undeclared", "alembic", 2)
    assert "so does one more file (a guess" in only.sentence


def test_what_brings_a_namespace_is_not_guessed_at(project):
    write(project, {"app.py": "import flask, azure.storage\n", "tests/test_app.py": "import pytest, zope.interface\n"})
    mends = {each.name: each.mend for each in check(read_project(project), None).findings}
    assert mends == {
        "azure-storage": "name what brings it in the Pipfile",
        "zope-interface": "pipenv install --dev zope-interface",
    }
    write(project, {"app.py": "import flask\n", "setup.py": "import azure\n"})
    mends = {each.name: each.mend for each in check(read_project(project), None).findings}
    assert mends["azure"] == "name what brings it in [build-system] requires of pyproject.toml"


def test_a_linked_package_is_the_projects_own(project, tmp_path, environment):
    write(tmp_path / "shared", {"__init__.py": ""})
    os.symlink(tmp_path / "shared", project / "ours")
    write(project, {"app.py": "import flask, ours.deep\n"})
    assert found(project, environment) == []


@pytest.mark.parametrize("imported", ["import alembic", "from alembic import command", "import alembic.config"])
def test_a_folder_that_is_no_package_hides_no_library(project, tmp_path, environment, imported):
    """Python takes the library before a folder without `__init__.py`; without an environment there is none to see."""
    write(project, {"alembic/env.py": "import flask\n", "app.py": f"import flask\n{imported}\n"})
    assert found(project, environment) == ([] if imported == "import alembic" else [("undeclared", "alembic")])
    environment = environment_with(tmp_path / "site", {"alembic": ["alembic/__init__.py"]})
    assert found(project, environment) == [("undeclared", "alembic")]
    write(project, {"app.py": "import flask\nimport alembic.env\n"})
    assert found(project, environment) == []
    write(project, {"alembic/__init__.py": "", "app.py": f"import flask\n{imported}\n"})
    assert found(project, environment) == []


def installing_itself(
    folder,
    *,
    pipfile="",
    requires=("flask>=2,<3", "jinja2"),
    extras="{'web': ['celery', 'our-app[db]'], 'db': ['sqlalchemy']}",
):
    setup = f"setup(name='Our_App', install_requires={list(requires)}, extras_require={extras})\n"
    itself = "[packages]\nour-app = {path = '.', editable = true, extras = ['web']}\n"
    write(folder, {"Pipfile": itself + pipfile, "setup.py": setup, "tests/test_app.py": ""})
    write_lock(folder, {"our-app": "0", "flask": "2.0", "jinja2": "1", "celery": "1", "sqlalchemy": "1"})
    return folder


def test_a_project_that_installs_itself_has_what_its_package_requires(project):
    write(project, {"app.py": "import flask, jinja2, celery, sqlalchemy, our_app\n", "our_app.py": ""})
    assert found(installing_itself(project)) == []


def test_what_its_package_requires_and_nothing_imports_is_unused(project):
    write(project, {"app.py": "import flask, celery, sqlalchemy\n"})
    only = the_finding(installing_itself(project))
    assert (only.kind, only.name, only.file, only.mend) == (
        "unused",
        "jinja2",
        project / "setup.py",
        "remove it from setup.py",
    )
    assert only.line == 1


def test_a_pipfile_that_repeats_its_package_has_to_repeat_all_that_is_imported(project):
    write(project, {"app.py": "import flask, jinja2, celery, sqlalchemy\n"})
    installing_itself(project, pipfile="jinja2 = '*'\ncelery = '*'\nsqlalchemy = '*'\n")
    only = the_finding(project)
    assert (only.kind, only.name, only.mend) == ("transitive", "flask", "pipenv install 'flask>=2,<3'")
    assert only.sentence.startswith("it is imported and not declared; only our-app brings it")


def test_each_that_brings_a_name_is_told_once(project, tmp_path):
    """By its files, and by what is installed of it."""
    environment = environment_with(
        tmp_path / "site", {"flask==2.0": ["flask.py"], "our-app": []}, **{"our-app": ["flask"]}
    )
    write(project, {"app.py": "import flask, jinja2, celery, sqlalchemy\n"})
    installing_itself(project, pipfile="jinja2 = '*'\ncelery = '*'\nsqlalchemy = '*'\n")
    told = [each.sentence for each in check(read_project(project), environment).findings if each.kind == "transitive"]
    assert told == ["it is imported and not declared; only our-app brings it"]


def test_what_setup_py_requires_is_no_help_where_the_pipfile_does_not_install_the_project(project, environment):
    write(project, {"setup.py": SETUP.format(">=3.9"), "Pipfile": PIPFILE.replace("flask = '*'\n", "")})
    write(project, {"app.py": "import flask, werkzeug\n"})
    write_lock(project, {}, {"pytest": "1.0"})
    flask, werkzeug = check(read_project(project), environment).findings
    assert (flask.kind, flask.mend) == ("undeclared", "pipenv install 'flask>=2,<3'")
    assert "(setup.py requires it, and is not what CI installs from)" in flask.sentence
    assert (werkzeug.kind, werkzeug.name) == ("undeclared", "werkzeug")


def test_what_setup_py_computes_is_taken_from_what_is_installed(project, tmp_path):
    requires = ["flask>=2", 'celery ; extra == "web"', 'odd ; extra == "other"']
    files = {"flask==2.0": ["flask.py"], "our-app==0": ["our_app.py"], "celery": ["celery.py"], "odd": ["odd.py"]}
    environment = environment_with(tmp_path / "site", files, **{"our-app": requires})
    write(project, {"app.py": "import flask, celery, odd\n"})
    installing_itself(project, extras="f()", requires=())
    assert found(project, environment) == [("undeclared", "odd")]


def test_an_extra_that_setup_py_computes_has_its_bounds(project, tmp_path):
    """It is read from what is installed, and only it: what else was installed may be of yesterday."""
    requires = ["flask>=2", "yesterday", 'celery<6,>=5 ; extra == "web"', 'odd ; extra == "db"']
    files = {"flask==2.0": ["flask.py"], "our-app==0": ["our_app.py"], "celery==5": ["celery.py"]}
    environment = environment_with(tmp_path / "site", files, **{"our-app": requires})
    write(project, {"app.py": "import flask, jinja2, celery\n"})
    installing_itself(project, extras="{'db': ['sqlalchemy'], **f()}", pipfile="flask = '*'\njinja2 = '*'\n")
    setup = "EXTRAS = {'db': ['sqlalchemy']}\nEXTRAS['web'] = f()\nsetup(name='Our_App', extras_require=EXTRAS, "
    write(project, {"setup.py": f"{setup}install_requires=['flask>=2', 'jinja2'])\n"})
    findings = check(read_project(project), environment).findings
    assert ("transitive", "celery", "pipenv install 'celery>=5,<6'") in [(e.kind, e.name, e.mend) for e in findings]
    assert {"yesterday", "odd"}.isdisjoint(each.name for each in findings)


def test_what_a_category_lacks_is_installed_by_its_name(project, tmp_path):
    write(project, {"Pipfile": f"{PIPFILE}\n[docs]\nsphinx = '*'\n", "docs/conf.py": "import sphinx\n"})
    write_lock(project, {"flask": "1.0"}, {"pytest": "1.0"})
    lock = json.loads((project / "Pipfile.lock").read_text())
    lock["docs"] = {"sphinx": {"version": "==2"}}
    (project / "Pipfile.lock").write_text(json.dumps(lock))
    only = the_finding(project, environment_with(tmp_path / "other", {"flask": ["flask.py"], "pytest": ["pytest.py"]}))
    assert (only.kind, only.mend) == ("not-installed", "pipenv sync --categories docs")
    make_dist(tmp_path / "other", "sphinx", "1", files=["sphinx.py"])
    only = the_finding(project, environment_with(tmp_path / "other", {}))
    assert (only.kind, only.mend) == ("version-installed", "pipenv sync --categories docs")


def test_what_a_repository_installs_goes_by_its_own_name(project, tmp_path):
    environment_with(tmp_path / "site", INSTALLED)
    origin = {"url": "https://host/x/Odd.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    make_dist(tmp_path / "site", "real-name", files=["real.py"], direct_url=origin)
    environment = environment_with(tmp_path / "site", {})
    write(
        project,
        {
            "Pipfile": PIPFILE.replace("\n\n", "\nodd = {git = 'https://host/x/Odd'}\n\n"),
            "app.py": "import flask, real\n",
        },
    )
    write_lock(project, {"flask": "1.0", "odd": "1"}, {"pytest": "1.0"})
    assert found(project, environment) == []


def test_a_folder_with_only_requirements_is_checked_and_says_so(tmp_path, capsys):
    write(
        tmp_path,
        {
            "requirements.txt": "flask\nDjango\n",
            "requirements-dev.txt": "-r requirements.txt\npytest\n",
            "app.py": "import flask, yaml, pytest\n",
            "tests/test_a.py": "import pytest, httpx\n",
        },
    )
    assert exit_status(["check", "--project", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert [line.split(". Mend: ")[1] for line in out.splitlines()] == [
        "write httpx into requirements-dev.txt",
        "write pyyaml into requirements.txt",
        "write pytest into requirements.txt",
        "remove it from requirements.txt",
    ]
    assert "no Pipfile, so its requirements.txt is taken" in err
    assert (
        f"no environment is active or below {tmp_path}; name one with --python; until then what is installed is not"
        in err
    )


@pytest.mark.parametrize("in_git", [True, False])
def test_requirements_in_a_folder_of_their_own_are_for_the_sources_above(tmp_path, capsys, in_git):
    write(
        tmp_path,
        {
            "requirements/prod.txt": "-r base.txt\nclick\n",
            "requirements/base.txt": "flask\n",
            "requirements/dev.txt": "pytest\n",
            "app/main.py": "import flask, yaml\n",
            "tests/test_a.py": "import pytest, httpx\n",
        },
    )
    if in_git:
        (tmp_path / ".git").mkdir()
    assert exit_status(["check", "--project", str(tmp_path / "requirements" / "prod.txt")]) == 1
    out, _ = capsys.readouterr()
    assert [(line.split(": ")[0], line.split(". Mend: ")[1]) for line in out.splitlines()] == [
        ("tests/test_a.py:1", "write httpx into requirements/dev.txt"),
        ("app/main.py:1", "write pyyaml into requirements/prod.txt"),
        ("requirements/prod.txt:2", "remove it from requirements/prod.txt"),
    ]
    site = environment_with(tmp_path / "site", {"pytest": ["pytest.py"], "click": ["click.py"]})
    project = read_project(tmp_path / "requirements" / "prod.txt")
    mends = [each.mend for each in check(project, site).findings if each.kind == "not-installed"]
    assert mends == ["pip install -r requirements/prod.txt"]


def test_a_named_file_beside_sources_is_for_them_and_one_without_for_the_repository(tmp_path):
    for name in ("api/requirements.txt", "deploy/prod.txt", "api/app/__init__.py", "lone.py"):
        write(tmp_path / "p", {name: ""})
    assert read_project(tmp_path / "p" / "deploy" / "prod.txt").folder == tmp_path / "p" / "deploy"
    (tmp_path / "p" / ".git").mkdir()
    assert read_project(tmp_path / "p" / "deploy" / "prod.txt").folder == tmp_path / "p"
    assert read_project(tmp_path / "p" / "api" / "requirements.txt").folder == tmp_path / "p" / "api"


def test_without_a_source_nothing_is_unused_and_that_is_said(tmp_path, capsys):
    write(tmp_path, {"requirements.txt": "flask\n"})
    assert exit_status(["check", "--project", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == "nothing found: 0 sources import 0 distributions\n"
    assert f"{tmp_path}: no source lies below it, so what is used is not known; name the folder of the project" in err


def test_a_folder_with_only_requirements_may_have_an_environment_beside(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    site = make_venv(tmp_path / ".venv")
    environment_with(site, {"flask": ["flask.py"]})
    write(tmp_path, {"requirements.txt": "flask\n", "app.py": "import flask\n"})
    assert exit_status(["check", "--project", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == "nothing found: 1 sources import 1 distributions\n"
    assert "no environment" not in err


def test_without_an_environment_it_says_so_and_goes_on(project, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("WORKON_HOME", str(tmp_path / "none"))
    write(project, {"app.py": "import flask, yaml\n"})
    assert exit_status(["check", "--project", str(project)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("app.py:1: undeclared: pyyaml: ")
    assert "no pipenv environment at " in err
    assert "; make it: pipenv sync --dev; until then what is installed is not looked at" in err


def test_an_environment_that_cannot_be_asked_is_read_as_it_lies(project, capsys, monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    site = make_venv(project / ".venv")
    environment_with(site, INSTALLED, flask=["werkzeug"])
    (project / ".venv" / "bin" / "python").unlink()
    make_program(project / ".venv" / "bin" / "python", "exit 3")
    monkeypatch.setenv("PIPENV_VENV_IN_PROJECT", "1")
    write(project, {"app.py": "import flask, werkzeug\n"})
    assert exit_status(["check", "--project", str(project)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(
        "app.py:1: transitive: werkzeug: it is imported and not declared; only flask brings it. Mend:"
    )
    assert "ended with status 3" in err


def test_an_active_environment_is_that_of_a_folder_with_only_requirements(tmp_path, capsys, monkeypatch):
    environment_with(make_venv(tmp_path / "active"), {"flask": ["flask.py"]})
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    write(tmp_path / "p", {"requirements.txt": "flask\nclick\n", "app.py": "import flask, click\n"})
    assert exit_status(["check", "--project", str(tmp_path / "p")]) == 0
    only = "requirements.txt:2: not-installed: click: it is declared, and not in the environment"
    assert capsys.readouterr().out.startswith(f"{only} {tmp_path}/active. Mend: pip install -r requirements.txt")


def test_json_holds_the_same(project, capsys, monkeypatch, tmp_path):
    site = make_venv(tmp_path / "venv")
    environment_with(site, INSTALLED)
    write(project, {"app.py": "import flask, yaml\n"})
    arguments = ["check", "--project", str(project), "--python", str(tmp_path / "venv"), "--python", "/gone", "--json"]
    assert exit_status(arguments) == 1
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert (data["environment"], data["sources"]) == (str(tmp_path / "venv"), 2)
    (only,) = data["findings"]
    assert only.keys() == {"kind", "name", "file", "line", "sentence", "mend", "breaks_ci"}
    assert (only["file"], only["line"], only["breaks_ci"]) == (str(project / "app.py"), 1, True)
    assert "only the first --python is looked at" in err


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"Pipfile": "[packages\n"}, "Pipfile: wanted TOML"),
        (
            {"pyproject.toml": "x = " + "[" * 5000},
            "pyproject.toml: wanted TOML, found values that are nested too deeply",
        ),
        ({"pyproject.toml": "[tool.csci_utils.deps]\nx = 1\n"}, "pyproject.toml: wanted development, package"),
    ],
)
def test_bad_input_is_one_line_and_status_2(project, capsys, files, sentence):
    assert exit_status(["check", "--project", str(write(project, files))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err.splitlines()[-1]


IMPORTS = {
    "aimmo": "import aimmo, django_autoconfig, kubernetes.client, eventlet, docker\n",
    "misp-modules": "import numpy, dns.resolver, requests, pymisp, yara, PIL.Image, SPARQLWrapper, jinja2, pyonyphe\n",
    "paperless-ngx": "import django.db, PIL, sklearn, whoosh, fuzzywuzzy, uvicorn, pdfminer.high_level, click\n"
    "import django_q\nfrom backports import zoneinfo\n",
    "pipenv": "",
    "pymisp": "import pymisp, pydeep\n",
}


@pytest.mark.parametrize("name", PUBLIC)
def test_what_public_projects_import_is_known_by_name(name, tmp_path):
    """Their locks hold some of their entries; each that lacks is found, and nothing else but what nothing imports."""
    for file in ("Pipfile", "Pipfile.lock"):
        write(tmp_path, {file: (PROJECTS / name / file).read_bytes()})
    write(tmp_path, {"app.py": IMPORTS[name], "tests/test_app.py": "import pytest\n" if name != "pymisp" else ""})
    project = read_project(tmp_path)
    lacking = {("stale-lock", each.name) for each in project.declared if not project.locked(each.name)}
    others = set(found(tmp_path)) - lacking
    assert set(found(tmp_path)) >= lacking
    assert {kind for kind, _ in others} <= {"unused"}


def test_help_says_what_breaks_ci(capsys):
    assert exit_status(["check", "--help"]) == 0
    out = capsys.readouterr().out
    breaking, told = out.split("Told as well, and no reason for status 1:")
    assert "undeclared " in breaking
    assert "unused " in told
