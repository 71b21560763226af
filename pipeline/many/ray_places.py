"""Where on a Ray cluster workers can be."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CPUS_EACH = 8
"""Processors of one worker at most: beyond that, what Python does one after the other is what is waited for."""


@dataclass(frozen=True)
class Place:
    """Where a worker can be, and what of the node is its own."""

    node: str
    cpus: int
    gpus: int = 0


def places_on(nodes: Mapping[str, Mapping[str, Any]], device: str) -> list[Place]:
    """Cut nodes into places for workers, the first of each node before the second ones.

    Where there are GPUs, and they may be used, there is a place for each of them and no other.
    """
    resources = {node: facts["Resources"] for node, facts in nodes.items()}
    gpus = {node: int(found.get("GPU", 0)) for node, found in resources.items()}
    cpus = {node: int(found.get("CPU", 0)) for node, found in resources.items()}
    by_node = [
        [Place(node, min(CPUS_EACH, cpus[node] - begin)) for begin in range(0, cpus[node], CPUS_EACH)] for node in nodes
    ]
    if (device == "auto" or is_gpu(device)) and any(gpus.values()):
        by_node = [[Place(node, cpus[node] // gpus[node], gpus=1)] * gpus[node] for node in nodes if gpus[node]]
    return [place for turn in itertools.zip_longest(*by_node) for place in turn if place is not None]


def is_gpu(device: str) -> bool:
    """Whether a device is a GPU and nothing else."""
    return device.startswith("cuda")
