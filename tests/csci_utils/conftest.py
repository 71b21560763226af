"""What the tests of `csci_utils` share: a fresh client, short pauses, a bucket, and a store that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from csci_utils import s3
from tests.csci_utils.fake_store import FakeStore


@pytest.fixture(autouse=True)
def _fresh_client() -> Iterator[None]:
    """No client and no limits from another test."""
    s3.use_limits(s3.S3Limits())
    yield
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
    s3.client().create_bucket(Bucket="bucket")
    return "bucket"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> Iterator[FakeStore]:
    """A store of one object that misbehaves as told, named by the environment."""
    with FakeStore() as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", fake.url)
        yield fake
