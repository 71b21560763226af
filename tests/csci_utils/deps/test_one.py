"""All about one name: by any spelling, in every place, and whether it agrees."""

from __future__ import annotations

import json
import shutil

import pytest

from csci_utils.deps.cli import exit_status
from csci_utils.deps.pipfile import digests, read_pipfile
from tests.csci_utils.deps.conftest import site_of
from tests.csci_utils.deps.making import PROJECTS, PUBLIC, make_conda, make_dist, make_venv

LOCKED = {"pyyaml": "6.0.1", "flask": "3.0", "six": "1.16"}


def lock(project, **versions):
    """A lock that is in step with the Pipfile."""
    entries = {name: {"version": f"=={version}", "hashes": ["sha256:0"]} for name, version in versions.items()}
    entries["ours"] = {"path": ".", "editable": True}
    meta = {"hash": {"sha256": digests(read_pipfile(project / "Pipfile"))[0]}, "pipfile-spec": 6, "requires": {}}
    data = {"_meta": meta, "default": entries, "develop": {"pytest": {"version": "==8.0"}}}
    (project / "Pipfile.lock").write_text(json.dumps(data))


def behind(project):
    """A folder of distributions that the project's environment looks into last."""
    (site_of(project / ".venv") / "behind.pth").write_text(f"{project}-behind\n")
    return project.with_name("project-behind")


@pytest.fixture
def app(world):
    """A project in which all is well: imports, Pipfile, lock and environment."""
    project = world / "project"
    (project / "setup.py").write_text('from setuptools import setup\nsetup(name="ours", install_requires=["six"])\n')
    (project / "app.py").write_text("import flask\n\nimport yaml\n")
    (project / "tests").mkdir()
    (project / "tests" / "test_app.py").write_text("import pytest\nfrom yaml import nodes\n")
    site = site_of(project / ".venv")
    make_dist(site, "PyYAML", "6.0.1", files=["yaml/__init__.py", "_yaml/__init__.py"])
    make_dist(site, "Flask", "3.0", requires=["pyyaml>=5", 'six; extra == "old"'], files=["flask/__init__.py"])
    make_dist(site, "pytest", "8.0", files=["pytest/__init__.py"])
    make_dist(site, "ours", "1", direct_url={"url": f"file://{project}", "dir_info": {"editable": True}})
    make_dist(site_of(world / "main"), "pyyaml", "5.4", files=["yaml/__init__.py"])
    lock(project, **LOCKED)
    return project


def told(capsys, *arguments, status=0):
    assert exit_status(["one", "--json", *arguments]) == status
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "spelling", ["PyYAML", "pyyaml", "PYYAML", " pyyaml[extra]", "yaml", "_yaml", "yaml.nodes", "Yaml"]
)
def test_a_name_is_found_by_any_spelling_and_by_what_is_imported(app, capsys, spelling):
    assert told(capsys, spelling)["name"] == "pyyaml"


@pytest.mark.parametrize("module", ["there", "there.below", "shared", "shared.part.more", "THERE"])
def test_a_module_that_only_another_environment_has_is_found(app, world, capsys, module):
    make_dist(site_of(world / "main"), "Main-Only", files=["there/__init__.py", "shared/part/__init__.py"])
    assert told(capsys, module)["name"] == "main-only"


@pytest.mark.parametrize("name", ["locked-only", "wanted-only"])
def test_a_name_that_is_only_locked_or_only_wanted_by_the_package_is_found(app, capsys, name):
    lock(app, **LOCKED, **{"locked-only": "1"})
    (app / "setup.py").write_text(
        'from setuptools import setup\nsetup(name="ours", install_requires=["wanted-only"])\n'
    )
    assert told(capsys, name)["name"] == name


def test_modules_are_those_of_what_python_finds_first(app, capsys):
    site = site_of(app / ".venv")
    make_dist(site, "zmq-of-old", "1")
    make_dist(behind(app), "zmq-of-old", "2", files=["wrong.py"])
    assert told(capsys, "zmq-of-old")["modules"] == ["zmq_of_old"]


def test_all_places_are_told(app, world, capsys):
    answer = told(capsys, "yaml")
    assert (answer["spelled"], answer["modules"]) == ("pyyaml", ["yaml"])
    (declared,) = answer["declared"]
    assert (declared["file"], declared["line"], declared["section"], declared["specifier"]) == (
        str(app / "Pipfile"),
        2,
        "packages",
        ">=6",
    )
    assert [(each["section"], each["version"]) for each in answer["locked"]] == [("default", "6.0.1")]
    installed = [(each["environment"], each["distribution"]["version"]) for each in answer["installed"]]
    assert installed == [("main", "5.4"), ("pipenv", "6.0.1")]
    assert answer["installed"][1]["distribution"]["path"] == str(site_of(app / ".venv") / "PyYAML-6.0.1.dist-info")
    (requirer,) = answer["required_by"]
    assert requirer == {
        "environment": "pipenv",
        "name": "Flask",
        "version": "3.0",
        "required": ">=5",
        "by_extras": [],
        "state": "ok",
    }
    assert [(each["file"], each["line"], each["module"], each["part"]) for each in answer["imported"]] == [
        (str(app / "app.py"), 3, "yaml", "package"),
        (str(app / "tests" / "test_app.py"), 2, "yaml", "development"),
    ]
    assert answer["findings"] == []


