"""What an interpreter is found to see: the same as it says itself, and what is broken is said."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from csci_utils.deps import probe
from csci_utils.deps.facts import normal_name
from csci_utils.deps.interpreter import ask
from tests.conftest import REPO
from tests.csci_utils.deps.making import BASE_PYTHON, make_dist, make_venv

PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
OTHER_PYTHONS = sorted(PYENV.glob("3.*/bin/python")) + [p for p in [Path("/usr/bin/python3")] if p.exists()]


def one(folder, **rest):
    (found,) = probe.read_folder(str(folder), "env", **{"with_modules": True, **rest})
    return found


def test_the_program_is_plain_enough_for_an_old_interpreter():
    text = Path(probe.__file__).read_bytes()
    assert text.isascii()
    assert b"from __future__ import annotations" not in text


@pytest.fixture
def path_of_a_start(monkeypatch):
    """Have the path of an interpreter that begins here: setuptools adds its own copies of libraries when imported."""
    code = "import json, sys; print(json.dumps(sys.path))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    monkeypatch.setattr(sys, "path", [each or os.fspath(REPO) for each in json.loads(done.stdout)])


@pytest.mark.slow
@pytest.mark.usefixtures("path_of_a_start")
def test_it_finds_what_importlib_metadata_finds():
    prefix = Path(sys.prefix).resolve()  # the checkout lies on the path, too
    path = [folder for folder in sys.path if Path(folder).resolve().is_relative_to(prefix)]
    expected = {
        (normal_name(each.name), each.version, tuple(sorted(each.requires or ())))
        for each in importlib.metadata.distributions(path=path)
    }
    found = {
        (normal_name(each["name"]), each["version"], tuple(sorted(each["requires"])))
        for each in ask(Path(sys.executable))["distributions"]
        if each["site"] == "env"
    }
    assert len(expected) > 50
    assert found == expected


def is_there(module):
    """Whether it can be imported: some wheels list files that lie elsewhere (pyvips-binary's "tmp", "wheelhouse").

    Import hooks are not asked: once setuptools' own hears of pip, it gives no distutils in this process any more.
    """
    return importlib.machinery.PathFinder.find_spec(module) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("path_of_a_start")
def test_modules_are_those_that_importlib_metadata_maps():
    named = {
        each["name"]: set(each["modules"] or ()) for each in ask(Path(sys.executable), modules=True)["distributions"]
    }
    roots = {name: {module.partition(".")[0] for module in modules} for name, modules in named.items()}
    expected: dict[str, set[str]] = {}
    for module, names in importlib.metadata.packages_distributions().items():
        for name in names:
            if module.isidentifier() and is_there(module):
                expected.setdefault(name, set()).add(module)
    assert roots["python-dateutil"] == {"dateutil"}
    assert named["ruamel.yaml"] >= {"ruamel.yaml"}
    assert roots["neural-style-pipeline"] == {"csci_utils", "neural_style", "pipeline"}
    assert {name: roots[name] for name in expected} == expected


def is_quick(python):
    """The oldest, and the system's; the others are more of the same."""
    return re.search(r"/3\.6\.|/usr", str(python))


@pytest.mark.parametrize(
    "python",
    [each if is_quick(each) else pytest.param(each, marks=pytest.mark.slow) for each in OTHER_PYTHONS],
    ids=[each.parent.parent.name for each in OTHER_PYTHONS],
)
def test_other_pythons_report_the_path_of_an_ordinary_start(python):
    found = ask(python, modules=True)
    code = "import json, sys; print(json.dumps([p for p in sys.path if p]))"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    plain = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=environ, cwd="/")
    folders = {os.path.realpath(each) for each in json.loads(plain.stdout) if os.path.isdir(each)}
    there = {os.path.join(each, name) for each in folders for name in os.listdir(each)}
    expected = {each for each in there if each.endswith((".dist-info", ".egg-info"))}
    assert {os.path.realpath(each["path"]) for each in found["distributions"]} == expected
    assert found["markers"]["sys_platform"] == sys.platform


def test_python_2_is_told_apart():
    old = sorted(PYENV.glob("2.*/bin/python"))
    if not old:
        pytest.skip("no Python 2 here")
    with pytest.raises(OSError, match=r"wanted Python 3.6 or later, but it ended with status 2 and said"):
        ask(old[0])


def user_site(home: Path) -> Path:
    return home / ".local" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


