"""Looking at dependencies: two environments of a hundred distributions, and the help, against pip's own programs."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.inputs import REPO
from bench.measure import Command, interleaved_s, table
from tests.csci_utils.deps.making import BASE_PYTHON, make_dist, make_venv

NUM_DISTRIBUTIONS = 100
WHERE = "deps where, both side by side, --json"
PIP = "pip list --format json, one after the other"
HELP = "deps --help"
PIP_HELP = "pip --help"
GOALS_S = {WHERE: 1.5, HELP: 0.2}


def run(*, rounds: int) -> Iterator[list[str]]:
    """Two tables."""
    with tempfile.TemporaryDirectory(prefix="bench-deps-") as folder:
        places = [_environment(Path(folder, name)) for name in ("project/.venv", "other")]
        Path(folder, "project", "Pipfile").write_text("[packages]\n", encoding="utf-8")
        env = _environ(Path(folder))
        seconds = interleaved_s(_commands(Path(folder), places, env), rounds=rounds, discarded=2)
        yield [
            f"dependencies: two environments of {NUM_DISTRIBUTIONS} distributions, the main interpreter has none",
            f"{rounds} rounds interleaved, 2 discarded before them",
            *table(seconds, peer=PIP),
            _verdict(seconds, WHERE),
        ]
        seconds = interleaved_s(_helps(env), rounds=rounds, discarded=2)
        lines = [f"dependencies: the help; {rounds} rounds interleaved, 2 discarded before them"]
        yield [*lines, *table(seconds, peer=PIP_HELP), _verdict(seconds, HELP)]


def _environment(folder: Path) -> Path:
    """Make an environment whose distributions have files and requirements, as real ones do."""
    site = make_venv(folder)
    for number in range(NUM_DISTRIBUTIONS):
        files = [f"package_{number}/module_{each}.py" for each in range(30)]
        requires = [f"package-{each}>=1.0" for each in range(max(number - 3, 0), number)]
        make_dist(site, f"package-{number}", f"1.{number}", requires=requires, files=files)
    return folder


def _environ(folder: Path) -> dict[str, str]:
    """Keep the machine's own environments out of it, and have modules compiled on both sides."""
    left_out = ("AWS_", "PIPELINE_", "PIPENV_", "PIP_", "CONDA_", "VIRTUAL_ENV", "WORKON_HOME", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    make_venv(folder / "main")
    program = folder / "bin" / "python3"  # no virtual environment by its place, so it is taken for the main interpreter
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {folder}/main/bin/python "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return env | {"HOME": str(folder), "PATH": os.pathsep.join([str(program.parent), os.defpath])}


def _commands(folder: Path, places: Sequence[Path], env: Mapping[str, str]) -> list[Command]:
    pip = f"{sys.executable} -m pip --disable-pip-version-check --python"
    listing = " && ".join(f"{pip} {place}/bin/python list --format json" for place in places)
    deps = ["-m", "csci_utils.deps", "where", "--json", "--project", str(folder / "project")]
    return [
        Command(name=PIP, args=["sh", "-c", listing], env=env, cwd=REPO),
        Command(name=WHERE, args=[sys.executable, *deps, "--python", str(places[1])], env=env, cwd=REPO),
        Command(name="python -c pass, for comparison", args=[str(BASE_PYTHON), "-c", "pass"], env=env, cwd=REPO),
    ]


def _helps(env: Mapping[str, str]) -> list[Command]:
    return [
        Command(name=name, args=[sys.executable, "-m", module, "--help"], env=env, cwd=REPO)
        for name, module in ((PIP_HELP, "pip"), (HELP, "csci_utils.deps"))
    ]


def _verdict(seconds: Mapping[str, Sequence[float]], name: str) -> str:
    median = statistics.median(seconds[name])
    met = "met" if median < GOALS_S[name] else "MISSED"
    return f"goal, under {GOALS_S[name]:g} s for {name}: {median:.2f} s {met}"
