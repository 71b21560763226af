"""Environments and distributions made of a few small files, as pip and conda would lay them out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECTS = Path(__file__).parent / "projects"
PUBLIC = ["aimmo", "misp-modules", "paperless-ngx", "pipenv", "pymisp"]
BASE_PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def make_venv(folder: Path, *, system_site: bool = False) -> Path:
    """A virtual environment without pip, in a moment; its folder of distributions."""
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(BASE_PYTHON)
    (folder / "bin" / "activate").touch()
    (folder / "pyvenv.cfg").write_text(
        f"home = {BASE_PYTHON.parent}\ninclude-system-site-packages = {str(system_site).lower()}\n"
    )
    return site


def make_dist(
    site: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    files: Sequence[str] = (),
    direct_url: Any = None,
    folder: str | None = None,
) -> Path:
    """A distribution's metadata, as pip leaves it."""
    path = site / (folder or f"{name.replace('-', '_')}-{version}.dist-info")
    path.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
    lines += [f"Provides-Extra: {each}" for each in extras]
    (path / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, "", "Name: not a field any more\n"]))
    (path / "INSTALLER").write_text("pip\n")
    (path / "RECORD").write_text("".join(f"{each},,\n" for each in [*files, f"{path.name}/METADATA"]))
    if direct_url is not None:
        (path / "direct_url.json").write_text(json.dumps(direct_url))
    return path


def make_conda(folder: Path, *packages: str) -> Path:
    """An environment of conda without a Python."""
    (folder / "conda-meta").mkdir(parents=True)
    for each in packages:
        (folder / "conda-meta" / f"{each}.json").write_text("{}")
    return folder


def make_program(path: Path, script: str) -> Path:
    """An executable file that is a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
