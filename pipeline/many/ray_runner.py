"""Shards on Ray: on a cluster that is there, or on one that is started here and ends with the run."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from csci_utils.luigi.failure import ExitStatus, Failure
from csci_utils.s3.errors import one_line
from pipeline import settings
from pipeline.errors import PipelineError
from pipeline.many.ray_messages import AUTO, Counted, Ended, Event, Job, Logged, NotBegun, Terms, is_gone_now
from pipeline.many.ray_process import JOINING_S, STARTING_S, RayProcess, folder_for_ray
from pipeline.many.ray_worker import ENDPOINTS
from pipeline.many.shards import Shard
from pipeline.many.tally import Tally, TooManyFailuresError

_ANSWER_S = 5.0
_PLACES_OF_STORE = (*ENDPOINTS, "AWS_REGION", "AWS_DEFAULT_REGION")

logger = logging.getLogger(__name__)


class RayUnavailableError(PipelineError, ConnectionError):
    """There is no Ray to run anything on."""

    exit_status = ExitStatus.NOT_RUN


def run_on_ray(shards: Sequence[Shard], *, address: str | None, tally: Tally) -> dict[str, Failure | None]:
    """Run shards on the workers of a Ray cluster, each of which keeps the models that it has loaded.

    A worker that dies is replaced, and its shard goes on where it stopped; one that ends three workers has failed. The
    credentials for the store are each node's own affair, and so is its local root; where Ray is started here, workers
    have this process's.

    Args:
        shards: What to run.
        address: Of a cluster that this machine is a node of, as ``host:port`` or ``auto``; None starts one here, for
            this machine alone.
        tally: Counts what comes of them; when it is exhausted no shard goes on.

    Returns:
        What went wrong, or None, by identity.

    Raises:
        PipelineError: the request makes no sense, or Ray is not installed.
        RayUnavailableError: Ray cannot be started, or there is no cluster of that address.
    """
    address = _checked(address)
    outcomes: dict[str, Failure | None] = {}
    with folder_for_ray() as folder:
        job = Job(shards=tuple(shards), terms=_terms(address), address=address, folder=str(folder))
        with RayProcess(job) as process:
            for event in process.events():
                _take(event, outcomes, tally=tally, cluster=job.cluster)
                if tally.is_exhausted():
                    process.stop()
            left = [shard.identity for shard in shards if shard.identity not in outcomes]
            why = _why_left(process, job, is_stopped=tally.is_exhausted()) if left else None
    return outcomes | dict.fromkeys(left, why)


def _checked(address: str | None) -> str | None:
    """The address to go to.

    Raises:
        PipelineError: it cannot be one, or Ray is not installed.
        RayUnavailableError: nothing listens there.
    """
    if importlib.util.find_spec("ray") is None:
        raise PipelineError("Ray is not installed: pip install 'neural-style-pipeline[ray]' (or [all])")
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS") or AUTO
    if address is None or address == AUTO:
        return address
    host, port = _host_and_port(address)
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as err:
        why = one_line(err.strerror or str(err) or type(err).__name__)
        raise RayUnavailableError(
            f"no Ray cluster answers at {address} ({why}); see `ray status` there, or leave out --ray-address"
        ) from err
    return address


def _host_and_port(address: str) -> tuple[str, int]:
    with suppress(ValueError):
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.port and parts.netloc == address and "@" not in address:
            return parts.hostname, parts.port
    found = "a login in it" if "@" in address else repr(address)
    raise PipelineError(
        f"--ray-address wants HOST:PORT of a cluster that this machine is a node of, or {AUTO}, found {found}"
    )


def _terms(address: str | None) -> Terms:
    now = settings.current()
    if address is None and now.device.startswith("cuda:"):
        raise PipelineError(
            f"Ray gives each worker a GPU of its own, found --device {now.device}; say --device cuda, and in "
            "CUDA_VISIBLE_DEVICES which ones"
        )
    found = {name: os.environ[name] for name in _PLACES_OF_STORE if os.environ.get(name)}
    return Terms(
        device=now.device,
        engine=now.engine,
        memory=now.memory,
        s3_limits=now.s3_limits,
        s3_addressing_style=now.s3_addressing_style,
        s3_environment={name: value for name, value in found.items() if "@" not in value},  # an address with a login
        local_root=str(now.local_root) if address is None else None,
        log_level=logging.getLogger("pipeline").getEffectiveLevel(),
    )


def _take(event: Event, outcomes: dict[str, Failure | None], *, tally: Tally, cluster: str) -> None:
    match event:
        case Counted(pictures, failures, num_bytes):
            tally.add(pictures=pictures, failures=failures, num_bytes=num_bytes)
        case Ended(identity, failure):
            outcomes[identity] = failure
        case Logged(level, text):
            logger.log(level, "%s", text)
        case NotBegun(sentence):
            raise RayUnavailableError(f"{cluster} cannot be used: {sentence}")


def _why_left(process: RayProcess, job: Job, *, is_stopped: bool) -> Failure:
    """Say why shards are left of which nothing was told.

    Raises:
        RayUnavailableError: not one could be begun.
    """
    if is_stopped:
        sentence = "not begun, for more pictures failed than may; mend them, or allow more with --max-failures"
        return Failure(ExitStatus(TooManyFailuresError.exit_status), sentence)
    logger.info("Ray's last words: %s", process.last_words())
    if process.has_begun:
        return Failure(ExitStatus.NOT_RUN, is_gone_now(job.cluster))
    if job.address is None:
        raise RayUnavailableError(f"Ray does not start here within {STARTING_S:.0f} s; see why with --verbose")
    raise RayUnavailableError(
        f"{job.cluster} did not answer within {JOINING_S:.0f} s; see whether there is one, whether this machine is one "
        "of its nodes (`ray status`), and whether RAY_AUTH_TOKEN is right"
    )
