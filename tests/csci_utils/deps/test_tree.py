"""The tree on the command line: of environments and of locks, down and up, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from csci_utils.deps import environments, probe
from csci_utils.deps.cli import exit_status
from tests.csci_utils.deps.asking import ask_in_memory
from tests.csci_utils.deps.making import BASE_PYTHON, PROJECTS, PUBLIC, make_dist, make_program, make_venv


@pytest.fixture
def home(tmp_path, monkeypatch, nothing_started):
    """No environment but what a test makes; its project is the current folder."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(BASE_PYTHON.parent))
    for name in ("VIRTUAL_ENV", "WORKON_HOME", "PIPENV_PIPFILE", "PIPENV_VENV_IN_PROJECT", "CONDA_PREFIX", "CONDA_EXE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def project(home):
    """A project with a Pipfile, a lock and an environment in which something of everything is wrong."""
    (home / "project" / "Pipfile").write_text('[packages]\napp = "*"\nweb = {extras = ["Fast"], version = "*"}\n')
    site = make_venv(home / "project" / ".venv")
    make_dist(site, "app", "1.0", requires=["WEB[fast]>=2", "log<2", "gone>=1", "win ; sys_platform == 'win32'"])
    make_dist(site, "web", "1.5", requires=["log", "speed ; extra == 'fast'", "never ; extra == 'slow'"])
    make_dist(site, "log", "1.1", requires=["core"])
    make_dist(site, "core", "1.0", requires=["log", "Oops!!"])
    make_dist(site, "speed", "3.0", requires=["log"])
    return home / "project"


def write_lock(folder, default, develop=None):
    meta = {"hash": {"sha256": "0"}, "pipfile-spec": 6, "requires": {}, "sources": []}
    (folder / "Pipfile.lock").write_text(json.dumps({"_meta": meta, "default": default, "develop": develop or {}}))


def tree(capsys, *arguments, status=0):
    assert exit_status(["tree", *map(str, arguments)]) == status
    out, err = capsys.readouterr()
    return out.splitlines(), err


def test_the_tree_goes_down_from_what_nothing_requires(project, capsys):
    lines, err = tree(capsys)
    assert lines == [
        "app 1.0 (Pipfile: packages)",
        "|-- gone - (>=1) ! missing",
        "|-- log 1.1 (<2)",
        "|   `-- core 1.0 (any)",
        "|       `-- log 1.1 (any) ! circular",
        "`-- web[fast] 1.5 (>=2) ! conflict",
        "    |-- log 1.1 (any) (above)",
        "    `-- speed 3.0 (any, by extra fast)",
        "        `-- log 1.1 (any) (above)",
    ]
    assert err == "csci_utils.deps: core: its requirement 'Oops!!' cannot be read and is left out\n"


def test_only_what_is_named_may_be_asked_for_in_any_spelling(project, capsys):
    assert tree(capsys, "WEB") == (
        ["web 1.5 (Pipfile: packages)", "`-- log 1.1 (any)", "    `-- core 1.0 (any)"]
        + ["        `-- log 1.1 (any) ! circular"],
        "csci_utils.deps: core: its requirement 'Oops!!' cannot be read and is left out\n",
    )
    lines, _ = tree(capsys, "web[FAST]", "speed", "--depth", "1")
    assert lines == [
        "web[fast] 1.5 (Pipfile: packages)",
        "|-- log 1.1 (any)",
        "`-- speed 3.0 (any, by extra fast)",
        "speed 3.0",
        "`-- log 1.1 (any)",
    ]


def test_why_goes_up_to_what_nothing_requires(project, capsys):
    lines, _ = tree(capsys, "--why", "Speed")
    assert lines == [
        "speed 3.0",
        "`-- web[fast] 1.5 (wants speed any) (Pipfile: packages)",
        "    `-- app 1.0 (wants web[fast] >=2) (Pipfile: packages) ! conflict",
    ]
    lines, _ = tree(capsys, "--why", "gone")
    assert lines == ["gone -", "`-- app 1.0 (wants gone >=1) (Pipfile: packages) ! missing"]


def test_why_follows_an_extra_to_those_only_who_ask_for_it(project, capsys):
    (site,) = (project / ".venv" / "lib").glob("*/site-packages")
    make_dist(site, "plain", requires=["web"])
    assert not [line for line in tree(capsys, "--why", "speed")[0] if "plain" in line]
    assert not [line for line in tree(capsys, "--why", "web[fast]")[0] if "plain" in line]
    assert [line for line in tree(capsys, "--why", "web")[0] if "plain" in line]


def test_why_shows_a_circle_once(project, capsys):
    lines, _ = tree(capsys, "--why", "core")
    assert lines[:3] == [
        "core 1.0",
        "`-- log 1.1 (wants core any)",
        "    |-- app 1.0 (wants log <2) (Pipfile: packages)",
    ]
    assert [line for line in lines if "circular" in line] == ["    |-- core 1.0 (wants log any) ! circular"]


@pytest.mark.parametrize(("depth", "lines"), [(0, 1), (1, 4), (2, 7)])
def test_depth_ends_the_tree(project, capsys, depth, lines):
    assert len(tree(capsys, "--depth", depth)[0]) == lines


def test_a_subtree_that_the_depth_cut_short_is_shown_where_there_is_room(home, capsys):
    site = make_venv(home / "env")
    for name, requires in {"a": ["b", "d"], "b": ["c"], "c": ["d"], "d": ["e"], "e": ["f"], "f": []}.items():
        make_dist(site, name, requires=requires)
    lines, _ = tree(capsys, "--python", home / "env", "--depth", "3")
    assert [line.split()[-3:-1] for line in lines if " e " in line] == [["e", "1.0"]]


def test_json_is_the_graph(project, capsys):
    lines, _ = tree(capsys, "--json")
    found = json.loads("\n".join(lines))
    assert found["of"] == "environment"
    assert found["environment"]["kind"] == "pipenv"
    assert found["tops"] == ["app"]
    nodes = {node["name"]: node for node in found["nodes"]}
    assert list(nodes) == ["app", "core", "gone", "log", "speed", "web"]
    assert (nodes["gone"]["missing"], nodes["gone"]["version"], nodes["web"]["extras"]) == (True, None, ["fast"])
    assert nodes["core"]["problems"] == ["its requirement 'Oops!!' cannot be read and is left out"]
    edges = {(edge["source"], edge["target"]): edge for edge in found["edges"]}
    assert len(edges) == 8
    assert edges["app", "web"] == {
        "source": "app",
        "target": "web",
        "required": ">=2",
        "installed": "1.5",
        "state": "conflict",
        "extras": ["fast"],
        "by_extras": [],
        "marker": None,
        "cycle": False,
    }
    assert edges["core", "log"]["cycle"]
    assert edges["web", "speed"]["by_extras"] == ["fast"]
    assert edges["app", "gone"]["state"] == "missing"


def test_json_holds_what_is_asked_for_and_no_more(project, capsys):
    found = json.loads("\n".join(tree(capsys, "--json", "--why", "speed")[0]))
    assert [node["name"] for node in found["nodes"]] == ["app", "speed", "web"]
    assert [(edge["source"], edge["target"]) for edge in found["edges"]] == [("app", "web"), ("web", "speed")]


def test_the_order_is_that_of_names_whatever_the_folder_says(home, capsys):
    answers = []
    for turn in (1, -1):
        site = make_venv(home / f"env{turn}")
        for name in ["b", "a", "c"][::turn]:
            make_dist(site, name, requires=["z", "y", "d<2", "d>1"][::turn])
        answers.append(tree(capsys, "--python", home / f"env{turn}")[0])
    assert answers[0] == answers[1]
    assert [line.split()[1] for line in answers[0][:5]] == ["1.0", "d", "d", "y", "z"]


@pytest.mark.slow
def test_a_chain_longer_than_the_stack_is_shown(home, capsys, monkeypatch):
    make_venv(home / "env")
    fields = [{"Name": [f"n{n:04}"], "Version": ["1"], "Requires-Dist": [f"n{n + 1:04}"]} for n in range(1100)]
    links = [probe.entry(each, path=f"/env/{each['Name'][0]}", folder="/env", site="env") for each in fields]
    monkeypatch.setattr(
        environments, "ask", lambda python, **rest: {**ask_in_memory(python, **rest), "distributions": links}
    )
    lines, _ = tree(capsys, "--python", home / "env")
    assert len(lines) == 1101
    assert lines[-1].endswith("`-- n1100 - (any) ! missing")
    assert len(tree(capsys, "--python", home / "env", "--why", "n1100")[0]) == 1101


def test_broken_and_doubled_metadata_stand_in_the_tree(home, capsys):
    site = make_venv(home / "env")
    make_dist(site, "app", requires=["broken>=1", "double"])
    (site / "broken-2.0.dist-info").mkdir()
    make_dist(site, "double", "1.0")
    make_dist(site, "Double", "2.0", folder="Double-2.0.dist-info")
    lines, err = tree(capsys, "--python", home / "env")
    assert lines[:2] == ["app 1.0", "|-- broken 2.0 (>=1)"]
    assert len([line for line in lines if "ouble" in line]) == 1
    assert "broken: " in err
    assert "more than one metadata folder has its name" in err


def test_a_folder_without_an_interpreter_says_what_markers_are_compared_with(home, capsys):
    (home / "folder").mkdir()
    make_dist(home / "folder", "app", requires=["old ; python_version < '3'", "new ; python_version >= '3'"])
    lines, err = tree(capsys, "--python", home / "folder")
    assert lines == ["app 1.0", "`-- new - (any) ! missing"]
    assert "no interpreter to ask, so markers are compared with Python 3" in err


def test_the_folder_of_an_old_environment_tells_the_version_of_its_python(home, capsys):
    site = home / "env" / "lib" / "python2.7" / "site-packages"
    site.mkdir(parents=True)
    make_dist(site, "app", requires=["old ; python_version < '3'", "new ; python_version >= '3'"])
    lines, err = tree(capsys, "--python", home / "env")
    assert lines == ["app 1.0", "`-- old - (any) ! missing"]
    assert "markers are compared with Python 2.7 on" in err


def test_python_goes_before_the_project_and_the_project_before_main(project, home, capsys):
    make_dist(make_venv(home / "other"), "elsewhere")
    assert tree(capsys, "--python", home / "other")[0] == ["elsewhere 1.0"]
    assert tree(capsys)[0][0].startswith("app")


def test_without_an_environment_main_is_taken_and_said(project, home, capsys, monkeypatch):
    (project / ".venv").rename(home / "main")
    make_program(home / "bin" / "python3", f'exec {home}/main/bin/python "$@"')
    monkeypatch.setenv("PATH", str(home / "bin"))
    lines, err = tree(capsys)
    assert lines[0] == "app 1.0"
    assert "no pipenv environment at" in err
    assert err.splitlines()[0].endswith("; this is main")


HINT = "name the project's folder with --project"


def test_without_a_project_main_is_taken(home, capsys, monkeypatch):
    make_dist(make_venv(home / "main"), "alone")
    make_program(home / "bin" / "python3", f'exec {home}/main/bin/python "$@"')
    monkeypatch.setenv("PATH", str(home / "bin"))
    lines, err = tree(capsys)
    assert lines == ["alone 1.0"]
    assert err.endswith(f"{home}/project: wanted a Pipfile or a requirements.txt, found neither; {HINT}\n")


@pytest.mark.slow
def test_a_broken_pipfile_is_said_and_main_is_taken(project, capsys):
    (project / "Pipfile").write_text("[packages")
    _, err = tree(capsys)
    assert "wanted TOML" in err
    assert "until then its pipenv environment cannot be found" in err
    _, err = tree(capsys, "--lock", status=2)
    assert "wanted TOML" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "wanted a name in pipenv, found no 'nothing'; see what there is: tree --depth 0"),
        (["lig"], "found no 'lig'; did you mean log?"),
        (["--why", "web["], "found no 'web['"),
        (["web", "--why", "log"], "wanted names to go down from or --why to go up from, found both"),
        (["--python", "/a", "--python", "/b"], "wanted one --python, found 2"),
        (["--python", "/gone"], "/gone: wanted an interpreter or a folder, found nothing"),
        (["--depth", "-1"], "Invalid value for '--depth'"),
        (["--lock"], "Pipfile.lock: wanted a lock, found none; make it: pipenv lock"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(project, capsys, arguments, sentence):
    lines, err = tree(capsys, *arguments, status=2)
    assert lines == []
    assert sentence in err.splitlines()[-1]


@pytest.mark.slow
def test_an_interpreter_that_hangs_is_one_sentence(home, capsys):
    program = make_program(home / "python", "exec /bin/sleep 60")
    _, err = tree(capsys, "--timeout", "0.1", "--python", program, status=2)
    assert "wanted an answer in 0.1 s" in err


def test_a_lock_has_the_requirements_of_what_is_installed_at_its_versions(project, capsys):
    write_lock(
        project,
        {
            "app": {"version": "==1.0"},
            "web": {"version": "==1.5.0", "extras": ["fast"]},
            "log": {"version": "==1.2"},
            "win": {"version": "==1", "markers": "sys_platform == 'win32'"},
            "speed": {"version": "==3.0"},
        },
        {"gone": {"version": "==1.0"}},
    )
    lines, err = tree(capsys, "--lock")
    assert lines == [
        "app 1.0 (Pipfile: packages)",
        "|-- gone 1.0 (>=1) (requirements unknown)",
        "|-- log 1.2 (<2) (requirements unknown)",
        "`-- web[fast] 1.5.0 (>=2) ! conflict",
        "    |-- log 1.2 (any) (requirements unknown)",
        "    `-- speed 3.0 (any, by extra fast)",
        "        `-- log 1.2 (any) (requirements unknown)",
    ]
    assert err.splitlines() == [
        "csci_utils.deps: left out, since their markers are false here: win",
        "csci_utils.deps: a lock names no requirements, and those of 2 entries are not known, since pipenv has other "
        "versions or none (gone, log); install what is locked: pipenv sync --dev",
    ]


def test_what_a_lock_lacks_is_missing(project, capsys):
    write_lock(project, {"app": {"version": "==1.0"}})
    lines, _ = tree(capsys, "--lock")
    assert lines[1:] == [
        "|-- gone - (>=1) ! missing",
        "|-- log - (<2) ! missing",
        "`-- WEB[fast] - (>=2) ! missing",
    ]


def test_a_locked_repository_is_known_by_its_commit(project, capsys):
    (site,) = (project / ".venv" / "lib").glob("*/site-packages")
    origin = {"url": "https://host.invalid/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    make_dist(site, "repo", "0.1", requires=["log"], direct_url=origin)
    for ref, known in (("abc", True), ("def", False)):
        write_lock(project, {"repo": {"git": "https://host.invalid/x.git", "ref": ref}})
        found = json.loads("\n".join(tree(capsys, "--lock", "--json")[0]))
        (repo,) = (node for node in found["nodes"] if node["name"] == "repo")
        assert (repo["known"], found["of"]) == (known, "lock")


@pytest.mark.parametrize("name", PUBLIC)
def test_the_locks_of_public_projects_have_a_tree(home, capsys, name, monkeypatch):
    make_dist(make_venv(home / "main"), "six", "1.12.0")
    make_program(home / "bin" / "python3", f'exec {home}/main/bin/python "$@"')
    monkeypatch.setenv("PATH", str(home / "bin"))
    lines, err = tree(capsys, "--project", PROJECTS / name, "--lock")
    assert len(lines) >= 4
    assert "a lock names no requirements" in err


def test_a_folder_with_requirements_only_has_a_tree_of_main_and_no_lock(home, capsys, monkeypatch):
    make_dist(make_venv(home / "main"), "six")
    make_program(home / "bin" / "python3", f'exec {home}/main/bin/python "$@"')
    monkeypatch.setenv("PATH", str(home / "bin"))
    lines, err = tree(capsys, "--project", PROJECTS / "requirements-only")
    assert lines == ["six 1.0"]
    assert "no Pipfile, so its requirements.txt is taken" in err
    _, err = tree(capsys, "--project", PROJECTS / "requirements-only", "--lock", status=2)
    assert "wanted a lock, found no Pipfile" in err
