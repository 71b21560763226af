"""The store: our transfers against the tools people use, on a Swift on loopback."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.inputs import REPO
from bench.measure import Command, processes_under
from tests.servers.swift import swift_server

BUCKET = "bench"
REGION = "us-east-1"
_BLOCK_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is moved; KB, MB and GB are powers of ten here."""

    big_bytes: int = 256_000_000
    huge_bytes: int = 1_000_000_000
    small_bytes: int = 200_000
    num_small: int = 500
    num_looks: int = 50


@dataclass(frozen=True, kw_only=True)
class Store:
    """A Swift that runs, and a folder to work in.

    Attributes:
        url: where it answers.
        env: the environment that reaches it, with no other AWS or pipeline setting in it.
        folder: on the disk that Swift's own files are on.
        server_pids: the processes of its four servers.
        sizes: how much is moved.
        plain: a boto3 client.
    """

    url: str
    env: dict[str, str]
    folder: Path
    server_pids: Sequence[int]
    sizes: Sizes
    plain: Any

    def command(self, name: str, args: Sequence[str], before: Callable[[], None] = lambda: None) -> Command:
        """Make a command that finds this store; what others wrote before it is on the disk when it starts."""

        def settled() -> None:
            before()
            os.sync()

        return Command(name=name, args=args, env=self.env, cwd=REPO, before=settled)

    def python(self, name: str, args: Sequence[str], before: Callable[[], None] = lambda: None) -> Command:
        """Make a command of this Python."""
        return self.command(name, [sys.executable, *args], before)

    def new_file(self, name: str, num_bytes: int) -> tuple[Path, str]:
        """Make a file of random bytes; return it and its sha256."""
        path, digest = self.folder / name, hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, num_bytes, _BLOCK_BYTES):
                block = os.urandom(min(_BLOCK_BYTES, num_bytes - start))
                digest.update(block)
                file.write(block)
        return path, digest.hexdigest()

    def send_whole(self, path: Path, key: str, *, sha256: str) -> None:
        """Send a file by one PUT, with the metadata that our own uploads carry."""
        with path.open("rb") as body:
            self.plain.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata={"sha256": sha256})


@contextmanager
def open_store(sizes: Sizes) -> Iterator[Store]:
    """Run a Swift with one empty bucket.

    Raises:
        tests.servers.swift.SwiftMissingError: `make setup-swift` was not run.
    """
    import boto3

    with swift_server() as swift, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        foreign = ("AWS_", "PIPELINE_", "LUIGI_", "S3_", "PYTHONDONTWRITEBYTECODE")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        env |= {
            "AWS_ENDPOINT_URL_S3": swift.url,
            "AWS_ACCESS_KEY_ID": swift.access_key,
            "AWS_SECRET_ACCESS_KEY": swift.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "S3_ENDPOINT_URL": swift.url,  # s5cmd's name for it
        }
        plain = boto3.client(
            "s3",
            endpoint_url=swift.url,
            aws_access_key_id=swift.access_key,
            aws_secret_access_key=swift.secret_key,
            region_name=REGION,
        )
        plain.create_bucket(Bucket=BUCKET)
        yield Store(
            url=swift.url,
            env=env,
            folder=Path(folder),
            server_pids=processes_under(swift.pid),
            sizes=sizes,
            plain=plain,
        )
        plain.close()


def sections() -> dict[str, Callable[..., Iterator[list[str]]]]:
    """The comparisons by name: each takes a store and the number of rounds, and gives tables as it makes them."""
    from bench import big, digest, looks, memory, small

    return {"exists": looks.run, "big": big.run, "small": small.run, "digest": digest.run, "memory": memory.run}


def run(names: Sequence[str], *, rounds: int, sizes: Sizes | None = None) -> Iterator[list[str]]:
    """Lines of the report, a table at a time."""
    known = sections()
    with open_store(sizes or Sizes()) as store:
        for name in names:
            yield from known[name](store, rounds=rounds)
