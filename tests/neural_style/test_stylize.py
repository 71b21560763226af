"""A Stylizer loads once and styles pictures of any size, carrying what is not colour."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neural_style import stylize
from neural_style.drawn import draw_scene
from neural_style.errors import EngineError, NeuralStyleError, OutputError, PictureError
from neural_style.images import Picture, load_image
from neural_style.stylize import Stylizer

MakePicture = Callable[..., Path]


class FakeEngine:
    """Returns what it is told to."""

    name, version, device, threads = "fake", "0", "cpu", 1
    precision, arithmetic, bytes_per_pixel = "float32", "float32", 900

    def __init__(self, answer: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.answer, self.seen = answer, []

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen.append(rgb_255_13HW)
        return self.answer(rgb_255_13HW)


@pytest.fixture
def with_engine() -> Callable[..., tuple[Stylizer, FakeEngine]]:
    def build(answer: Callable = lambda rgb: rgb) -> tuple[Stylizer, FakeEngine]:
        engine = FakeEngine(answer)
        return Stylizer.of_engine(engine), engine

    return build


def test_the_engine_sees_the_picture_as_it_is(with_engine: Callable, rgb_HW3: NDArray[np.uint8]) -> None:
    stylizer, engine = with_engine()
    assert np.array_equal(stylizer.style(rgb_HW3), rgb_HW3)
    assert engine.seen[0].shape == (1, 3, 20, 30)
    assert engine.seen[0].dtype == np.float32
    assert engine.seen[0].flags.c_contiguous
    assert engine.seen[0].max() > 200


@pytest.mark.parametrize(
    ("side", "indices"),
    [
        (1, [0, 0, 0, 0, 0, 0, 0, 0]),
        (2, [0, 1, 0, 1, 0, 1, 0, 1]),
        (3, [0, 1, 2, 1, 0, 1, 2, 1]),
        (5, [0, 1, 2, 3, 4, 3, 2, 1]),
        (7, [0, 1, 2, 3, 4, 5, 6, 5]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_small_sides_are_extended_by_repeated_reflection(with_engine: Callable, side: int, indices: list[int]) -> None:
    stylizer, engine = with_engine()
    column = np.repeat(np.arange(side, dtype=np.uint8)[:, None, None] * 10, 3, axis=2)
    assert stylizer.style(column).shape == (side, 1, 3)
    assert stylizer.style(column.swapaxes(0, 1)).shape == (1, side, 3)
    assert engine.seen[0][0, 0].tolist() == [[index * 10] * 8 for index in indices]
    assert engine.seen[1][0, 0].tolist() == [[index * 10 for index in indices]] * 8


def test_the_nets_larger_output_is_cropped(with_engine: Callable, rgb_HW3: NDArray[np.uint8]) -> None:
    stylizer, _ = with_engine(lambda rgb: np.pad(rgb, ((0, 0), (0, 0), (0, 3), (0, 2)), constant_values=7))
    assert np.array_equal(stylizer.style(rgb_HW3), rgb_HW3)


def test_results_are_clamped_and_rounded_to_the_nearest(with_engine: Callable) -> None:
    numbers = np.array([-5.0, 0.4, 0.6, 99.7, 254.4, 300.0, 12.0, 77.25], np.float32)
    stylizer, _ = with_engine(lambda rgb: np.broadcast_to(numbers, (1, 3, 8, 8)))
    picture = np.zeros((8, 8, 3), np.uint8)
    assert stylizer.style(picture)[0, :, 0].tolist() == [0, 0, 1, 100, 254, 255, 12, 77]
    exact = stylizer.style_float(picture)
    assert exact.dtype == np.float32
    assert exact[3, :, 1].tolist() == [0, *numbers[1:5].tolist(), 255, 12, 77.25]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_never_a_picture(
    with_engine: Callable, make_picture: MakePicture, tmp_path: Path, number: float
) -> None:
    def answer(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        rgb[0, 1, 3, 4] = number
        return rgb

    stylizer, _ = with_engine(answer)
    with pytest.raises(EngineError, match="numbers that are not finite; nothing was made"):
        stylizer.style_file(make_picture(), tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    "shape", [(1, 3, 20, 29), (1, 3, 19, 30), (1, 4, 20, 30), (2, 3, 20, 30), (3, 20, 30)], ids=str
)
def test_output_of_another_shape_is_an_error(
    with_engine: Callable, rgb_HW3: NDArray[np.uint8], shape: tuple[int, ...]
) -> None:
    stylizer, _ = with_engine(lambda rgb: np.zeros(shape, np.float32))
    with pytest.raises(EngineError, match=r"of a picture of 30 x 20; use a model of this net"):
        stylizer.style(rgb_HW3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
        np.zeros((0, 9, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_other_arrays_are_refused(with_engine: Callable, array: NDArray) -> None:
    stylizer, _ = with_engine()
    with pytest.raises(PictureError, match=r"wanted uint8 pixels \(height, width, 3\), found"):
        stylizer.style(array)


def test_alpha_and_profile_are_carried_over(with_engine: Callable, rgb_HW3: NDArray[np.uint8]) -> None:
    stylizer, _ = with_engine(lambda rgb: 255 - rgb)
    alpha_HW = np.full((20, 30), 9, np.uint8)
    styled = stylizer.style_picture(Picture(rgb_HW3, alpha_HW, b"profile"))
    assert np.array_equal(styled.rgb_HW3, 255 - rgb_HW3)
    assert styled.alpha_HW is alpha_HW
    assert styled.icc_profile == b"profile"


@pytest.mark.slow
def test_a_file_becomes_a_styled_file(
    small_weights: Path, make_picture: MakePicture, rgb_HW3: NDArray[np.uint8], tmp_path: Path
) -> None:
    stylizer = Stylizer(small_weights, device="cpu")
    styled = stylizer.style_file(make_picture(), tmp_path / "new" / "out.png")
    written = load_image(tmp_path / "new" / "out.png").rgb_HW3
    assert np.array_equal(written, stylizer.style(rgb_HW3))
    assert written.std() > 5
    assert (styled.width, styled.height, styled.made_by) == (30, 20, stylizer.description())


@pytest.mark.slow
def test_a_file_is_shrunk_first_when_asked(small_weights: Path, make_picture: MakePicture, tmp_path: Path) -> None:
    stylizer = Stylizer(small_weights, device="cpu")
    for name, option in (("a.png", {"max_side": 15}), ("b.png", {"scale": 2})):
        styled = stylizer.style_file(make_picture(), tmp_path / name, **option)
        assert (styled.height, styled.width) == load_image(tmp_path / name).rgb_HW3.shape[:2] == (10, 15)
    with pytest.raises(PictureError, match="declares more than 599 pixels"):
        stylizer.style_file(make_picture(), tmp_path / "c.png", max_pixels=599)


@pytest.mark.slow
def test_the_same_picture_gives_the_same_bytes(small_weights: Path, make_picture: MakePicture, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        Stylizer(small_weights, device="cpu").style_file(make_picture(), tmp_path / name)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_the_disk_is_not_waited_for_where_a_file_need_not_last(
    with_engine: Callable, make_picture: MakePicture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stylizer, _ = with_engine()
    stylizer.style_file(make_picture(), tmp_path / "durable.png")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    stylizer.style_file(make_picture(), tmp_path / "out.png", durable=False)
    assert synced == []
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "durable.png").read_bytes()
    stylizer.style_file(make_picture(), tmp_path / "out.png")
    assert len(synced) == 2


@pytest.mark.parametrize("output", ["out.gif", "out"])
def test_what_cannot_be_written_is_refused_before_the_work(
    with_engine: Callable, make_picture: MakePicture, tmp_path: Path, output: str
) -> None:
    stylizer, engine = with_engine()
    with pytest.raises(PictureError, match="cannot write"):
        stylizer.style_file(make_picture(), tmp_path / output)
    assert engine.seen == []


def test_an_unwritable_folder_is_one_sentence(with_engine: Callable, make_picture: MakePicture, tmp_path: Path) -> None:
    stylizer, _ = with_engine()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"out\.png: could not be written: "):
        stylizer.style_file(make_picture(), tmp_path / "file" / "out.png")


def test_the_description_is_ready_for_a_record(small_weights: Path) -> None:
    stylizer = Stylizer(small_weights, device="cpu", engine="torch")
    description = json.loads(json.dumps(stylizer.description()))
    assert description.pop("engine_version").startswith("2.")
    assert description.pop("threads") >= 1
    assert description == {"engine": "torch", "precision": "float32", "arithmetic": "float32", "device": "cpu"}
    assert (stylizer.engine_name, stylizer.device) == ("torch", "cpu")


@pytest.mark.slow
def test_nothing_is_logged_for_a_plain_picture(
    small_weights: Path, make_picture: MakePicture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "neural_style"):
        Stylizer(small_weights, device="cpu").style_file(make_picture(), tmp_path / "out.png")
    assert caplog.messages == []


def test_all_of_the_packages_errors_have_one_base(tmp_path: Path) -> None:
    with pytest.raises(NeuralStyleError, match="there is no such model file"):
        Stylizer(tmp_path / "no.pth")


def test_what_fast_would_spoil_is_styled_by_the_engine_that_was_asked_for() -> None:
    asked: list[dict[str, str]] = []
    fast, exact = FakeEngine(lambda rgb: rgb), FakeEngine(lambda rgb: rgb)
    fast.name, fast.precision = "openvino", "fast"

    def opened(**options: str) -> FakeEngine:
        asked.append(options)
        return exact

    stylizer = Stylizer.__new__(Stylizer)
    stylizer._set(fast, opened, memory_bytes=None)
    for _ in range(2):
        stylizer.style(np.zeros((9, 9, 3), np.uint8))
    assert (len(fast.seen), len(exact.seen)) == (0, 2)
    # Not openvino by name: `auto` takes the next where its float32 does not keep its promise.
    assert asked == [{"device": "cpu", "precision": "float32"}]


@pytest.mark.parametrize("pattern", ["stripes", "tiles", "areas", "scene"])
def test_patterns_and_drawings_of_few_colours_are_not_styled_fast(pattern: str) -> None:
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:300, :300]
    picture = {
        "stripes": np.repeat((columns // 4 % 2 * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2),
        "tiles": rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)[rows % 8, columns % 8],
        "areas": rng.integers(0, 256, (8, 3), dtype=np.uint8)[rng.integers(0, 8, (10, 10))].repeat(30, 0).repeat(30, 1),
        "scene": draw_scene(1, width_px=300, height_px=300),
    }[pattern]
    fast, exact = FakeEngine(lambda rgb: rgb), FakeEngine(lambda rgb: rgb)
    fast.precision = "fast"
    stylizer = Stylizer.__new__(Stylizer)
    stylizer._set(fast, lambda **_: exact, memory_bytes=None)
    stylizer.style(picture)
    assert len(exact.seen) == (pattern != "scene")


def test_pictures_that_are_styled_at_once_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylize, "free_bytes", lambda _: 1 << 40)
    allowed: list[float] = []
    stylizer = Stylizer.of_engine(FakeEngine(lambda rgb: rgb))

    def answer(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        with stylizer._allowed_bytes("cpu", 0, held_bytes=0) as left:
            allowed.append(left)
        return rgb

    stylizer._engine.answer = answer
    stylizer.style(np.zeros((20, 30, 3), np.uint8))
    assert allowed == [((1 << 40) - 900 * 20 * 30) // 2]
