"""The environments that pipenv and conda keep, found as these find them and without starting either.

Of pipenv the rules are those of pipenv 2026: an active environment, a `.venv` beside the Pipfile (folder or file), else
a folder in the home of all environments, named by the project and a digest of the Pipfile's path. A test asks pipenv
itself. Conda's environments and packages stand in its own files; to start conda takes about a second.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from csci_utils.deps.facts import Distribution, normal_name
from csci_utils.deps.files import read_file
from csci_utils.deps.pipfile import Pipfile

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_UNSAFE = re.compile(r'[ &$`!*@"()\[\]\\\r\n\t]')
_LONGEST_NAME = 42


def venv_of(pipfile: Pipfile, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Give the folder in which pipenv looks for the project's environment; it need not be there.

    Args:
        pipfile: the project's; its path decides the name, its `[pipenv]` table may decide the place.
        environ: the environment variables.
    """
    active = environ.get("VIRTUAL_ENV")
    if active and "PIPENV_ACTIVE" not in environ and not _setting(environ, "IGNORE_VIRTUALENVS"):
        return Path(active)
    beside = pipfile.path.parent / ".venv"
    named = workon_home(environ) / venv_name(pipfile.path, environ=environ)
    if beside.is_file():
        return _by_file(beside, environ=environ) or named
    wanted = _wanted_beside(pipfile, environ=environ)
    if wanted is None:  # nobody asked: a folder that lies there is taken, unless pipenv has made its own
        return beside if beside.is_dir() and not named.exists() else named
    return beside if wanted else named


def venv_name(pipfile: Path, *, environ: Mapping[str, str] = os.environ) -> str:
    """Give the name of a project's environment among all of them: the folder's name and a digest of the path."""
    if environ.get("PIPENV_CUSTOM_VENV_NAME"):
        return environ["PIPENV_CUSTOM_VENV_NAME"]
    digest = hashlib.sha256(os.fsencode(pipfile)).digest()[:6]
    name = _UNSAFE.sub("_", pipfile.parent.name)[:_LONGEST_NAME]
    python = environ.get("PIPENV_PYTHON", "")
    suffix = f"-{Path(python).name if os.path.isabs(python) else python}" if python else ""
    return f"{name}-{base64.urlsafe_b64encode(digest).decode()[:8]}{suffix}"


def workon_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Give the folder that holds the environments of all projects."""
    home = environ.get("WORKON_HOME") or os.path.join(environ.get("XDG_DATA_HOME", "~/.local/share"), "virtualenvs")
    return Path(os.path.abspath(os.path.expanduser(os.path.expandvars(home))))


def _by_file(file: Path, *, environ: Mapping[str, str]) -> Path | None:
    """Read a `.venv` that is a file: a path from the project's folder, or a name among all environments."""
    name = file.read_text(encoding="utf-8", errors="replace").strip()
    if not name or "\0" in name:
        return None
    if os.sep in name or (os.altsep and os.altsep in name):
        return Path(os.path.abspath(file.parent / name))
    return workon_home(environ) / name


def _wanted_beside(pipfile: Pipfile, *, environ: Mapping[str, str]) -> bool | None:
    said = _setting(environ, "VENV_IN_PROJECT")
    if said is not None:
        return said
    table = pipfile.data.get("pipenv")
    return bool(table["venv_in_project"]) if isinstance(table, dict) and "venv_in_project" in table else None


def _setting(environ: Mapping[str, str], name: str) -> bool | None:
    """Read one of pipenv's switches, or its negation `PIPENV_NO_...`; None where neither says yes or no."""
    for variable, meaning in ((f"PIPENV_{name}", True), (f"PIPENV_NO_{name}", False)):
        value = environ.get(variable, "").lower()
        if value in _TRUE + _FALSE:
            return (value in _TRUE) is meaning
    return None


def conda_environments(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Find the environments that conda knows of, by name.

    They are those in `~/.conda/environments.txt`, the active one, the installation that `CONDA_EXE` belongs to or that
    `conda` on the path does, and the folders in its `envs` and in `CONDA_ENVS_PATH`. One that is gone is left out.
    """
    roots = list(dict.fromkeys(_roots(environ)))
    folders = [*roots, *_listed(environ)]
    for parent in [*(root / "envs" for root in roots), *_paths(environ, "CONDA_ENVS_PATH", "CONDA_ENVS_DIRS")]:
        if parent.is_dir():
            folders += sorted(each for each in parent.iterdir() if each.is_dir())
    found: dict[str, Path] = {}
    for folder in folders:
        if (folder / "conda-meta").is_dir() and folder.resolve() not in {each.resolve() for each in found.values()}:
            name = "base" if folder in roots else folder.name
            found[name if name not in found else str(folder)] = folder
    return found


def conda_packages(prefix: Path) -> tuple[Distribution, ...]:
    """List what conda has installed in an environment, Python's libraries and all others.

    Name and version stand in the name of the file that conda keeps for each, `name-version-build.json`.
    """
    found = []
    for file in sorted((prefix / "conda-meta").glob("*.json")):
        name, _, rest = file.stem.rpartition("-")[0].rpartition("-")
        if name:
            found.append(
                Distribution(
                    name=normal_name(name),
                    spelled=name,
                    version=rest,
                    path=str(file),
                    location=str(prefix),
                    installer="conda",
                )
            )
    return tuple(found)


def _roots(environ: Mapping[str, str]) -> Iterator[Path]:
    """Give the installations of conda, each of which is an environment itself."""
    programs = [environ.get("CONDA_EXE", "")]
    programs += [os.path.join(folder, "conda") for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    for program in programs:
        if program and os.path.isfile(program):
            for path in (program, os.path.realpath(program)):
                root = Path(path).parent.parent
                if (root / "conda-meta").is_dir():
                    yield root
                    break
    if environ.get("CONDA_ROOT"):
        yield Path(environ["CONDA_ROOT"])


def _listed(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    try:
        lines = read_file(home / ".conda" / "environments.txt").decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    yield from (Path(line.strip()) for line in lines if line.strip())
    if environ.get("CONDA_PREFIX"):
        yield Path(environ["CONDA_PREFIX"])


def _paths(environ: Mapping[str, str], *names: str) -> Iterator[Path]:
    for name in names:
        yield from (Path(each) for each in environ.get(name, "").split(os.pathsep) if each)