def test_people_read_the_same(app, capsys):
    assert exit_status(["one", "yaml"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["pyyaml"]
    assert ["declared", "Pipfile:2", "[packages]", ">=6"] in lines
    assert ["locked", "[default]", "6.0.1"] in lines
    assert ["required", "by", "pipenv", "Flask", "3.0", "wants", ">=5", "ok"] in lines
    assert ["imported", "app.py:3", "yaml", "package"] in lines
    assert lines[-1] == ["check", "nothing", "found"]
    assert err == ""


def test_what_only_an_extra_brings_is_said(app, capsys):
    make_dist(site_of(app / ".venv"), "six", "1.16", files=["six.py"])
    make_dist(site_of(app / ".venv"), "asker", requires=["flask[old]"])
    requirers = [each for each in told(capsys, "six")["required_by"] if each["environment"] == "pipenv"]
    assert [(each["name"], each["by_extras"]) for each in requirers] == [("Flask", ["old"])]


def test_what_the_package_itself_requires_is_told(app, capsys):
    answer = told(capsys, "six")
    assert answer["declared"] == []
    assert (answer["own"]["file"], answer["own"]["line"]) == (str(app / "setup.py"), 2)
    assert exit_status(["one", "six"]) == 0
    assert "setup.py:2  the package's own  *" in capsys.readouterr().out


def test_what_only_the_installed_metadata_says_has_no_line(app, capsys):
    (app / "setup.py").write_text(
        'from setuptools import setup\nsetup(name="ours", install_requires=[f"{chr(115)}ix"])\n'
    )
    make_dist(site_of(app / ".venv"), "more", requires=[])
    metadata = site_of(app / ".venv") / "ours-1.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\nRequires-Dist: six>1\n")
    assert exit_status(["one", "six"]) == 0
    assert "setup.py  the package's own  >1" in capsys.readouterr().out


def test_an_editable_one_and_what_lies_hidden_are_told(app, capsys):
    assert exit_status(["one", "ours"]) == 0
    out = capsys.readouterr().out
    assert f"editable, from {app}" in out
    assert "Pipfile:4  [packages]  path .  editable" in out
    make_dist(behind(app), "pyyaml", "5.0")
    assert exit_status(["one", "pyyaml"]) == 0
    assert f"hidden by {site_of(app / '.venv')}/PyYAML-6.0.1.dist-info" in capsys.readouterr().out


def test_a_lock_with_another_version_breaks_ci(app, capsys):
    lock(app, **LOCKED | {"pyyaml": "5.9"})
    answer = told(capsys, "PyYAML", status=1)
    assert [each["kind"] for each in answer["findings"]] == ["version-locked", "version-installed"]
    assert exit_status(["one", "PyYAML"]) == 1
    assert "version-locked: >=6 is declared, and the lock has 5.9. Mend: pipenv lock" in capsys.readouterr().out
    assert told(capsys, "flask")["findings"] == []


def test_what_is_imported_and_not_declared_breaks_ci(app, capsys):
    (app / "more.py").write_text("import requests\n")
    answer = told(capsys, "requests", status=1)
    assert (answer["declared"], answer["locked"], answer["installed"]) == ([], [], [])
    assert [(each["kind"], each["line"]) for each in answer["findings"]] == [("undeclared", 1)]


def test_another_version_in_the_environment_is_said_and_breaks_no_ci(app, capsys):
    lock(app, **LOCKED | {"pyyaml": "6.0.2"})
    assert [each["kind"] for each in told(capsys, "yaml")["findings"]] == ["version-installed"]


def test_a_name_that_is_nowhere_is_status_1_with_near_names(app, capsys):
    assert exit_status(["one", "flaks"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        err
        == "csci_utils.deps: 'flaks' is declared, locked, installed, required and imported nowhere; near it: flask\n"
    )
    assert told(capsys, "pyyam", status=1) == {"name": None, "near": ["pyyaml"]}


@pytest.mark.parametrize("name", ["", "   ", "!", "\x1b[31m\n", "zzzzzz", "os", "a" * 5000])
def test_a_name_that_is_like_none_is_one_line(app, capsys, name):
    assert exit_status(["one", name]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("nowhere; see what there is: table")
    assert "\x1b" not in line


def test_a_namespace_that_several_share_is_ambiguous(app, capsys):
    site = site_of(app / ".venv")
    make_dist(site, "google-storage", files=["google/storage/__init__.py"])
    make_dist(site, "google-auth", files=["google/auth/__init__.py"])
    assert exit_status(["one", "google"]) == 2
    assert (
        "error: google: wanted one distribution, found 2: google-auth, google-storage; name one"
        in capsys.readouterr().err
    )
    assert told(capsys, "google.auth.more")["name"] == "google-auth"


def test_what_is_required_and_not_there_is_no_unknown_name(app, capsys):
    make_dist(site_of(app / ".venv"), "asker", requires=["lacking>2"])
    answer = told(capsys, "lacking")
    assert [(each["name"], each["required"], each["state"]) for each in answer["required_by"]] == [
        ("asker", ">2", "missing")
    ]


def test_conda_counts_as_installed(app, world, capsys, monkeypatch):
    monkeypatch.setenv("CONDA_PREFIX", str(make_conda(world / "tools", "openssl-3.0-h1_0")))
    answer = told(capsys, "OpenSSL")
    assert [(each["environment"], each["distribution"]["version"]) for each in answer["installed"]] == [
        ("conda:tools", "3.0")
    ]


@pytest.mark.parametrize("other", [".venv", ".venv/bin/python", "../main", "../other"])
def test_it_is_compared_with_what_is_named_by_whatever_name(app, world, capsys, other):
    """The project's own environment and the main one are read once, and known by the names that they have."""
    make_venv(world / "other")
    status = exit_status(["one", "flask", "--json", "--python", str(app / other)])
    answer = json.loads(capsys.readouterr().out)
    lacking = "venv" not in other
    assert (status, "not-installed" in {each["kind"] for each in answer["findings"]}) == (0, lacking)
    assert [each["environment"] for each in answer["installed"]] == ["pipenv"]


def test_no_password_is_shown(app, capsys):
    pipfile = app / "Pipfile"
    pipfile.write_text(pipfile.read_text() + 'x = {git = "https://me:secret@host/x.git", ref = "abc"}\n')
    data = json.loads((app / "Pipfile.lock").read_text())
    data["default"]["x"] = {"git": "https://me:secret@host/x.git", "ref": "abc"}
    (app / "Pipfile.lock").write_text(json.dumps(data))
    source = {"url": "https://me:secret@host/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    make_dist(site_of(app / ".venv"), "x", direct_url=source)
    for more in ([], ["--json"]):
        assert exit_status(["one", "x", *more]) == 1  # the lock is out of step
        out = capsys.readouterr().out
        assert "secret" not in out
        assert "https://***@host/x.git" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_every_entry_of_public_projects_is_found(name, world, capsys):
    entries = read_pipfile(PROJECTS / name / "Pipfile").declared
    for entry in (entries[0], entries[-1], *(each for each in entries if each.source == "git")):
        exit_status(["one", "--json", "--project", str(PROJECTS / name), entry.spelled])
        answer = json.loads(capsys.readouterr().out)
        assert (answer["name"], answer["declared"][0]["line"]) == (entry.name, entry.line)


def test_a_folder_with_only_requirements_is_looked_at(world, capsys):
    project = shutil.copytree(PROJECTS / "requirements-only", world / "only")
    (project / "app.py").write_text("import requests\n")
    make_dist(make_venv(project / ".venv"), "requests", "2.31.0", files=["requests/__init__.py"])
    answer = told(capsys, "--project", str(project), "requests")
    assert answer["declared"][0]["section"] == "requirements"
    assert [each["line"] for each in answer["imported"]] == [1]
    assert [each["distribution"]["version"] for each in answer["installed"]] == ["2.31.0"]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("Pipfile", "[packages\n", "Pipfile: wanted TOML"),
        ("pyproject.toml", "[tool.csci_utils.deps]\nexceptions = 3\n", "pyproject.toml"),
    ],
    ids=["pipfile", "settings"],
)
def test_a_project_that_cannot_be_read_is_one_sentence(app, capsys, file, text, sentence):
    (app / file).write_text(text)
    assert exit_status(["one", "yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("error:") == 1


def test_broken_sources_metadata_and_locks_are_no_hindrance(app, capsys):
    (app / "broken.py").write_bytes(b"import yaml\n\xff\xfe def\n")
    (site_of(app / ".venv") / "hollow-3.0.dist-info").mkdir()
    (app / "Pipfile.lock").write_text("{")
    answer = told(capsys, "yaml")
    assert answer["locked"] == []
    assert [each["line"] for each in answer["imported"]] == [3, 2]
    assert told(capsys, "hollow")["installed"][0]["distribution"]["version"] == "3.0"
