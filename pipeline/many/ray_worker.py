"""What Ray makes an actor of: it runs shard after shard on a node, and keeps the models that it has loaded.

Nothing of Ray is imported here. One thread runs a shard, another answers meanwhile how far it is.
"""

from __future__ import annotations

import collections
import logging
import os
import platform
import threading
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.s3 import forget_client
from neural_style.contract import ALGORITHM_VERSION
from pipeline.many.ray_messages import VERSION, Counted, Logged, Outcome, Report, Terms
from pipeline.many.shards import Shard

THREADS = 2
"""Of an actor: one for the shard, one for questions."""

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""How boto3 is told where the store is."""

_PACKAGE = "neural-style-pipeline"
_PACKAGES = ("pipeline", "csci_utils", "neural_style")
_MOST_LINES = 1000

logger = logging.getLogger(__name__)


def package_version() -> str:
    """Name what this process would style with: results of another version are other results."""
    try:
        number = version(_PACKAGE)
    except PackageNotFoundError:  # found by its path, as in a checkout that nobody installed
        number = "not installed"
    return f"{number}, algorithm {ALGORITHM_VERSION}"


class ShardWorker:
    """Runs shards, one at a time."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._lines = _Lines()
        self._terms: Terms | None = None

    def greet(self) -> dict[str, str]:
        """Say what this runs, in plain words that a driver of any version understands."""
        return {VERSION: package_version()}

    def run(self, shard: Shard, terms: Terms, num_cpus: int) -> Outcome:
        """Run a shard; what goes wrong is told and not raised: what is raised here is Ray's affair.

        Args:
            shard: What to do.
            terms: The same at each call.
            num_cpus: So many of the node's processors are this worker's.
        """
        self._counts.begin(shard.identity)
        failure, is_of_node = None, False
        try:
            from pipeline.many.shard_run import run_shard

            self._accept(terms, s3_root=shard.s3_root)
            run_shard(shard, tally=self._counts, workers=_sharers(num_cpus))
        except Exception as err:
            failure, is_of_node = describe_failure(err), _is_of_node(err)
            if failure.status is ExitStatus.DEFECT:
                logger.error("a defect, not a fault of the input", exc_info=err)
        return Outcome(failure, is_of_node, self.report(stop=False))

    def report(self, *, stop: bool) -> Report:
        """Say how far this is.

        Args:
            stop: End the shard that runs after the pictures at hand, and so those that follow.
        """
        return Report(*self._counts.read(stop=stop), self._lines.take())

    def _accept(self, terms: Terms, *, s3_root: str) -> None:
        if terms == self._terms:
            return
        from pipeline.style import tidy

        self._lines.listen(terms.log_level)
        put_in_force(terms, s3_root=s3_root)
        tidy()  # a worker that died on this node has left scratch files
        self._terms = terms


def put_in_force(terms: Terms, *, s3_root: str) -> None:
    """Make this process one that works under these terms, and by what its node says for itself, until it ends.

    Raises:
        NotConfiguredError: the node's own settings do not make sense.
    """
    from pipeline import settings

    found = settings.read_settings(
        s3_root=s3_root,
        local_root=terms.local_root,
        device=terms.device,
        engine=terms.engine,
        memory=terms.memory,
        offline=False,
        s3_limits=terms.s3_limits,
        dotenv=terms.local_root is None,  # where we started Ray, the environment holds what `.env` says
    )
    has_endpoint = any(name in os.environ for name in ENDPOINTS)
    for name, value in terms.s3_environment.items():
        if not (has_endpoint and name in ENDPOINTS):
            os.environ.setdefault(name, value)
    forget_client()
    style = terms.s3_addressing_style or found.s3_addressing_style
    _for_good.enter_context(settings.use(replace(found, s3_addressing_style=style)))


_for_good = ExitStack()


def _is_of_node(err: Exception) -> bool:
    """Whether it is about disk, memory, engine, settings or the way to the store, and not about what is in that."""
    from neural_style.errors import EngineError
    from pipeline.errors import NotConfiguredError

    of_node = OSError | MemoryError | EngineError | NotConfiguredError
    return isinstance(err, of_node) and not isinstance(err, FileNotFoundError)


def _sharers(num_cpus: int) -> int:
    """How many such workers there is room for on this node."""
    from neural_style.engines.processor import num_cores

    return -(-num_cores() // max(1, num_cpus))


class _Counts:
    """The tally of one shard's run, read from another thread; what was asked to stop stays so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._identity, self._counted, self._stop = "", Counted(), False

    def begin(self, identity: str) -> None:
        """Count anew."""
        with self._lock:
            self._identity, self._counted = identity, Counted()

    def read(self, *, stop: bool) -> tuple[str, Counted]:
        """Return whose counts these are, and the counts."""
        with self._lock:
            self._stop |= stop
            return self._identity, self._counted

    def add(self, *, pictures: int = 0, failures: int = 0, num_bytes: int = 0) -> None:
        """See `pipeline.many.tally.Tally`."""
        with self._lock:
            now = self._counted
            self._counted = Counted(now.pictures + pictures, now.failures + failures, now.num_bytes + num_bytes)

    def is_exhausted(self) -> bool:
        """See `pipeline.many.tally.Tally`."""
        return self._stop


class _Lines(logging.Handler):
    """Keeps what is logged, the latest lines of it, until somebody asks: Ray's own way would mix it with Ray's."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: collections.deque[Logged] = collections.deque(maxlen=_MOST_LINES)

    def listen(self, level: int) -> None:
        """Take what all loggers say from now on, those of this project from `level` on."""
        root = logging.getLogger()
        if self not in root.handlers:
            root.addHandler(self)
        for name in _PACKAGES:
            logging.getLogger(name).setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._kept.append(Logged(record.levelno, f"{platform.node()}: {self.format(record)}"))

    def take(self) -> tuple[Logged, ...]:
        """Hand the lines out, each once."""
        return tuple(self._kept.popleft() for _ in range(len(self._kept)))
