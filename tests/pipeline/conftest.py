"""A bucket with small pictures and small nets in it, and settings that point there."""

from __future__ import annotations

import functools
import io
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from csci_utils.s3 import S3Uri, client, forget_client, put
from pipeline import settings
from pipeline.cli import exit_status
from pipeline.console import LineHandler

BUCKET = "pictures"
ROOT = f"s3://{BUCKET}/styled"

TRAIN = ("train", "-s", "wave.png", "-d", "few", "--features", "random", "--steps", "4", "--image-size", "64")
SMALL = (*TRAIN, "--widths", "4,4,8", "--batch-size", "2", "--log-interval", "2", "--checkpoint-interval", "2")
"""A training of four steps on `pictures`."""


@dataclass(frozen=True)
class Bucket:
    """What tests put into S3, and where its mirror lies."""

    root: str
    local: Path
    scratch: Path

    def put_bytes(self, name: str, content: bytes) -> None:
        path = self.scratch / "object"
        path.write_bytes(content)
        put(path, S3Uri.parse(f"{self.root}/{name}"))

    def put_image(self, name: str, *, seed: int = 1, size: tuple[int, int] = (32, 24)) -> None:
        self.put_bytes(f"images/{name}", encoded_picture(name, seed=seed, size=size))

    def put_model(self, name: str, *, seed: int = 1) -> None:
        self.put_bytes(f"saved_models/{name}", model_bytes(seed))

    def files(self) -> list[str]:
        """Every file below the local root, hidden ones too."""
        return sorted(str(path.relative_to(self.local)) for path in self.local.rglob("*") if path.is_file())


def encoded_picture(name: str, *, seed: int = 1, size: tuple[int, int] = (32, 24), **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image_format = Image.registered_extensions()[Path(name).suffix.lower()]
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


@functools.cache
def model_bytes(seed: int = 1) -> bytes:
    import torch

    from neural_style.transformer_net import TransformerNet

    torch.manual_seed(seed)
    buffer = io.BytesIO()
    torch.save(TransformerNet(widths=(4, 8, 12)).state_dict(), buffer)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings or task of one test is met by the next, and a client only where it would be the same."""
    import luigi.task_register

    luigi.task_register.Register.clear_instance_cache()
    yield
    settings._current = None
    if aws_environment() != _clients_environment:
        forget_client()


def aws_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


_clients_environment: dict[str, str] = {}


@pytest.fixture
def store(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, configured by the environment as a user would."""
    monkeypatch.setenv("PIPELINE_S3_ROOT", ROOT)
    monkeypatch.setenv("PIPELINE_LOCAL_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("PIPELINE_DEVICE", "cpu")
    monkeypatch.setenv("PIPELINE_ENGINE", "torch")  # which needs no conversion; others are tested with the net
    monkeypatch.chdir(tmp_path)
    if aws_environment() != _clients_environment:
        forget_client()
        _clients_environment.clear()
        _clients_environment.update(aws_environment())
    client().create_bucket(Bucket=BUCKET)
    (tmp_path / "scratch").mkdir()
    return Bucket(ROOT, tmp_path / "data", tmp_path / "scratch")


@pytest.fixture
def bucket(store: Bucket) -> Bucket:
    """The bucket with one picture and one model in it."""
    store.put_image("luigi.jpg")
    store.put_model("mosaic.pth")
    return store


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is kept of `model_bytes` where onnxruntime has run it."""
    from neural_style.stylize import Stylizer

    folder = tmp_path_factory.mktemp("conversions")
    (folder / "model.pth").write_bytes(model_bytes())
    Stylizer(folder / "model.pth", engine="onnxruntime", cache=folder / "models")
    return folder / "models"


@pytest.fixture
def converted(bucket: Bucket, conversions: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket, whose model has been converted: a process of its own need not import torch, which takes seconds."""
    monkeypatch.setenv("PIPELINE_ENGINE", "onnxruntime")
    shutil.copytree(conversions, bucket.local / ".cache" / "models")
    return bucket


@pytest.fixture
def pictures(store: Bucket) -> Iterator[Bucket]:
    """A painting and a dataset of three pictures; of such small ones one thread learns faster than many."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    store.put_bytes("styles/wave.png", encoded_picture("wave.png", seed=7, size=(64, 64)))
    for number in range(3):
        store.put_bytes(f"datasets/few/{number}.png", encoded_picture("x.png", seed=number, size=(80, 72)))
    yield store
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def _logging_as_before():
    root, level = logging.getLogger(), logging.getLogger().level
    yield
    for handler in [handler for handler in root.handlers if isinstance(handler, LineHandler)]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def run(capsys):
    """Run the command line in this process: status, lines of standard output, lines of standard error."""

    def call(*args: str) -> tuple[int, list[str], list[str]]:
        status = exit_status(args)
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return call
