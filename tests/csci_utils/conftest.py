"""What the tests of `csci_utils` share: a fresh client, short pauses, a bucket, and a store that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csci_utils import s3
from csci_utils.s3.client import _process
from tests.csci_utils.fake_store import FakeStore

MOTO: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _fresh_client(request: pytest.FixtureRequest) -> Iterator[None]:
    """No client and no limits from another test, but moto's, which costs 0.1 s to make, goes from test to test."""
    on_moto = {"bucket", "make"} & set(request.fixturenames)
    kept = _process.client is not None and _process.client.meta.endpoint_url == MOTO.get("url")
    if not (on_moto and kept and s3.limits() == s3.S3Limits()):
        s3.use_limits(s3.S3Limits())
    yield
    if not on_moto:
        s3.use_limits(s3.S3Limits())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause between two tries, none of them made."""
    made: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", made.append)
    return made


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    """An empty bucket on moto."""
    MOTO["url"] = s3_endpoint
    s3.client().create_bucket(Bucket="bucket")
    return "bucket"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> Iterator[FakeStore]:
    """A store of one object that misbehaves as told, named by the environment."""
    with FakeStore() as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", fake.url)
        yield fake