@pytest.fixture
def base_with_user_site(tmp_path, monkeypatch):
    """A home folder whose user site holds one distribution and, through a .pth file, another."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYTHONUSERBASE", raising=False)
    site = user_site(tmp_path / "home")
    make_dist(site, "from-user")
    make_dist(tmp_path / "elsewhere", "from-pth")
    (site / "more.pth").write_text(f"# a comment\nimport this_is_never_run\n{tmp_path / 'elsewhere'}\n/gone\n")
    return site


def sites(python: Path) -> dict[str, str]:
    return {str(each["name"]): str(each["site"]) for each in ask(python)["distributions"]}


@pytest.mark.slow
def test_the_users_site_is_seen_although_isolated_mode_leaves_it_out(base_with_user_site, monkeypatch):
    found = sites(BASE_PYTHON)
    assert (found["from-user"], found["from-pth"]) == ("user", "user")
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    assert "from-user" not in sites(BASE_PYTHON)


def test_a_virtual_environment_sees_only_itself_unless_told(base_with_user_site, tmp_path):
    site = make_venv(tmp_path / "alone")
    make_dist(site, "own")
    assert sites(tmp_path / "alone" / "bin" / "python") == {"own": "env"}


def test_a_virtual_environment_may_see_the_users_and_the_systems(base_with_user_site, tmp_path):
    site = make_venv(tmp_path / "open", system_site=True)
    make_dist(site, "own")
    report = ask(tmp_path / "open" / "bin" / "python")["distributions"]
    order = list(dict.fromkeys(each["site"] for each in report))
    assert order == ["env", "user", "system"][: len(order)]
    assert len(order) == 3 or not any((BASE_PYTHON.parent.parent / "lib").glob("python*/site-packages/*.dist-info"))


@pytest.mark.slow
def test_the_order_is_that_of_an_ordinary_start(base_with_user_site, tmp_path):
    make_dist(make_venv(tmp_path / "open", system_site=True), "own")
    python = tmp_path / "open" / "bin" / "python"
    code = "import importlib.metadata as m; print([d.metadata['Name'] for d in m.distributions()])"
    (base_with_user_site / "more.pth").write_text(f"{tmp_path / 'elsewhere'}\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    plain = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=environ, cwd="/")
    assert str([each["name"] for each in ask(python)["distributions"]]) == plain.stdout.strip()


@pytest.mark.parametrize("settings", ["", "include-system-site-packages = True\n", "include-system-site-packages=no\n"])
def test_what_a_virtual_environment_sees_is_what_an_ordinary_start_does(base_with_user_site, tmp_path, settings):
    make_dist(make_venv(tmp_path / "venv"), "own")
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {BASE_PYTHON.parent}\n{settings}")
    assert ("from-user" in sites(tmp_path / "venv" / "bin" / "python")) is ("no" not in settings)


@pytest.mark.slow
def test_nothing_that_lies_in_an_environment_is_run(tmp_path, monkeypatch):
    """Neither what `site` imports on every start, nor the lines of code in .pth files, nor a module of its name."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    site = make_venv(tmp_path / "venv", system_site=True)
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    for folder in (site, user_site(tmp_path / "home")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.pth").write_text(f"import sys; {code}\n{tmp_path / 'more'}\n")
        for name in ("sitecustomize", "usercustomize", "json", "site"):
            (folder / f"{name}.py").write_text(code)
    make_dist(tmp_path / "more", "from-pth")
    python = tmp_path / "venv" / "bin" / "python"
    assert "from-pth" in sites(python)
    assert not (tmp_path / "ran").exists()
    subprocess.run([python, "-c", ""], check=True)
    assert (tmp_path / "ran").exists()


def test_a_pipe_among_the_files_is_not_waited_for(tmp_path):
    site = make_venv(tmp_path / "venv")
    path = make_dist(site, "thing")
    (path / "METADATA").unlink()
    for pipe in (path / "METADATA", path / "direct_url.json", path / "RECORD", site / "x.pth"):
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
    (found,) = ask(tmp_path / "venv" / "bin" / "python", modules=True, timeout_s=30)["distributions"]
    assert found["problems"][0] == "its METADATA or PKG-INFO is missing or cannot be read"


def test_a_folder_that_two_names_lead_to_is_read_once(tmp_path):
    site = make_venv(tmp_path / "venv")
    make_dist(site, "own")
    (tmp_path / "link").symlink_to(site)
    (site / "link.pth").write_text(f"{tmp_path / 'link'}\n")
    assert len(ask(tmp_path / "venv" / "bin" / "python")["distributions"]) == 1


def test_requirements_and_fields_that_go_on_are_read(tmp_path):
    path = make_dist(tmp_path, "a", requires=["six>=1; extra == 'x'", "flask"])
    text = (
        (path / "METADATA")
        .read_text()
        .replace("Version: 1.0", "License: one\n  two\n\tthree\nProvides-Extra: x\nVersion: 1.0")
    )
    (path / "METADATA").write_text(text.replace("\n", "\r\n"), newline="")
    found = one(tmp_path)
    assert (found["requires"], found["extras"]) == (["six>=1; extra == 'x'", "flask"], ["x"])
    assert (found["name"], found["version"], found["problems"]) == ("a", "1.0", [])


def test_a_folder_without_metadata_is_named_by_its_folder(tmp_path):
    (tmp_path / "Some_Thing-1.2.dist-info").mkdir()
    found = one(tmp_path)
    assert (found["name"], found["version"]) == ("Some_Thing", "1.2")
    assert found["problems"] == [
        "its METADATA or PKG-INFO is missing or cannot be read",
        "its metadata gives no version",
    ]


def test_metadata_that_is_not_utf_8_is_read_and_said(tmp_path):
    path = make_dist(tmp_path, "a")
    (path / "METADATA").write_bytes(b"Author: J\xe9r\xf4me\nName: a\nVersion: 2.0\nRequires-Dist: six\n\n")
    found = one(tmp_path)
    assert (found["version"], found["requires"]) == ("2.0", ["six"])
    assert found["problems"] == ["its METADATA is not UTF-8"]


@pytest.mark.parametrize("text", ["", "no field\nName: b\nVersion: 9\n", "Name: UNKNOWN\n", "\0\0\0\0"])
def test_metadata_that_says_nothing_is_said(tmp_path, text):
    (make_dist(tmp_path, "a", "2.0") / "METADATA").write_text(text)
    found = one(tmp_path)
    assert (found["name"], found["version"]) == ("a", "2.0")
    assert found["problems"] == ["its metadata gives no version"]


@pytest.mark.parametrize("text", ["{", "[]", '{"dir_info": {}}', '{"url": 3}', "[" * 100_000])
def test_a_broken_direct_url_is_said(tmp_path, text):
    (make_dist(tmp_path, "a") / "direct_url.json").write_text(text)
    found = one(tmp_path)
    assert (found["direct_url"], found["problems"]) == (None, ["its direct_url.json cannot be read"])


def test_eggs_are_read(tmp_path):
    egg = tmp_path / "Old_Thing-1.0-py3.6.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: Old_Thing\nVersion: 1.0\n")
    (egg / "requires.txt").write_text("six>=1\n\n[:python_version<'3']\nfuture\n\n[x]\na\n\n[y:os_name=='nt']\nb\n")
    (egg / "top_level.txt").write_text("old\n_old\n")
    found = one(tmp_path)
    assert (found["name"], found["version"], found["modules"]) == ("Old_Thing", "1.0", ["_old", "old"])
    assert found["requires"] == [
        "six>=1",
        "future ; (python_version<'3')",
        'a ; extra == "x"',
        "b ; (os_name=='nt') and extra == \"y\"",
    ]


