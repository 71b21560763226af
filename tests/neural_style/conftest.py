"""Pictures, profiles and weights made here, so that no test needs a file of anybody's."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from neural_style.drawn import draw_scene
from neural_style.transformer_net import TransformerNet

MakePicture = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread_for_small_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads cost more than they bring on small pictures, ten times more on a busy machine."""
    num_threads = torch.get_num_threads()
    if "slow" not in request.keywords:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def say(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Write a line: `make soak` shows it, other runs only where the test fails."""
    is_shown = request.config.getoption("--soak")

    def say(line: str) -> None:
        with capsys.disabled() if is_shown else nullcontext():
            sys.stdout.write(f"\n{line}" if is_shown else f"{line}\n")
            sys.stdout.flush()

    return say


@pytest.fixture(name="rgb_HW3")
def smooth_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A smooth picture with a little noise, 30 x 20: noise alone would make every JPEG look broken."""
    y, x = np.mgrid[0:20, 0:30]
    waves = np.stack([128 + 100 * np.sin(x / 5 + c) * np.cos(y / 7 + c) for c in range(3)], axis=-1)
    return (waves + rng.integers(0, 20, waves.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def make_picture(tmp_path: Path, rgb_HW3: NDArray[np.uint8]) -> MakePicture:
    """Write the picture under a name, in the format of its suffix."""

    def make(name: str = "cat.png", image: Image.Image | None = None, **options: object) -> Path:
        path = tmp_path / name
        (Image.fromarray(rgb_HW3) if image is None else image).save(path, **options)
        return path

    return make


@pytest.fixture
def linear_grey_profile() -> bytes:
    """A grey ICC profile with gamma 1."""
    return icc_profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)})


@pytest.fixture
def lightness_cmyk_profile() -> bytes:
    """A CMYK ICC profile whose paper is white and whose inks each take away lightness (CIE L*) and nothing else."""
    corners = [[(c, m, y, k) for k in (0, 1)] for c in (0, 1) for m in (0, 1) for y in (0, 1)]
    grid = b"".join(bytes([0 if any(inks) else 255, 128, 128]) for pair in corners for inks in pair)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    return icc_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def icc_profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Put an ICC version 2 profile together by hand (ICC.1:2001-04, clause 6)."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": b"XYZ " + bytes(4) + d50, **tags}
    offset, directory, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        directory += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content
    head = bytes(4) + bytes.fromhex("02400000") + kind + space + connection
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + d50
    head += bytes(124 - len(head))
    return struct.pack(">I", 128 + len(directory) + len(body)) + head + directory + body


@pytest.fixture(scope="session")
def make_state() -> Callable[[tuple[int, int, int]], dict[str, torch.Tensor]]:
    """Weights of any width with random numbers, of a size at which every layer says something."""

    def make(widths: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(20161008)
        state = {}
        for key, tensor in TransformerNet(widths).state_dict().items():
            fan_in = tensor[0].numel() if tensor.ndim == 4 else 1
            state[key] = (
                torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5 * (20 if fan_in == 1 else 1)
            )
        state["deconv3.conv2d.bias"] += 128  # so that the result is a picture and not all clamped
        return state

    return make


@pytest.fixture(scope="session")
def small_state(make_state: Callable[..., dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Weights of a narrow net."""
    return make_state((4, 8, 16))


@pytest.fixture
def small_weights(tmp_path: Path, small_state: dict[str, torch.Tensor]) -> Path:
    """The same, in a file."""
    path = tmp_path / "small.pth"
    torch.save(small_state, path)
    return path


@pytest.fixture(scope="session")
def reference() -> Callable[..., NDArray[np.float32]]:
    """The published net in plain functions, from its paper and its script; see `published_net`."""
    return published_net


def published_net(state: dict[str, torch.Tensor], rgb_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Style a picture with functions alone, and nothing of the package under test.

    A side under 8 pixels is extended to 8 by repeated reflection, one pixel by repetition; the result is cropped.
    """
    height, width = rgb_HW3.shape[:2]
    rgb_HW3 = grown(grown(rgb_HW3).swapaxes(0, 1)).swapaxes(0, 1)
    x = torch.from_numpy(rgb_HW3.transpose(2, 0, 1).copy()).float()[None]

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight, bias = state[f"{name}.conv2d.weight"].float(), state[f"{name}.conv2d.bias"].float()
        border = weight.shape[-1] // 2
        return functional.conv2d(functional.pad(x, (border,) * 4, mode="reflect"), weight, bias, stride=stride)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.instance_norm(x, weight=state[f"{name}.weight"].float(), bias=state[f"{name}.bias"].float())

    with torch.inference_mode():
        x = functional.relu(norm(conv(x, "conv1"), "in1"))
        x = functional.relu(norm(conv(x, "conv2", stride=2), "in2"))
        x = functional.relu(norm(conv(x, "conv3", stride=2), "in3"))
        for n in range(1, 6):
            inner = functional.relu(norm(conv(x, f"res{n}.conv1"), f"res{n}.in1"))
            x = x + norm(conv(inner, f"res{n}.conv2"), f"res{n}.in2")
        for name, norm_name in (("deconv1", "in4"), ("deconv2", "in5")):
            large = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            x = functional.relu(norm(conv(large, name), norm_name))
        x = conv(x, "deconv3")
    return x[0, :, :height, :width].clamp(0, 255).permute(1, 2, 0).numpy()


def grown(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add rows one by one, walking back and forth over those that were there."""
    original, found = list(rows), list(rows)
    place, step = len(original) - 1, -1
    while len(found) < 8:
        if len(original) > 1:
            place += step
            if place in (0, len(original) - 1):
                step = -step
        found.append(original[place])
    return np.stack(found)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes to train on."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        Image.fromarray(draw_scene(seed, width_px=96, height_px=80)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style of two colours."""
    path = tmp_path_factory.mktemp("styles") / "stripes.png"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = (250, 200, 60)
    Image.fromarray(stripes).save(path)
    return path
