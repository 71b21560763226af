"""An S3 server in a process of its own, which can be filled in no time and tells when it was asked for what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.inputs import REPO
from bench.styling import clean_env


class Asked(NamedTuple):
    """A request.

    Attributes:
        begun_s: When it came, by this machine's monotonic clock.
        ended_s: When it was answered.
        method: As GET.
        target: Path and query.
    """

    begun_s: float
    ended_s: float
    method: str
    target: str


@dataclass(frozen=True, kw_only=True)
class NotingStore:
    """A server that runs.

    Attributes:
        process: Moto's.
        env: The environment that reaches it, with no other AWS or pipeline setting in it.
    """

    process: subprocess.Popen[str]
    env: dict[str, str]

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def fill(self, prefix: str, paths: Iterable[Path]) -> None:
        """Put files below a prefix, as ``root/images/``, under their own names."""
        self._ask(do="fill", prefix=prefix, paths=list(map(str, paths)))

    def forget(self, prefix: str) -> None:
        """Remove what lies below a prefix."""
        self._ask(do="forget", prefix=prefix)

    def count(self, prefix: str) -> int:
        """Count the objects below a prefix."""
        return int(self._ask(do="keys", prefix=prefix))

    def requests(self) -> list[Asked]:
        """Return what was asked since the last call, in the order of coming."""
        return sorted(Asked(*each) for each in self._ask(do="requests"))

    def _ask(self, **wanted: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: PT018 -- both were asked for
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the store's process ended when it was asked to {wanted['do']}; see its words above")
        return json.loads(answer)


@contextmanager
def noting_store() -> Iterator[NotingStore]:
    """Run one, with no bucket yet."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.many_store_program"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env=clean_env(),
    ) as server:
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018 -- both were asked for
        port = server.stdout.readline().strip()
        foreign = ("PYTHONDONTWRITEBYTECODE",)  # compiled modules, as an installed program has them
        env = {
            **{name: value for name, value in clean_env().items() if name not in foreign},
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        yield NotingStore(process=server, env=env)
        server.stdin.close()
