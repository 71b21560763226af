"""No secret of an address leaves by any way: not by an answer, a remark, an error or a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csci_utils.deps import cli, tasks
from csci_utils.deps.cli import exit_status
from csci_utils.deps.pipfile import digests, read_pipfile
from csci_utils.luigi.run import build
from tests.csci_utils.deps.conftest import site_of
from tests.csci_utils.deps.making import make_dist

SECRETS = ("u53r", "hunter2")
ADDRESS = "https://u53r:hunter2@host.invalid"
TOKEN = "https://hunter2@host.invalid"
BY_MAIL = "https://u53r@corp.invalid:hunter2@host.invalid"

PIPFILE = f"""\
[[source]]
name = "own"
url = "{ADDRESS}/simple"
verify_ssl = true

[packages]
repo = {{git = "{ADDRESS}/repo.git", ref = "abc"}}
archive = {{file = "{TOKEN}/archive.zip?token=hunter2"}}
broken = "{ADDRESS}/broken"
mailed = {{git = "{BY_MAIL}/mailed.git"}}
marked = {{version = "*", markers = "{ADDRESS}/marked"}}

[dev-packages]
pytest = "*"
"""

LOCKED = {
    "repo": {"git": f"{ADDRESS}/repo.git", "ref": "abc"},
    "archive": {"file": f"{TOKEN}/archive.zip?token=hunter2"},
    "mailed": {"git": f"{BY_MAIL}/mailed.git", "ref": "abc"},
    "marked": {"version": "==1", "markers": f"{ADDRESS}/marked"},
}


@pytest.fixture
def project(world: Path) -> Path:
    """A project with secrets wherever an address can stand."""
    folder = world / "project"
    (folder / "Pipfile").write_text(PIPFILE)
    meta = {"hash": {"sha256": digests(read_pipfile(folder / "Pipfile"))[0]}, "pipfile-spec": 6, "requires": {}}
    (folder / "Pipfile.lock").write_text(json.dumps({"_meta": meta, "default": LOCKED, "develop": {}}))
    (folder / "setup.py").write_text(
        f'setup(name="ours", install_requires=["dep @ {ADDRESS}/dep.zip", "? {ADDRESS}"])\n'
    )
    (folder / "app.py").write_text("import repo, unknown\n")
    site = site_of(folder / ".venv")
    requires = [f"dep @ {ADDRESS}/dep.zip", f"more @ {TOKEN}/more.whl?x=hunter2", f"odd!! {ADDRESS}/odd"]
    git = {"url": f"{ADDRESS}/repo.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    make_dist(site, "repo", requires=requires, direct_url=git, files=["repo/__init__.py"])
    make_dist(site, "archive", direct_url={"url": f"{TOKEN}/archive.zip?token=hunter2", "archive_info": {}})
    make_dist(site_of(world / "main"), "repo", "2.0", requires=requires, direct_url={"url": f"{ADDRESS}/x"})
    return folder


def assert_no_secret(text: str) -> None:
    assert text
    assert [each for each in SECRETS if each in text] == [], text


ANSWERS = [
    ["where"],
    ["where", "--paths"],
    ["tree"],
    ["tree", "--lock"],
    ["tree", "--why", "dep"],
    ["check"],
    ["travis"],
    ["table"],
    ["one", "repo"],
    ["one", "archive"],
    ["one", "dep"],
    ["one", "broken"],
]


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("call", ANSWERS, ids=" ".join)
def test_no_answer_holds_a_secret(project, capsys, call, more):
    assert exit_status([*call, *more]) in (0, 1)
    out, err = capsys.readouterr()
    assert_no_secret(out)
    assert_no_secret(f"\n{err}")


@pytest.mark.parametrize("call", [["table", "--csv"], ["venn", "--out", "venn.svg"]], ids=" ".join)
def test_no_file_that_is_answered_holds_a_secret(project, capsys, call):
    assert exit_status(call) == 0
    assert_no_secret("".join(capsys.readouterr()))
    assert not (project / "venn.svg").exists() or assert_no_secret((project / "venn.svg").read_text()) is None


@pytest.mark.slow
def test_no_report_and_no_record_holds_a_secret(project, caplog):
    assert not build([tasks.AllReports(), tasks.TreeReport(lock=True)]).failures
    reports = list((project / "build" / "deps-reports").glob("*.*"))
    assert {each.suffix for each in reports} >= {".json", ".csv", ".svg", ".yml"}
    for report in reports:
        assert_no_secret(report.read_text())
    assert_no_secret(f"\n{caplog.text}")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Pipfile", f'requires = "{ADDRESS}"\n'),
        ("Pipfile", f'packages = "{ADDRESS}"\n'),
        ("Pipfile", f"[packages]\nx = {ADDRESS}\n"),
        ("Pipfile", f'[packages]\nx = {{version = ["{ADDRESS}"]}}\n'),
        ("Pipfile", f'[packages]\nx = {{git = "{ADDRESS}\\u0000"}}\n'),
        ("Pipfile", f'[[source]]\nurl = ["{ADDRESS}"]\nname = 3\nverify_ssl = true\n[packages]\n'),
        ("Pipfile.lock", f'{{"_meta": {{"pipfile-spec": "{ADDRESS}"}}}}'),
        ("Pipfile.lock", f'{{"_meta": {{"pipfile-spec": 6}}, "default": ["{"x" * 29}", "{ADDRESS}"]}}'),
        ("Pipfile.lock", f'{{"_meta": {{"pipfile-spec": 6}}, "default": {{"x": {{"git": "{ADDRESS}\\u0000"}}}}}}'),
        ("requirements.txt", f"x y {ADDRESS}\n"),
        ("requirements.txt", f"-r {ADDRESS}/more.txt\n"),
        ("requirements.txt", f"{ADDRESS}:port:[/x.git\n"),
    ],
)
def test_no_error_says_a_secret(world, capsys, file, text):
    project = world / "project"
    if file == "requirements.txt":
        (project / "Pipfile").unlink()
    (project / file).write_text(text)
    for call in (["tree", "--lock"], ["check"], ["one", "x"], ["where"]):
        exit_status([*call, "--project", str(project)])
        out, err = capsys.readouterr()
        assert_no_secret(out + err)


def test_no_defect_shows_a_secret(project, capsys, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError(f"no {ADDRESS}") from ValueError(f"at {TOKEN}")

    monkeypatch.setattr(cli.cli, "main", broken)
    assert exit_status(["where"]) == cli.DEFECT
    assert_no_secret(capsys.readouterr().err)
