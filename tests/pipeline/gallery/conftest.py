"""Results as a run leaves them, with their pictures, made by hand in a moment; nothing asks S3 about them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from csci_utils.copies import CopyRecord
from csci_utils.io import record_path
from pipeline import settings
from pipeline.results import Source
from tests.pipeline.conftest import ROOT, encoded_picture

MADE_BY = {"engine": "torch", "engine_version": "2.15", "device": "cpu", "threads": 2, "precision": "float32"}


@dataclass(frozen=True)
class Shelf:
    """A local root."""

    root: Path

    def picture(self, name: str, data: bytes) -> Source:
        """Put a copy of a picture there, as it is fetched."""
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        source = source_of(f"images/{name}", data)
        write(path, CopyRecord(**asdict(source), mtime_ns=path.stat().st_mtime_ns).to_dict())
        return source

    def result(
        self, image: str, style: str, *, of: bytes | None = None, seed: int = 1, data: bytes | None = None, **other: Any
    ) -> Path:
        """Put a result there, of a picture that is put there, too.

        Args:
            image: Name of the picture.
            style: Of the model, without its suffix.
            of: The picture's bytes; drawn by its name, if not given.
            seed: Of the result's pixels.
            data: The result's bytes, instead of drawn ones.
            other: In place of parts of the record.
        """
        source = self.picture(image, of or encoded_picture("x.png", seed=len(image)))
        data = data or encoded_picture("x.png", seed=100 + seed)
        path = self.root / "stylized" / style / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        model = source_of(f"saved_models/{style}.pth", style.encode())
        record = {
            "format": 1,
            "made_from": {"image": asdict(source), "model": asdict(model)},
            "parameters": {"max_side": None, "quality": 95, "precision": "float32", "algorithm": 1},
            "made_by": MADE_BY,
            "result": {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)},
        }
        write(path, record | other)
        return path

    @property
    def page(self) -> Path:
        return self.root / "gallery" / "index.html"

    def write(self, *names: str, **options: Any) -> list[str]:
        """Write the page, and return what was said."""
        from pipeline.gallery.gallery import write_gallery

        told: list[str] = []
        assert write_gallery(names, result=told.append, tell=told.append, **options) == 0
        return told


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record without waiting for the disk."""
    record_path(path).write_text(json.dumps(record))


def source_of(name: str, data: bytes) -> Source:
    digest = hashlib.sha256(data).hexdigest()
    return Source(uri=f"{ROOT}/{name}", etag=digest[:32], sha256=digest, size_bytes=len(data), checked_by="sha256")


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """An empty one, offline."""
    root = tmp_path / "data"
    with settings.use(settings.read_settings(s3_root=ROOT, local_root=os.fspath(root), offline=True, dotenv=False)):
        yield Shelf(root)