def test_an_egg_that_is_one_file_is_read(tmp_path):
    (tmp_path / "thing-3-py3.8.egg-info").write_text("Name: thing\nVersion: 3\n")
    assert (one(tmp_path)["name"], one(tmp_path)["version"]) == ("thing", "3")


def test_a_zip_file_on_the_path_is_read(tmp_path):
    make_dist(tmp_path / "x", "zipped", "4")
    shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path / "x")
    assert (one(tmp_path / "x.zip")["name"], one(tmp_path / "x.zip")["version"]) == ("zipped", "4")
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert probe.read_folder(str(tmp_path / "broken.zip"), "env", False) == []


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        (["a/__init__.py", "a/b/__init__.py", "a/c.py", "x.py", "../../bin/tool"], ["a", "x"]),
        (["google/cloud/storage/__init__.py", "google/cloud/storage/x.py"], ["google.cloud.storage"]),
        (["ns/one.py", "ns/two/__init__.py"], ["ns.one", "ns.two"]),
        (["_fast.cpython-311-x86_64-linux-gnu.so", "fast/__init__.pyi"], ["_fast", "fast"]),
        (["a-1.0.data/x.py", "b-stubs/__init__.pyi", "c/__init__.py"], ["c"]),
        (['"odd/__init__.py"'], ["odd"]),
        ([], None),
    ],
    ids=["package", "namespace", "namespace-modules", "compiled", "no-modules", "quoted", "none"],
)
def test_modules_are_the_outermost_that_nobody_shares(tmp_path, files, modules):
    make_dist(tmp_path, "a", files=files)
    assert one(tmp_path)["modules"] == modules


def test_a_declared_namespace_is_nobodys(tmp_path):
    path = make_dist(tmp_path, "a", files=["zope/__init__.py", "zope/event/__init__.py"])
    (path / "namespace_packages.txt").write_text("zope\n")
    assert one(tmp_path)["modules"] == ["zope.event"]


def test_an_editable_one_is_imported_as_what_its_source_holds(tmp_path):
    (tmp_path / "src" / "thing").mkdir(parents=True)
    (tmp_path / "src" / "thing" / "__init__.py").touch()
    site = tmp_path / "site"
    make_dist(site, "thing", files=["_thing.pth"])
    (site / "_thing.pth").write_text(f"{tmp_path / 'src'}\n")
    assert one(site)["modules"] == ["thing"]


def test_a_file_with_a_nul_in_its_name_is_none(tmp_path):
    make_dist(tmp_path, "thing", files=["a\0b.pth"])
    (tmp_path / "x.pth").write_text("/a\0b\n")
    assert one(tmp_path)["modules"] is None
    assert probe.pth_folders(str(tmp_path)) == []


def test_circular_requirements_are_read_as_they_stand(tmp_path):
    make_dist(tmp_path, "a", requires=["b"])
    make_dist(tmp_path, "b", requires=["a", "b"])
    found = {each["name"]: each["requires"] for each in probe.read_folder(str(tmp_path), "env", True)}
    assert found == {"a": ["b"], "b": ["a", "b"]}


def test_a_folder_that_cannot_be_read_holds_nothing(tmp_path):
    assert probe.read_folder(str(tmp_path / "gone"), "env", True) == []
