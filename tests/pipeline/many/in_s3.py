"""What S3 holds of a job of many pictures, looked at past the tested code, and what must hold of it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.servers.stores import Store

Line = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Pictures below a prefix, and one model of which the results are looked at.

    Attributes:
        store: past all proxies.
        bucket: that all lies in.
        prefix: in the bucket, without a slash at its end.
        model: its file's name.
    """

    store: Store
    bucket: str
    prefix: str
    model: str = "mosaic.pth"

    @property
    def root(self) -> str:
        """The S3 root."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def folder(self) -> str:
        """Of the results, below the root."""
        return f"stylized/{Path(self.model).stem}"

    def put(self, name: str, body: bytes) -> None:
        """Put an object there as `put` of the project would."""
        digest = {"sha256": hashlib.sha256(body).hexdigest()}
        self.store.plain.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=body, Metadata=digest)

    def remove_results(self) -> None:
        """Begin anew."""
        for key in self._keys("stylized/"):
            self.store.plain.delete_object(Bucket=self.bucket, Key=key)

    def whole_results(self) -> dict[str, str]:
        """The digests of the results, by name: each of them decodes, and says the digest of its bytes itself."""
        results = {}
        for key in self._keys(f"{self.folder}/"):
            name = key.removeprefix(f"{self.prefix}/{self.folder}/")
            if not name.startswith(".shards/"):
                results[name] = self._checked_digest(key)
        return results

    def manifests(self) -> dict[str, list[Line]]:
        """The lines of the manifests, by key; each is JSON to its end."""
        keys = self._keys(f"{self.folder}/.shards/")
        return {key: [json.loads(line) for line in self._read(key).splitlines()] for key in keys}

    def lines(self) -> dict[str, Line]:
        """The lines of all manifests by picture: one for each."""
        lines = [line for found in self.manifests().values() for line in found]
        images = [line["image"] for line in lines]
        assert len(images) == len(set(images)), "a picture has two lines"
        return dict(zip(images, lines, strict=True))

    def check_lines(self, results: Mapping[str, str]) -> None:
        """Compare what lines tell with what is there: a manifest tells of nothing that is not."""
        for image, line in self.lines().items():
            if "result" in line:
                assert results.get(image) == line["result"]["sha256"], image
                assert line["result"]["name"] == f"{Path(self.folder).name}/{image}"

    def check_complete(self, images: Collection[str], *, num_shards: int | None = None) -> dict[str, str]:
        """Check that there is one right result and one right line of each picture, and nothing else; return digests."""
        results, lines = self.whole_results(), self.lines()
        assert sorted(results) == sorted(images)
        assert sorted(lines) == sorted(images)
        model = self._digest(f"saved_models/{self.model}")
        for image, line in lines.items():
            assert line["result"]["sha256"] == results[image], image
            assert line["result"]["name"] == f"{Path(self.folder).name}/{image}"
            assert line["made_from"]["image"]["sha256"] == self._digest(f"images/{image}"), image
            assert line["made_from"]["model"]["sha256"] == model, image
        assert num_shards in (None, len(self.manifests()))
        assert len(self._keys("stylized/")) == len(images) + len(self.manifests())
        assert self.store.uploads(self.bucket) == []
        return results

    def _digest(self, name: str) -> str:
        return hashlib.sha256(self._read(f"{self.prefix}/{name}")).hexdigest()

    def _checked_digest(self, key: str) -> str:
        answer = self.store.plain.get_object(Bucket=self.bucket, Key=key)
        body = answer["Body"].read()
        digest = hashlib.sha256(body).hexdigest()
        assert answer["Metadata"]["sha256"] == digest, key
        with Image.open(io.BytesIO(body)) as picture:
            picture.load()
        return digest

    def _read(self, key: str) -> bytes:
        body = self.store.read(self.bucket, key)
        assert body is not None, key
        return body

    def _keys(self, below: str) -> list[str]:
        return [key for key in self.store.keys(self.bucket) if key.startswith(f"{self.prefix}/{below}")]
