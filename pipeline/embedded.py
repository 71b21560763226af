"""An S3 server inside this process, for trying things and for `make run`: nothing of it outlives the process."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from csci_utils.io import is_scratch
from csci_utils.s3 import S3Uri, client, forget_client, put, translated
from pipeline.errors import NotConfiguredError

ROOT = "s3://embedded/pipeline"
_HOST = "127.0.0.1"


@contextmanager
def embedded_s3(folder: Path, *, s3_root: str = ROOT) -> Iterator[str]:
    """Serve the files of `folder` under `s3_root`, on a free loopback port, until the block ends.

    Within the block the environment of this process holds the server's address and throw-away credentials and nothing
    else of AWS: neither this process nor a child of it can reach a real account by mistake. It is restored at the end.

    Args:
        folder: Laid out as the bucket is: ``images/``, ``saved_models/``. Hidden files are left out.
        s3_root: The bucket is made, and everything lies under its prefix.

    Yields:
        The server's address, ``http://127.0.0.1:<port>``.

    Raises:
        NotConfiguredError: there is no such folder, or moto is not installed.
    """
    if not folder.is_dir():
        raise NotConfiguredError(
            f"--embedded fills its S3 from {str(folder)!r}, which is not a folder; "
            f"make it with images/ and saved_models/ inside, or name another with --embedded-folder"
        )
    server = _start_server()
    address = "http://{}:{}".format(*server.get_host_and_port())
    try:
        with _only_these_credentials(address):
            try:
                _fill(folder, s3_root)
                yield address
            finally:
                _empty(S3Uri.parse(s3_root).bucket)
    finally:
        server.stop()


def _start_server() -> Any:
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as err:
        raise NotConfiguredError(
            "--embedded needs the moto package, which is not installed: pip install 'neural-style-pipeline[embedded]'"
        ) from err
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it reports each request
    server = ThreadedMotoServer(ip_address=_HOST, port=0, verbose=False)
    server.start()
    return server


@contextmanager
def _only_these_credentials(address: str) -> Iterator[None]:
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    ours = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_ACCESS_KEY_ID": f"embedded-{secrets.token_hex(4)}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    os.environ.update(ours)
    forget_client()
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(before)
        forget_client()


def _fill(folder: Path, s3_root: str) -> None:
    bucket = S3Uri.parse(s3_root).bucket
    with translated(s3_root, "make its bucket in the embedded S3"):
        client().create_bucket(Bucket=bucket)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and not is_scratch(path):
            put(path, S3Uri.parse(f"{s3_root}/{_key(relative)}"))


def _empty(bucket: str) -> None:
    """Remove the bucket: moto's servers of one process share what they hold."""
    with suppress(OSError), translated(f"s3://{bucket}", "remove it"):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", ()):
                client().delete_object(Bucket=bucket, Key=entry["Key"])
        client().delete_bucket(Bucket=bucket)


def _key(relative: Path) -> str:
    try:
        return relative.as_posix().encode().decode()
    except UnicodeEncodeError as err:
        raise NotConfiguredError(f"{relative.as_posix()!r}: a key in S3 is UTF-8, this name is not; rename it") from err
