"""Conda's environments and packages, read from its own files: starting conda takes about a second."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from csci_utils.deps.facts import Distribution, normal_name


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
        lines = (home / ".conda" / "environments.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    yield from (Path(line.strip()) for line in lines if line.strip())
    if environ.get("CONDA_PREFIX"):
        yield Path(environ["CONDA_PREFIX"])


def _paths(environ: Mapping[str, str], *names: str) -> Iterator[Path]:
    for name in names:
        yield from (Path(each) for each in environ.get(name, "").split(os.pathsep) if each)
