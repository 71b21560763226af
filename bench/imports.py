"""What it costs to start: our modules against the three libraries that any such program imports."""

from __future__ import annotations

import os
import sys

from bench.inputs import REPO
from bench.measure import Command, interleaved_s, table

PEER = "import luigi, boto3, click"


def run(*, rounds: int) -> list[str]:
    """Lines of the report."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_"))}
    # Compiled modules on both sides, as an installed program has them.
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def python(name: str, *args: str) -> Command:
        return Command(name=name, args=[sys.executable, *args], env=env, cwd=REPO)

    commands = [
        python(PEER, "-c", PEER),
        python("import pipeline.tasks, pipeline.cli", "-c", "import pipeline.tasks, pipeline.cli"),
        python("python -m pipeline --help", "-m", "pipeline", "--help"),
    ]
    seconds = interleaved_s(commands, rounds=rounds, discarded=2)
    return [f"start-up: {rounds} rounds interleaved, 2 discarded before them", *table(seconds, peer=PEER)]
