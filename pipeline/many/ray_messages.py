"""What this process and the one that speaks with Ray tell each other, pickled, through that one's standard streams."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import IO, Any

from csci_utils.luigi.failure import Failure
from csci_utils.s3 import S3Limits
from pipeline.many.shards import Shard

AUTO = "auto"
"""The address of the cluster that RAY_ADDRESS names, or of the one that runs on this machine."""

VERSION = "version"
"""The key of a worker's greeting under which it says which package it runs."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What every worker is told of a run: plain data, and no credentials, which each node has for itself.

    Attributes:
        device: As in `pipeline.settings.Settings`, and so the next four.
        engine: See there.
        memory: See there.
        s3_limits: See there.
        s3_addressing_style: See there; empty leaves it to the node.
        s3_environment: boto3's variables that say where the store is, for a node that has none of its own.
        local_root: The folder of local copies; None leaves that to the node.
        log_level: Of the project's own loggers.
    """

    device: str
    engine: str
    memory: str
    s3_limits: S3Limits
    s3_addressing_style: str
    s3_environment: dict[str, str] = field(default_factory=dict)
    local_root: str | None
    log_level: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be run.

    Attributes:
        shards: Each once.
        terms: For the workers.
        address: Of the cluster, as Ray takes it; None starts one here.
        folder: For what Ray writes where it is started here.
    """

    shards: tuple[Shard, ...]
    terms: Terms
    address: str | None
    folder: str

    @property
    def cluster(self) -> str:
        """As people name it."""
        if self.address in (None, AUTO):
            return "Ray on this machine"
        return f"the Ray cluster at {self.address}"


@dataclass(frozen=True)
class Counted:
    """What has come since the last time: pictures that are done with, failures among them, bytes."""

    pictures: int = 0
    failures: int = 0
    num_bytes: int = 0


@dataclass(frozen=True)
class Logged:
    """A line for the log."""

    level: int
    text: str


@dataclass(frozen=True)
class Report:
    """How far a worker is.

    Attributes:
        identity: Of the shard that it began last; empty before the first.
        counted: What has come of that shard since then.
        lines: What was logged since the last report.
    """

    identity: str
    counted: Counted
    lines: tuple[Logged, ...]


@dataclass(frozen=True)
class Outcome:
    """How a worker's run of a shard ended.

    Attributes:
        failure: What went wrong.
        is_of_node: Whether another node may have no such trouble: with its disk, its memory, its way to the store.
        report: The last one of the shard.
    """

    failure: Failure | None
    is_of_node: bool
    report: Report


@dataclass(frozen=True)
class Ended:
    """A shard has ended, well where there is no failure."""

    identity: str
    failure: Failure | None


@dataclass(frozen=True)
class Begun:
    """Ray is there, and shards can be run."""


@dataclass(frozen=True)
class NotBegun:
    """Nothing can be run at all."""

    sentence: str


Event = Begun | Counted | Logged | Ended | NotBegun

STOP = "stop"
"""Said to the other process: begin no shard any more, and end those that run, after the picture at hand."""


def is_gone_now(cluster: str) -> str:
    """Say what a cluster's end means."""
    return f"{cluster} is gone; what is in S3 stays, run it again to go on"


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message whole."""
    stream.write(pickle.dumps(message))
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read the next message; None when no more will come."""
    try:
        return pickle.load(stream)
    except (EOFError, pickle.UnpicklingError):  # the latter: cut off
        return None
