"""Asking interpreters without starting them, for tests of what is made of their answers.

What a started one answers is tested where that is the subject: by test_probe, test_interpreter and
test_environments.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from csci_utils.deps import interpreter, probe
from tests.csci_utils.deps.making import BASE_PYTHON


def ask_in_memory(python: Path, *, modules: bool = False, **rest: Any) -> dict[str, Any]:
    """Report what `interpreter.ask` would of an environment that `make_venv` made, or of the `world`'s main one.

    What these were made from is started once a session, every other interpreter each time.
    """
    folder = next((each for each in (python.parent.parent, python.parent.parent / "main") if _is_alone(each)), None)
    if folder is None:
        if python.resolve() == BASE_PYTHON and not python.parent.parent.joinpath("pyvenv.cfg").exists():
            return _base(modules)
        return interpreter.ask(python, modules=modules, **rest)
    (site,) = folder.glob("lib/python*/site-packages")
    path = {os.path.realpath(each): each for each in [str(site), *probe.pth_folders(str(site))]}
    return {
        "executable": str(folder / "bin" / "python"),
        "prefix": str(folder),
        "markers": probe.marker_values(),
        "stdlib": sorted(sys.stdlib_module_names) if modules else [],
        "distributions": [
            each
            for where in path.values()
            for each in probe.read_folder(where, "env" if where == str(site) else "path", modules)
        ],
    }


def _is_alone(folder: Path) -> bool:
    """Tell an environment that sees itself only, and whose interpreter can be run."""
    settings = folder / "pyvenv.cfg"
    there = settings.is_file() and os.access(folder / "bin" / "python", os.X_OK)
    return there and (folder / "bin" / "python").resolve() == BASE_PYTHON and "= false" in settings.read_text()


@cache
def _base(modules: bool) -> dict[str, Any]:
    return interpreter.ask(BASE_PYTHON, modules=modules)
