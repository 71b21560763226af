"""What the tests of kills, faults and hosts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from neural_style.onnx_export import export_onnx
from tests.pipeline.conftest import encoded_picture, model_bytes
from tests.pipeline.many.in_s3 import Job
from tests.pipeline.many.programs import Programs
from tests.servers.proxy import FaultProxy


@pytest.fixture(scope="session")
def onnx_model(tmp_path_factory) -> bytes:
    """The small net as ONNX: without torch a program is short."""
    folder = tmp_path_factory.mktemp("onnx")
    (folder / "mosaic.pth").write_bytes(model_bytes())
    export_onnx(folder / "mosaic.pth", folder / "mosaic.onnx")
    return (folder / "mosaic.onnx").read_bytes()


@pytest.fixture
def programs(moto_store, onnx_model, tmp_path, monkeypatch) -> Iterator[Programs]:
    """A job of 24 pictures in six shards."""
    job = Job(moto_store, moto_store.new_bucket(), "many", model="mosaic.onnx")
    images = tuple(f"{number:02}.png" for number in range(24))
    for seed, image in enumerate(images):
        job.put(f"images/{image}", encoded_picture(image, seed=seed))
    job.put("saved_models/mosaic.onnx", onnx_model)
    monkeypatch.setenv("PIPELINE_DEVICE", "cpu")
    monkeypatch.setenv("PIPELINE_ENGINE", "onnxruntime")
    monkeypatch.chdir(tmp_path)
    with FaultProxy(moto_store.url) as proxy:
        for name, value in moto_store.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        made = Programs(job, proxy, images)
        yield made
        made.end()
