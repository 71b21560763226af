"""OpenVINO makes what plain torch makes, at every width and size, from one thread or several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neural_style.engines.proof import quality_db
from neural_style.errors import DeviceMemoryError, EngineError
from neural_style.transformer_net import TransformerNet

pytest.importorskip("openvino")

from neural_style.engines import openvino_engine, openvino_graph, openvino_precision
from neural_style.engines.openvino_engine import OpenVinoEngine
from neural_style.engines.processor import num_cores

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def weights(small_state: dict[str, torch.Tensor]) -> Arrays:
    return {key: tensor.numpy() for key, tensor in small_state.items()}


@pytest.fixture(scope="module")
def engine(weights: Arrays) -> OpenVinoEngine:
    return OpenVinoEngine(weights, threads=1)


@pytest.fixture(scope="module")
def fast(weights: Arrays) -> OpenVinoEngine:
    engine = OpenVinoEngine(weights, threads=1, precision="fast")
    if engine.arithmetic != "bfloat16":
        pytest.skip("this processor has no bfloat16")
    return engine


def plain(weights: Arrays, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    widths = tuple(len(weights[f"{name}.bias"]) for name in ("in1", "in2", "in3"))
    net = TransformerNet(widths)  # type: ignore[arg-type]  # three of them
    net.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    with torch.inference_mode():
        styled: NDArray[np.float32] = net(torch.from_numpy(picture)).numpy()
    return styled


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    return rng.integers(0, 256, (1, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("size", [(8, 8), (8, 9), (9, 64), (13, 22), (61, 67), (96, 40)], ids=str)
def test_any_size_is_what_plain_torch_makes(
    engine: OpenVinoEngine, weights: Arrays, rng: np.random.Generator, size: tuple[int, int]
) -> None:
    picture = noise(rng, *size)
    wanted = plain(weights, picture)
    found = engine.run(picture)
    assert (found.shape, found.dtype) == (wanted.shape, np.float32)
    assert quality_db(found, wanted) >= 90


@pytest.mark.parametrize(
    "widths",
    [(3, 5, 7), *(pytest.param(widths, marks=pytest.mark.slow) for widths in ((1, 1, 1), (5, 5, 5), (16, 8, 24)))],
    ids=str,
)
@pytest.mark.parametrize("precision", ["float32", "fast"])
def test_any_width_is_what_plain_torch_makes(
    make_state: Callable[..., dict[str, torch.Tensor]], rng: np.random.Generator, widths: tuple, precision: str
) -> None:
    weights = {key: tensor.numpy() for key, tensor in make_state(widths).items()}
    engine = OpenVinoEngine(weights, threads=1, precision=precision)
    picture = noise(rng, 61, 67)
    assert quality_db(engine.run(picture), plain(weights, picture)) >= {"float32": 90, "fast": 40}[engine.precision]


@pytest.mark.parametrize("kind", ["flat", "stripes", "dots", "nearly"])
@pytest.mark.parametrize("side", [8, 61])
def test_pictures_of_one_colour_or_pattern_stay_so(
    engine: OpenVinoEngine, weights: Arrays, kind: str, side: int
) -> None:
    picture = np.empty((1, 3, side, side), np.float32)
    picture[:] = np.array([200, 90, 30]).reshape(1, 3, 1, 1)
    if kind == "stripes":
        picture[..., ::2] = 0
    elif kind == "dots":
        picture[..., ::2, ::2] = 0
    elif kind == "nearly":
        picture[0, 0, 3, 3] += 1
    assert quality_db(engine.run(picture), plain(weights, picture)) >= 80


@pytest.mark.slow
def test_the_first_layers_stay_in_float32(fast: OpenVinoEngine, weights: Arrays, rng: np.random.Generator) -> None:
    y, x = np.mgrid[0:256, 0:256] / 40
    waves = np.stack([128 + 60 * np.sin(x + c) * np.cos(y) for c in range(3)])[np.newaxis]
    picture = np.rint(waves + rng.uniform(0, 1, waves.shape)).astype(np.float32)
    assert quality_db(fast.run(picture), plain(weights, picture)) >= 43
    all_reduced = OpenVinoEngine(weights, threads=1)
    all_reduced._runners["usual"] = openvino_engine._Runner(
        all_reduced._core, openvino_engine.GraphBuilder(weights).build, threads=1, num_streams=1, hint="bf16"
    )
    assert quality_db(all_reduced.run(picture), plain(weights, picture)) < 43  # so the marks are what helps


@pytest.mark.slow
def test_marks_that_are_not_heeded_are_found(weights: Arrays, monkeypatch: pytest.MonkeyPatch, fast: Any) -> None:
    monkeypatch.setattr(openvino_precision, "_MARK", "")
    fast._runners.pop("large", None)
    assert fast._runner("large").compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    fast._runners.pop("large")
    with pytest.raises(EngineError, match=r"OpenVINO 2[0-9.]+ runs [0-9]+ of [0-9]+ layers in bfloat16 that are to be"):
        OpenVinoEngine(weights, threads=1, precision="fast")


@pytest.mark.slow
def test_names_that_are_lost_are_found(weights: Arrays, monkeypatch: pytest.MonkeyPatch, fast: Any) -> None:
    monkeypatch.setattr(openvino_graph, "name_as_kept", lambda before, after: None)
    with pytest.raises(EngineError, match="runs 0 layers in float32 by name"):
        OpenVinoEngine(weights, threads=1, precision="fast")


@pytest.mark.slow
def test_fast_is_float32_where_there_is_no_bfloat16(weights: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_has_bfloat16", lambda core: False)
    engine = OpenVinoEngine(weights, precision="fast")
    assert (engine.precision, engine.arithmetic) == ("float32", "float32")


def test_no_room_for_the_marks_is_one_sentence(weights: Arrays, monkeypatch: pytest.MonkeyPatch, fast: Any) -> None:
    def full() -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvino_precision.tempfile, "TemporaryDirectory", full)
    with pytest.raises(EngineError, match="OpenVINO could not build the net: .*No space left on device"):
        OpenVinoEngine(weights, precision="fast")


@pytest.mark.slow
def test_norms_of_large_pictures_are_exact(
    fast: OpenVinoEngine, engine: OpenVinoEngine, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "_LARGE_PX", 260 * 260)
    picture = noise(rng, 260, 261)
    assert quality_db(fast.run(picture), engine.run(picture)) >= 43
    layers = [layer.get_rt_info() for layer in fast._runner("large").compiled.get_runtime_model().get_ops()]
    kinds = [layer["layerType"].astype(str) for layer in layers]
    assert (kinds.count("MVN"), "large" in engine._runners) == (11, False)  # in5 and in4 are none, in3 and res are


def test_a_later_run_leaves_an_earlier_result_alone(engine: OpenVinoEngine, rng: np.random.Generator) -> None:
    first = engine.run(noise(rng, 24, 24))
    before = first.copy()
    engine.run(noise(rng, 24, 24))
    assert np.array_equal(first, before)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_at_once_make_what_one_makes(weights: Arrays, rng: np.random.Generator, threads: int) -> None:
    engine = OpenVinoEngine(weights, threads=threads)
    pictures = [noise(rng, 16 + 8 * (n % 4), 24 + 8 * (n % 3)) for n in range(12)]
    alone = [engine.run(picture) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(engine.run, pictures))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.slow
def test_one_thread_a_picture_lets_as_many_run_at_once_as_there_are_cores(
    engine: OpenVinoEngine, weights: Arrays
) -> None:
    cores = num_cores()
    assert engine._runner("usual").compiled.get_property("NUM_STREAMS") == cores
    under_way = threading.Barrier(cores, timeout=60)

    def hold(_: int) -> None:
        with engine._runner("usual")._request():
            under_way.wait()

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(hold, range(cores)))
    alone = OpenVinoEngine(weights)
    assert (alone._runner("usual").compiled.get_property("NUM_STREAMS"), alone.threads) == (1, cores)


@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        (RuntimeError("std::bad_alloc"), DeviceMemoryError, "cpu has not enough memory for 9 x 8 pixels; use --max-s"),
        (MemoryError(), DeviceMemoryError, "cpu has not enough memory for 9 x 8 pixels"),
        (RuntimeError("no\nway"), EngineError, "OpenVINO could not style 9 x 8 pixels: no way"),
    ],
    ids=["bad-alloc", "python", "other"],
)
def test_a_run_that_fails_is_one_sentence_and_the_next_one_works(
    engine: OpenVinoEngine, rng: np.random.Generator, fault: Exception, error: type[Exception], sentence: str
) -> None:
    class Broken:
        def infer(self, *_: Any, **__: Any) -> None:
            raise fault

    engine._runner("usual")._idle.put(Broken())  # the one that is taken next
    picture = noise(rng, 8, 9)
    with pytest.raises(error, match=sentence):
        engine.run(picture)
    assert isinstance(engine._runner("usual")._idle.get(timeout=5), Broken)  # given back, as any request would be
    assert engine.run(picture).shape == (1, 3, 8, 12)


def test_what_a_large_picture_took_is_given_back(
    engine: OpenVinoEngine, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched:
        def __init__(self, compiled: Any) -> None:
            self.compiled, self.released = compiled, 0

        def release_memory(self) -> None:
            self.released += 1
            self.compiled.release_memory()

    watched = Watched(engine._runner("usual").compiled)
    monkeypatch.setattr(engine._runner("usual"), "compiled", watched)
    engine.run(noise(rng, 40, 40))
    assert watched.released == 0
    monkeypatch.setattr(openvino_engine, "_LARGE_PX", 40 * 40)
    first = engine.run(picture := noise(rng, 40, 41))
    assert watched.released == 1
    assert np.array_equal(engine.run(picture), first)


@pytest.mark.slow
def test_nothing_is_printed(weights: Arrays, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]) -> None:
    for precision in ("float32", "fast"):
        OpenVinoEngine(weights, precision=precision).run(noise(rng, 16, 16))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_no_file_stays(weights: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: Any) -> None:
    monkeypatch.setattr(openvino_precision.tempfile, "tempdir", str(tmp_path))
    OpenVinoEngine(weights, precision="fast")
    assert list(tmp_path.iterdir()) == []
