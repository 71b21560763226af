"""The peers in Python: plain boto3 and luigi's own S3 target, each as its documentation uses it.

`python -m bench.plain WHAT ARGUMENT...`; nothing here imports this project's store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.stopwatch import told


def main() -> None:
    """Do one thing once, with the client made before the clock starts."""
    PROGRAMS[sys.argv[1]](*sys.argv[2:])


def fetch(uri: str, path: str) -> None:
    """`download_file`."""
    client, (bucket, key) = _client(), _parsed(uri)
    with told():
        client.download_file(bucket, key, path)


def fetch_all(prefix: str, folder: str, num_threads: str) -> None:
    """`download_file` for all that lies under a prefix, in a pool of threads."""
    client, (bucket, under) = _client(int(num_threads)), _parsed(prefix)
    with told(), ThreadPoolExecutor(int(num_threads)) as pool:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=under)
        keys = [each["Key"] for page in pages for each in page["Contents"]]
        list(pool.map(lambda key: client.download_file(bucket, key, str(Path(folder, Path(key).name))), keys))


def send_all(folder: str, prefix: str, num_threads: str) -> None:
    """`upload_file` for the files of a folder, in a pool of threads."""
    client, (bucket, under) = _client(int(num_threads)), _parsed(prefix)
    with told(), ThreadPoolExecutor(int(num_threads)) as pool:
        paths = sorted(Path(folder).iterdir())
        list(pool.map(lambda path: client.upload_file(str(path), bucket, f"{under}/{path.name}"), paths))


def look(uri: str, times: str) -> None:
    """`S3Target.exists`, so many times."""
    from luigi.contrib.s3 import S3Target

    target: Any = S3Target(uri)  # type: ignore[no-untyped-call]  # luigi says that it is typed
    target.fs.s3  # noqa: B018 -- made here, before the clock starts
    with told() as seen:
        for _ in range(int(times)):
            seen["found"] = target.exists()


def _client(num_threads: int = 1) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(max_pool_connections=max(10, 2 * num_threads)))


def _parsed(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


PROGRAMS: dict[str, Callable[..., None]] = {"fetch": fetch, "fetch-all": fetch_all, "send-all": send_all, "look": look}


def args(what: str, *arguments: str) -> list[str]:
    """Return the arguments after `python` that run one of these."""
    return ["-m", "bench.plain", what, *arguments]


if __name__ == "__main__":
    main()
