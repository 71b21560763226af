"""A small world of environments, in which nothing of the machine's own is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from csci_utils.deps import environments
from tests.csci_utils.deps.asking import ask_in_memory
from tests.csci_utils.deps.making import make_dist, make_program, make_venv

PIPFILE = """\
[packages]
PyYAML = ">=6"
flask = "*"
ours = {path = ".", editable = true}

[dev-packages]
pytest = "*"
"""


@pytest.fixture
def nothing_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreters of environments that `make_venv` made are not started."""
    monkeypatch.setattr(environments, "ask", ask_in_memory)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_started: None) -> Path:
    """`project` with a Pipfile and `.venv`; a main interpreter behind `bin`, whose distributions lie in `main`."""
    make_dist(make_venv(tmp_path / "main"), "six", "1.16")
    make_program(tmp_path / "bin" / "python3", f'exec {tmp_path}/main/bin/python "$@"')
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Pipfile").write_text(PIPFILE)
    make_venv(tmp_path / "project" / ".venv")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("VIRTUAL_ENV", "WORKON_HOME", "PIPENV_PIPFILE", "PIPENV_VENV_IN_PROJECT", "CONDA_PREFIX", "CONDA_EXE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def site_of(environment: Path) -> Path:
    """The folder of distributions of an environment that `make_venv` made."""
    (site,) = environment.glob("lib/python*/site-packages")
    return site
