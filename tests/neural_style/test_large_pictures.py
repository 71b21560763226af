"""Pictures that the memory does not hold: the same pixels, and nothing left over whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.large_pictures import draw_in_bands
from neural_style import stylize
from neural_style.drawn import draw_scene
from neural_style.engines.torch_engine import TorchEngine
from neural_style.errors import DeviceMemoryError, EngineError, OutputError, PictureTooLargeError
from neural_style.images import load_image
from neural_style.picture_facts import read_facts
from neural_style.stylize import Stylizer
from neural_style.weights import save_weights
from tests.neural_style.test_banded_net import lively_net

MIB = 1 << 20
LITTLE = 20 * MIB
"""Of memory: enough for a band, not for the pictures here."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    save_weights(lively_net((4, 8, 16)), path)
    return path


@pytest.fixture
def little(weights: Path) -> Stylizer:
    return Stylizer(weights, device="cpu", engine="torch", memory_bytes=LITTLE)


@pytest.fixture
def plenty(weights: Path) -> Stylizer:
    return Stylizer(weights, device="cpu", engine="torch")


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    return draw_scene(4, width_px=331, height_px=400)


@pytest.fixture
def large(scene: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Too large to be decoded in little memory."""
    return np.tile(scene, (2, 3, 1))


def nearest(one: NDArray[Any], other: NDArray[Any]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.slow
def test_an_array_that_does_not_fit_is_styled_in_bands(
    little: Stylizer, plenty: Stylizer, scene: NDArray[np.uint8]
) -> None:
    assert nearest(little.style(scene), plenty.style(scene)) <= 1
    assert np.abs(little.style_float(scene) - plenty.style_float(scene)).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_file_that_does_not_fit_goes_from_file_to_file(
    little: Stylizer,
    plenty: Stylizer,
    large: NDArray[np.uint8],
    tmp_path: Path,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content, output = tmp_path / f"in{suffix}", tmp_path / "out" / f"out{suffix}"
    alpha = np.arange(800 * 993, dtype=np.uint32).reshape(800, 993).astype(np.uint8)
    Image.fromarray(np.dstack([large, alpha])).save(content)
    monkeypatch.setattr(stylize, "load_image", None)  # would have it whole in memory
    told: list[float] = []
    styled = little.style_file(content, output, on_progress=told.append)
    written = load_image(output)
    assert nearest(written.rgb_HW3, plenty.style(large)) <= 1
    assert np.array_equal(written.alpha_HW, alpha)
    assert (styled.width, styled.height) == (993, 800)
    assert styled.made_by["bands"]["kept"] in ("quarter size", "on disk")
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


@pytest.mark.slow
def test_the_memory_that_is_told_makes_the_same_bands_again(
    weights: Path, large: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, output = tmp_path / "in.bmp", tmp_path / "out.bmp"  # which is whole in memory
    Image.fromarray(large).save(content)
    monkeypatch.setattr(stylize, "free_bytes", lambda _: 140 * MIB)
    first = Stylizer(weights, device="cpu", engine="torch").style_file(content, output).made_by
    monkeypatch.undo()
    assert first["bands"]["memory_bytes"] == 70 * MIB + 6 * large[..., 0].size
    again = Stylizer(weights, device="cpu", engine="torch", memory_bytes=first["bands"]["memory_bytes"])
    assert again.style_file(content, output).made_by == first


@pytest.mark.slow
def test_a_side_of_a_few_pixels_is_extended_in_files_too(
    weights: Path, plenty: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_files = Stylizer(weights, device="cpu", engine="torch", memory_bytes=100 * MIB)
    monkeypatch.setattr(in_files, "_is_for_bands", lambda *_, **__: True)
    for width, height in ((3, 40_000), (40_000, 3)):
        scene = (
            draw_scene(1, width_px=200, height_px=200)[:3]
            if height == 3
            else draw_scene(1, width_px=200, height_px=200)
        )
        scene = np.resize(scene, (height, width, 3))
        content = tmp_path / "in.png"
        Image.fromarray(scene).save(content)
        styled = in_files.style_file(content, tmp_path / "out.png")
        assert styled.made_by["file"] == "in bands"
        assert nearest(load_image(tmp_path / "out.png").rgb_HW3, plenty.style(scene)) <= 1


@pytest.mark.slow
def test_pictures_in_bands_are_exempt_from_the_limit_unless_it_is_lowered(
    plenty: Stylizer, scene: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tmp_path / "in.png"
    Image.fromarray(scene).save(content)
    with pytest.raises(PictureTooLargeError, match="declares more than 1000 pixels"):
        plenty.style_file(content, tmp_path / "out.png", max_pixels=1000)
    monkeypatch.setattr(stylize, "DEFAULT_MAX_PIXELS", 1000)
    plenty.style_file(content, tmp_path / "out.png", max_pixels=1000)
    assert nearest(load_image(tmp_path / "out.png").rgb_HW3, plenty.style(scene)) <= 1


def test_too_little_memory_for_a_band_is_one_sentence(weights: Path, scene: NDArray[np.uint8]) -> None:
    stylizer = Stylizer(weights, device="cpu", engine="torch", memory_bytes=MIB)
    with pytest.raises(DeviceMemoryError, match=r"331 x 400 pixels: not even one band fits .* give more memory"):
        stylizer.style(scene)


@pytest.mark.slow
def test_too_little_memory_without_pyvips_says_what_would_help(
    little: Stylizer, large: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.tile(large, (4, 1, 1))).save(tmp_path / "in.png")
    monkeypatch.setattr(stylize, "find_spec", lambda _: None)
    with pytest.raises(
        DeviceMemoryError, match=r"not even one band fits .*pip install 'neural-style-pipeline\[bands\]'"
    ):
        little.style_file(tmp_path / "in.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_more_than_can_be_read_in_bands_is_told_by_that_limit(
    little: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "in.png")
    monkeypatch.setattr(stylize, "read_facts", lambda path: read_facts(path, max_pixels=1000))
    with pytest.raises(PictureTooLargeError, match="declares more than 1000 pixels; shrink the picture"):
        little.style_file(tmp_path / "in.png", tmp_path / "out.png")


class Full(TorchEngine):
    """An engine whose device is full whenever it is asked for a whole picture."""

    def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        raise DeviceMemoryError("full")


@pytest.mark.slow
def test_a_device_that_is_full_styles_in_bands_and_says_so_once(
    weights: Path, plenty: Stylizer, scene: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    stylizer = Stylizer.of_engine(Full(weights, device="cpu"))
    for _ in range(2):
        assert nearest(stylizer.style(scene), plenty.style(scene)) <= 1
    assert [record.getMessage() for record in caplog.records] == [
        "cpu has not enough memory for 331 x 400 pixels at once; styling in bands"
    ]


def without_torch(*, memory_bytes: int | None) -> Stylizer:
    class Whole:
        name, version, device, threads = "openvino", "0", "cpu", 1
        precision, arithmetic, bytes_per_pixel = "float32", "float32", 900

        def run(self, rgb_255_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
            return 255 - rgb_255_13HW

    def opened(**_: object) -> Any:
        raise EngineError("styling with .pth weights needs torch")

    stylizer = Stylizer.__new__(Stylizer)
    stylizer._set(Whole(), opened, memory_bytes=memory_bytes)  # type: ignore[arg-type]
    return stylizer


def test_without_torch_more_than_half_of_what_is_free_is_tried(
    scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stylize, "free_bytes", lambda _: MIB)
    assert np.array_equal(without_torch(memory_bytes=None).style(scene), 255 - scene)


def test_without_torch_a_picture_that_does_not_fit_is_refused(scene: NDArray[np.uint8]) -> None:
    stylizer = without_torch(memory_bytes=LITTLE)
    with pytest.raises(EngineError, match="only torch styles in bands: styling with .pth weights needs torch"):
        stylizer.style(scene)


@pytest.mark.slow
@pytest.mark.parametrize("nth_write", [3, 700])
def test_a_disk_that_fills_up_keeps_the_old_result_and_leaves_nothing_else(
    little: Stylizer, large: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth_write: int
) -> None:
    content, folder = tmp_path / "in.png", tmp_path / "out"
    Image.fromarray(large).save(content)
    folder.mkdir()
    (folder / "out.png").write_bytes(b"old")
    real: Callable[..., int] = os.pwrite
    writes = iter(range(1_000_000))

    def filling(*args: Any) -> int:
        if next(writes) >= nth_write:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(OutputError, match="scratch file|could not be written"):
        little.style_file(content, folder / "out.png")
    assert next(writes) > nth_write
    assert (folder / "out.png").read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["out.png"]


@pytest.mark.slow
@pytest.mark.parametrize("in_files", [True, False])
def test_what_is_broken_off_leaves_neither_folders_nor_open_files(
    little: Stylizer, scene: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_files: bool
) -> None:
    content = tmp_path / "in.png"
    Image.fromarray(scene).save(content)
    monkeypatch.setattr(little, "_is_for_bands", lambda *_, **__: in_files)
    told: list[float] = []

    def stop(fraction: float) -> None:
        told.append(fraction)
        if fraction > 0.1:
            raise KeyboardInterrupt

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        little.style_file(content, tmp_path / "new" / "folder" / "out.png", on_progress=stop)
    assert told
    assert len(os.listdir("/proc/self/fd")) <= before
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize("in_files", [True, False])
def test_a_folder_that_takes_no_file_is_refused_before_the_work(
    little: Stylizer, scene: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_files: bool
) -> None:
    content = tmp_path / "in.png"
    Image.fromarray(scene).save(content)
    monkeypatch.setattr(little, "_is_for_bands", lambda *_, **__: in_files)
    monkeypatch.setattr(little, "_style", None)  # would be called
    with pytest.raises(OutputError, match=r"in\.png/out\.png: could not be written: (Not a directory|File exists)"):
        little.style_file(content, content / "out.png")


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.02, 0.3, 0.8, 0.93])
def test_a_kill_half_way_leaves_nothing(weights: Path, tmp_path: Path, moment: float) -> None:
    content, folder = tmp_path / "in.png", tmp_path / "out"
    draw_in_bands(content, width=512, height=600)
    folder.mkdir()
    code = f"""
import os, signal, sys
from neural_style.stylize import Stylizer
def kill(fraction):
    if fraction >= {moment}:
        os.kill(os.getpid(), signal.SIGKILL)
stylizer = Stylizer(sys.argv[1], device="cpu", engine="torch", memory_bytes={LITTLE})
stylizer.style_file(sys.argv[2], sys.argv[3], on_progress=kill)
"""
    done = subprocess.run([sys.executable, "-c", code, weights, content, folder / "out.png"], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = [path.name for path in folder.iterdir()]
    assert left == [] or (moment > 0.9 and all(name.startswith(".") for name in left))  # a scratch file is swept later


@pytest.mark.slow
@pytest.mark.parametrize("is_flat", [False, True], ids=["a scene", "one colour"])
@pytest.mark.parametrize(
    ("height", "width", "allowed_mib"), [(300, 300, 24), (600, 600, 60), (900, 900, 200), (30_000, 3, 40)]
)
def test_an_array_takes_no_more_memory_than_it_may(
    tmp_path: Path, height: int, width: int, allowed_mib: int, is_flat: bool
) -> None:
    save_weights(lively_net((16, 32, 64)), tmp_path / "w.pth")
    code = """
import sys, threading, time
import numpy as np
from neural_style.stylize import Stylizer
def own_mib():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024
height, width, allowed_mib, is_flat = map(int, sys.argv[2:])
scene = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
stylizer = Stylizer(sys.argv[1], device="cpu", engine="torch", threads=1, memory_bytes=allowed_mib << 20)
idle, seen = own_mib(), []
def watch():
    while True:
        seen.append(own_mib())
        time.sleep(0.001)
threading.Thread(target=watch, daemon=True).start()
stylizer.style_float(scene // 255 if is_flat else scene)
print(max(seen) - idle)
"""
    numbers = [str(number) for number in (height, width, allowed_mib, int(is_flat))]
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "w.pth", *numbers], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) < allowed_mib


@pytest.mark.slow
def test_memory_does_not_grow_with_the_picture(weights: Path, tmp_path: Path) -> None:
    code = """
import sys, threading, time
from neural_style.stylize import Stylizer
def own_mib():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024
stylizer = Stylizer(sys.argv[1], device="cpu", engine="torch", memory_bytes=64 << 20)
import pyvips
idle, seen = own_mib(), []
def watch():
    while True:
        seen.append(own_mib())
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
stylizer.style_file(sys.argv[2], sys.argv[3])
print(max(seen) - idle)
"""
    peaks_mib = []
    for height in (1500, 6000):
        draw_in_bands(tmp_path / "in.png", width=1000, height=height)
        done = subprocess.run(
            [sys.executable, "-c", code, weights, tmp_path / "in.png", tmp_path / "out.png"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        peaks_mib.append(float(done.stdout))
    assert peaks_mib[1] < 96
    assert peaks_mib[1] < 1.3 * peaks_mib[0] + 8
