"""The stores that tests run against, behind one face: where they are, and a plain look at what they hold."""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.servers.swift import SwiftServer

REGION = "us-east-1"
_MOTOS_TIME = "2010-11-10T20:48:33.000Z"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Store:
    """A store that runs.

    Attributes:
        name: "moto" or "swift".
        url: of its S3 interface.
        access_key, secret_key: which it takes.
        plain: a boto3 client straight to it, which shares nothing with what is tested.
    """

    name: str
    url: str
    access_key: str
    secret_key: str
    plain: Any

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Return the variables by which a user names this store, or a way to it."""
        return {
            "AWS_ENDPOINT_URL_S3": url or self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
        }

    def new_bucket(self) -> str:
        """Make a bucket that nobody else uses."""
        bucket = f"bucket-{os.getpid()}-{next(_numbers)}"
        self.plain.create_bucket(Bucket=bucket)
        return bucket

    def read(self, bucket: str, key: str) -> bytes | None:
        """Return what lies under a key; None when nothing does."""
        try:
            with self.plain.get_object(Bucket=bucket, Key=key)["Body"] as body:
                return bytes(body.read())
        except (self.plain.exceptions.NoSuchKey, self.plain.exceptions.NoSuchBucket):
            return None

    def keys(self, bucket: str) -> list[str]:
        """List what is in a bucket."""
        pages = self.plain.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def uploads(self, bucket: str) -> list[str]:
        """List the keys of the multipart uploads that are under way in a bucket, or were left behind."""
        pages = self.plain.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Uploads", ())]

    def remove_bucket(self, bucket: str) -> None:
        """Remove a bucket with all that is in it."""
        for key in self.keys(bucket):
            self.plain.delete_object(Bucket=bucket, Key=key)
        self.plain.delete_bucket(Bucket=bucket)


@contextmanager
def store_at(url: str, *, name: str, access_key: str, secret_key: str) -> Iterator[Store]:
    """Describe a store that runs."""
    client = _plain_client(url, access_key=access_key, secret_key=secret_key)
    try:
        yield Store(name, url, access_key, secret_key, client)
    finally:
        client.close()


def _plain_client(url: str, *, access_key: str, secret_key: str) -> Any:
    """Make a client of which the developer's own settings know nothing."""
    import boto3
    from botocore.config import Config

    no_checksums = Config(request_checksum_calculation="when_required")  # which botocore would compare for our code
    strangers = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nobodys = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with mock.patch.dict(os.environ, strangers | nobodys, clear=True):
        session = boto3.session.Session(access_key, secret_key, region_name=REGION)
        return session.client("s3", endpoint_url=url, config=no_checksums)


def moto_at(url: str) -> AbstractContextManager[Store]:
    """Describe a moto that runs; it takes any keys."""
    return store_at(url, name="moto", access_key="test-key", secret_key="test-secret")


def swift_at(swift: SwiftServer) -> AbstractContextManager[Store]:
    """Describe a Swift that runs."""
    return store_at(swift.url, name="swift", access_key=swift.access_key, secret_key=swift.secret_key)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run a moto in this process, and give its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it reports each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with _uploads_have_times():
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


@contextmanager
def _uploads_have_times() -> Iterator[None]:
    """Let moto (5.2) list multipart uploads with the time when each was begun; it lists all as of 2010."""
    from moto.s3.models import FakeMultipart
    from moto.s3.responses import S3Response

    since: dict[str, str] = {}
    begin, list_uploads = FakeMultipart.__init__, S3Response.list_multipart_uploads

    def begin_at(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        since[self.id] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())

    def list_with_times(self: Any) -> Any:
        status, headers, text = list_uploads(self)
        for upload_id, begun in since.items():
            block = rf"(?s)<Upload>(?:(?!</Upload>).)*<UploadId>{upload_id}</UploadId>.*?</Upload>"
            text = re.sub(block, lambda found: found[0].replace(_MOTOS_TIME, begun), text)  # noqa: B023
        return status, headers, text

    with (
        mock.patch.object(FakeMultipart, "__init__", begin_at),
        mock.patch.object(S3Response, "list_multipart_uploads", list_with_times),
    ):
        yield
