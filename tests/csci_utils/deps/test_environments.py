"""Environments: which are found, what lies in each, and what hides what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from csci_utils.deps.cli import exit_status
from csci_utils.deps.environments import read_environment, read_environments
from csci_utils.deps.errors import InterpreterError
from csci_utils.deps.facts import Origin
from csci_utils.deps.places import Place, find_places, own_place, place_of
from csci_utils.deps.project import find_project, read_project
from tests.conftest import REPO
from tests.csci_utils.deps.conftest import site_of
from tests.csci_utils.deps.making import BASE_PYTHON, PROJECTS, PUBLIC, make_conda, make_dist, make_program, make_venv
from tests.processes import is_running


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Pipfile").write_text("[packages]\n")
    return read_project(tmp_path / "project")


def labels(places):
    return [(each.label, each.kind) for each in places]


def test_the_main_interpreter_is_the_one_on_the_path_outside_of_virtual_environments(tmp_path):
    make_venv(tmp_path / "active")
    (tmp_path / "active" / "bin" / "python3").symlink_to("python")
    program = make_program(tmp_path / "usr" / "bin" / "python3", "")
    path = f"{tmp_path / 'active' / 'bin'}:{program.parent}"
    places, _ = find_places(None, environ={"PATH": path, "HOME": str(tmp_path)})
    assert [each.python for each in places] == [program]


def test_without_one_it_is_what_this_interpreter_was_made_from(tmp_path):
    places, _ = find_places(None, environ={"PATH": "", "HOME": str(tmp_path)})
    assert [each.python.resolve() for each in places] == [BASE_PYTHON]


def test_all_kinds_are_found_in_their_order(tmp_path, project):
    environ = {"PATH": str(BASE_PYTHON.parent), "HOME": str(tmp_path), "CONDA_PREFIX": str(tmp_path / "c")}
    make_venv(project.folder / ".venv")
    make_conda(tmp_path / "c")
    make_venv(tmp_path / "other")
    (tmp_path / "folder").mkdir()
    named = [str(tmp_path / "other"), str(tmp_path / "folder")]
    places, remarks = find_places(project, named=named, environ=environ)
    assert labels(places) == [
        ("main", "main"),
        ("pipenv", "pipenv"),
        ("conda:c", "conda"),
        (named[0], "python"),
        (named[1], "folder"),
    ]
    assert remarks == []


def test_a_missing_pipenv_environment_is_said(tmp_path, project):
    _, remarks = find_places(
        project, environ={"PATH": str(BASE_PYTHON.parent), "HOME": str(tmp_path), "WORKON_HOME": "/gone"}
    )
    (remark,) = remarks
    assert remark.startswith("no pipenv environment at /gone/project-")
    requirements = read_project(PROJECTS / "requirements-only")
    _, remarks = find_places(requirements, environ={"PATH": str(BASE_PYTHON.parent), "HOME": str(tmp_path)})
    assert "requirements-only; name one with --python" in remarks[0]


def test_an_active_environment_that_pipenv_would_take_is_said(tmp_path, project):
    make_venv(project.folder / ".venv")
    make_venv(tmp_path / "active")
    environ = {"HOME": str(tmp_path), "VIRTUAL_ENV": str(tmp_path / "active")}
    place, (remark,) = own_place(project, environ=environ)
    assert place.folder == tmp_path / "active"
    assert remark == (
        f"pipenv takes the active environment {tmp_path}/active for the one of {project.folder}, which would be "
        f"{project.folder}/.venv; to see that one: deactivate, or PIPENV_IGNORE_VIRTUALENVS=1"
    )
    for quiet in ({"PIPENV_IGNORE_VIRTUALENVS": "1"}, {"VIRTUAL_ENV": str(project.folder / ".venv")}):
        place, remarks = own_place(project, environ={**environ, **quiet})
        assert (place.folder, remarks) == (project.folder / ".venv", [])


def test_the_environment_of_a_linked_project_is_that_of_the_folder(tmp_path, project):
    (tmp_path / "link").symlink_to(project.folder)
    environ = {"HOME": str(tmp_path), "WORKON_HOME": str(tmp_path)}
    _, direct = own_place(project, environ=environ)
    _, linked = own_place(read_project(find_project(tmp_path / "link")), environ=environ)
    assert linked == direct


def test_without_a_pipfile_the_environment_is_the_active_one_else_one_beside(tmp_path):
    (tmp_path / "requirements.txt").touch()
    project = read_project(tmp_path)
    assert own_place(project, environ={}) == (
        None,
        [f"no environment is active or below {tmp_path}; name one with --python"],
    )
    for folder in ("venv", ".venv", "active"):
        make_venv(tmp_path / folder)
        environ = {"VIRTUAL_ENV": str(tmp_path / "active")}
        assert own_place(project, environ=environ)[0].folder == tmp_path / folder


@pytest.mark.parametrize("call", [["where"], ["tree"], ["check"], ["one", "thing"]], ids=" ".join)
def test_all_subcommands_look_into_the_same_environment(world, capsys, call):
    project = world / "project"
    (project / "Pipfile").unlink()
    (project / "requirements.txt").write_text("thing\n")
    make_dist(site_of(project / ".venv"), "thing", "1.5", files=["thing/__init__.py"])
    exit_status([*call, "--json", "--project", str(project)])
    assert str(project / ".venv") in capsys.readouterr().out


@pytest.mark.parametrize("name", PUBLIC)
def test_public_projects_have_their_environment_where_pipenv_would_make_it(name, tmp_path):
    environ = {"PATH": str(BASE_PYTHON.parent), "HOME": str(tmp_path), "WORKON_HOME": str(tmp_path)}
    _, remarks = find_places(read_project(PROJECTS / name), environ=environ)
    folder = Path(remarks[0].removeprefix("no pipenv environment at ").partition(";")[0])
    make_dist(make_venv(folder), "six", "1.16.0")
    places, remarks = find_places(read_project(PROJECTS / name), environ=environ)
    assert remarks == []
    found = read_environment(places[-1])
    assert (found.label, {each.name: each.version for each in found.distributions}) == ("pipenv", {"six": "1.16.0"})


@pytest.mark.slow
def test_an_environment_is_asked_once_however_it_is_named(tmp_path, project):
    make_venv(project.folder / ".venv")
    named = [str(project.folder / ".venv"), str(project.folder / ".venv" / "bin" / "python"), str(BASE_PYTHON)]
    places, _ = find_places(project, named=named, environ={"PATH": str(BASE_PYTHON.parent), "HOME": str(tmp_path)})
    assert [each.label for each in read_environments(places)] == ["main", "pipenv"]


def test_a_name_on_the_path_may_be_named(tmp_path, monkeypatch):
    program = make_program(tmp_path / "mypython", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert place_of("mypython") == Place(label="mypython", kind="python", python=program, folder=tmp_path)


def test_what_is_named_and_not_there_is_an_error(tmp_path):
    with pytest.raises(InterpreterError, match="found an empty name"):
        place_of(" ")
    with pytest.raises(InterpreterError, match="gone: wanted an interpreter or a folder, found nothing"):
        place_of(str(tmp_path / "gone"))
    with pytest.raises(InterpreterError, match="found neither a Python nor any metadata"):
        read_environment(place_of(str(tmp_path)))


@pytest.mark.slow
def test_markers_and_the_standard_library_come_from_the_interpreter():
    found = read_environment(place_of(str(BASE_PYTHON)), modules=True)
    assert found.markers["python_version"] == "{}.{}".format(*sys.version_info)
    assert found.version == found.markers["python_full_version"]
    assert "tomllib" in found.stdlib


def read_venv(tmp_path):
    return read_environment(place_of(str(tmp_path / "venv")))


def test_a_folder_of_distributions_is_read_as_it_lies(tmp_path):
    site = make_venv(tmp_path / "venv")
    make_dist(site, "Six_Pack", "2.0")
    found = read_environment(place_of(str(site)))
    assert (found.kind, found.python, found.prefix) == ("folder", None, str(site))
    assert found.version == "{}.{}".format(*sys.version_info)
    assert {each.name: each.version for each in found.distributions} == {"six-pack": "2.0"}


def test_an_environment_whose_interpreter_is_gone_is_read_as_it_lies(tmp_path, project):
    make_dist(make_venv(project.folder / ".venv"), "six")
    python = project.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/gone/python3.11")
    places, _ = find_places(project, environ={"PATH": str(BASE_PYTHON.parent), "HOME": str(tmp_path)})
    found = read_environments(places)[-1]
    assert [each.name for each in found.distributions] == ["six"]
    assert "found no interpreter in it that can be run; its folders are read as they lie" in found.problems[0]


@pytest.mark.slow
def test_one_that_was_found_and_hangs_is_a_problem_and_one_that_was_named_an_error(tmp_path):
    make_dist(make_venv(tmp_path / "venv"), "six")
    (tmp_path / "venv" / "bin" / "python").unlink()
    program = make_program(tmp_path / "venv" / "bin" / "python", "exec sleep 60")
    place = Place(label="conda:x", kind="conda", python=program, folder=tmp_path / "venv")
    found = read_environment(place, timeout_s=0.1)
    assert "wanted an answer in 0.1 s, found none" in found.problems[0]
    assert [each.name for each in found.distributions] == ["six"]
    with pytest.raises(InterpreterError, match="wanted an answer in 0.1 s"):
        read_environment(place_of(str(program)), timeout_s=0.1)


@pytest.mark.slow
def test_several_are_asked_at_a_time(tmp_path):
    """Each answers once all have begun; they are one, by eight names."""
    all_here = f"touch $0.here; until [ $(ls {tmp_path} | grep -c here) = 8 ]; do sleep 0.01; done"
    programs = [make_program(tmp_path / str(n), f'{all_here}; exec {BASE_PYTHON} "$@"') for n in range(8)]
    [found] = read_environments([place_of(str(each)) for each in programs])
    assert found.problems == ()


@pytest.fixture
def hanging(tmp_path):
    """An interpreter that answers nothing, and the file in which it names itself."""
    pid = tmp_path / "pid"
    return make_program(tmp_path / "hangs", f"echo $$ > {pid}.$$; mv {pid}.$$ {pid}; exec sleep 60")


def wait_for(happened):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("is_late", [False, True], ids=["waiting", "before-it-waits"])
def test_an_interrupt_waits_for_no_interpreter(tmp_path, hanging, is_late):
    """Also one that comes when the waiting is about to begin: it breaks off nothing, and is found by looking."""

    def interrupt():
        wait_for((tmp_path / "pid").exists)
        if is_late:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        read_environments([place_of(str(hanging))] * 10)
    assert time.monotonic() - start < 25
    thread.join()
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_who_cannot_be_read_does_not_wait_for_the_others(tmp_path, hanging):
    start = time.monotonic()
    with pytest.raises(InterpreterError, match="status 3"):
        read_environments([place_of(str(make_program(tmp_path / "broken", "exit 3"))), place_of(str(hanging))])
    assert time.monotonic() - start < 25


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_interpreter_outlives_the_command(tmp_path, hanging, number):
    command = [sys.executable, "-m", "csci_utils.deps", "where", "--python", str(hanging)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(REPO)}
    )
    wait_for((tmp_path / "pid").exists)
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_two_metadata_folders_of_one_name_are_a_problem_of_both(tmp_path):
    site = make_venv(tmp_path / "venv")
    make_dist(site, "six", "1.0")
    make_dist(site, "Six", "2.0")
    found = read_venv(tmp_path)
    (active,) = found.active().values()
    (other,) = (each for each in found.distributions if each.hidden_by)
    assert {active.version, other.version} == {"1.0", "2.0"}
    assert other.hidden_by == active.path
    for each in (active, other):
        assert f"more than one metadata folder has its name, {active.path} is found first" in each.problems[0]


def test_a_broken_copy_elsewhere_is_no_doubled_folder(tmp_path, monkeypatch):
    site = make_venv(tmp_path / "venv")
    make_dist(site, "six", "1.0")
    (tmp_path / "more" / "six-2.0.dist-info").mkdir(parents=True)
    (site / "more.pth").write_text(f"{tmp_path / 'more'}\n")
    found = read_venv(tmp_path)
    active, other = found.distributions
    assert (active.problems, other.hidden_by, other.site) == ((), active.path, "path")


def test_what_the_users_site_hides_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    site = make_venv(tmp_path / "venv", system_site=True)
    version = "{}.{}".format(*sys.version_info)
    user = tmp_path / "home" / ".local" / "lib" / f"python{version}" / "site-packages"
    make_dist(user, "pip", "0.1")
    make_dist(site, "six", "1.0")
    make_dist(user, "six", "2.0")
    found = read_venv(tmp_path)
    assert {name: found.active()[name].site for name in ("six", "pip")} == {"six": "env", "pip": "user"}
    hidden = [(each.name, each.version, each.site) for each in found.distributions if each.hidden_by]
    assert ("six", "2.0", "user") in hidden
    assert [site for name, _, site in hidden if name == "pip"] == ["system"]


def test_metadata_cannot_speak_to_a_terminal(tmp_path):
    make_dist(tmp_path, "odd", "1\x1b[31m", requires=["six @ https://host/\x1b[31m"], folder="odd-1.dist-info")
    (found,) = read_environment(place_of(str(tmp_path))).distributions
    assert (found.version, found.requires) == ("1 [31m", ("six @ https://host/ [31m",))


def test_where_it_came_from_is_read(tmp_path):
    site = make_venv(tmp_path / "venv")
    git = {"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "v1"}}
    make_dist(site, "from-git", direct_url=git)
    make_dist(site, "linked", direct_url={"url": f"file://{tmp_path}/a%20b", "dir_info": {"editable": True}})
    make_dist(site, "archive", direct_url={"url": "https://host/x.zip", "archive_info": {}})
    make_dist(site, "odd", direct_url={"url": "https://host/x.zip", "vcs_info": [], "dir_info": 3})
    found = read_venv(tmp_path).active()
    assert (found["from-git"].origin.vcs, found["from-git"].origin.commit) == ("git", "abc")
    assert (found["linked"].editable, found["linked"].location) == (True, f"{tmp_path}/a b")
    assert (found["archive"].origin.url, found["archive"].editable) == ("https://host/x.zip", False)
    assert found["odd"].location == str(site)


def test_the_source_of_an_editable_one_is_not_a_second_copy(tmp_path):
    site = make_venv(tmp_path / "venv")
    make_dist(site, "thing", direct_url={"url": f"file://{tmp_path}/src", "dir_info": {"editable": True}})
    make_dist(tmp_path / "src", "thing", folder="thing.egg-info")
    (site / "__editable__.thing.pth").write_text(f"{tmp_path / 'src'}\n")
    (found,) = read_venv(tmp_path).distributions
    assert (found.editable, found.hidden_by) == (True, None)


@pytest.mark.parametrize("url", ["file://[", "file:///a%00b", "file:///%ff%0a", ""])
def test_an_address_that_is_none_is_kept_as_it_stands(tmp_path, url):
    site = make_venv(tmp_path / "venv")
    commit = {"vcs": ["git"], "commit_id": {}}
    make_dist(site, "thing", direct_url={"url": url, "dir_info": {"editable": True}, "vcs_info": commit})
    make_dist(tmp_path / "src", "thing", folder="thing.egg-info")
    (site / "thing.pth").write_text(f"{tmp_path / 'src'}\n")
    found = read_venv(tmp_path).active()["thing"]
    assert (found.origin, found.location) == (Origin(url=url), str(site))


def test_an_old_editable_one_is_its_source(tmp_path):
    site = make_venv(tmp_path / "venv")
    (tmp_path / "src" / "thing.egg-info").mkdir(parents=True)
    (tmp_path / "src" / "thing.egg-info" / "PKG-INFO").write_text("Name: thing\nVersion: 1\n")
    (site / "easy-install.pth").write_text(f"{tmp_path / 'src'}\n")
    (found,) = read_venv(tmp_path).distributions
    assert (found.name, found.editable, found.location, found.site) == ("thing", True, str(tmp_path / "src"), "path")


def test_condas_own_packages_are_listed_beside_those_of_pip(tmp_path):
    site = make_venv(tmp_path / "venv")
    make_dist(site, "numpy", "1.0")
    make_conda(
        tmp_path / "venv", "numpy-1.0-py311_0", "openssl-3.0.1-h7f8727e_0", "ca-certificates-2026.1.1-0", "history"
    )
    found = {each.name: (each.version, each.installer) for each in read_venv(tmp_path).distributions}
    assert found == {"numpy": ("1.0", "pip"), "openssl": ("3.0.1", "conda"), "ca-certificates": ("2026.1.1", "conda")}


def test_an_environment_of_conda_without_a_python_is_read(tmp_path):
    make_conda(tmp_path / "c", "openssl-3.0.1-h7f8727e_0")
    found = read_environment(place_of(str(tmp_path / "c")))
    assert [(each.name, each.version) for each in found.distributions] == [("openssl", "3.0.1")]
