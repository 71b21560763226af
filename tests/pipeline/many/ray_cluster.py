"""A Ray cluster on 127.0.0.1, for tests, of several nodes as if each were a machine; it lives as long as its stdin.

Run as a program, with the number of processors and the environment of each node as JSON. The first line of its output
says, as JSON, where it is, and by which processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = "127.0.0.1"


@dataclass(frozen=True)
class RayCluster:
    """A cluster that runs.

    Attributes:
        address: as ``host:port``.
        gcs: the process without which it ends.
        raylets: of its nodes.
    """

    address: str
    gcs: int
    raylets: list[int]


@contextmanager
def ray_cluster(*nodes: dict[str, Any]) -> Iterator[RayCluster]:
    """Run a cluster.

    Args:
        nodes: each with ``num_cpus``, and with ``env`` besides this process's; the head first.
    """
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # a short name
        ours = {
            "RAY_TMPDIR": folder,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray takes the network's address for 127.0.0.1
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
        }
        with (
            open(Path(folder, "log"), "wb") as log,
            subprocess.Popen(
                [sys.executable, __file__, json.dumps(nodes)],
                env={**os.environ, **ours},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            ) as program,
        ):
            try:
                assert program.stdout is not None
                facts = program.stdout.readline()
                assert facts, Path(folder, "log").read_text()
                yield RayCluster(**json.loads(facts))
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)


def main(nodes: list[dict[str, Any]]) -> None:
    from ray.cluster_utils import Cluster

    cluster, begun = Cluster(), []
    for node in nodes:
        settings = {"num_cpus": node["num_cpus"], "env_vars": node.get("env", {}), "include_dashboard": False}
        begun.append(cluster.add_node(node_ip_address=HERE, object_store_memory=80 * 1024 * 1024, **settings))
    facts = {
        "address": cluster.address,
        "gcs": pid(begun[0], "gcs_server"),
        "raylets": [pid(node, "raylet") for node in begun],
    }
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()
    sys.stdin.read()


def pid(node: Any, kind: str) -> int:
    return int(node.all_processes[kind][0].process.pid)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
