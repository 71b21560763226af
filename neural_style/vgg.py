"""The first layers of VGG16, as the judge of pictures: never trained, and only as deep as asked.

Axes: B batch, C channels, H height, W width. ``_norm``: ImageNet's mean and deviation removed.

Layers are numbered as torchvision numbers them, so that its weight file fits (``features.0.weight``). Architecture:
Simonyan and Zisserman 2014, arXiv:1409.1556.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csci_utils.io import sha256_of

from .errors import FeaturesError, WeightsError
from .model_file import refuse_what_is_no_model

FILE_NAME = "vgg16-397923af.pth"
"""What torchvision calls its weights; the digits begin the file's sha256."""

TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""The four outputs that the published losses look at, from shallow to deep."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue, on the scale 0-1: what the published weights expect to be removed."""

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")
_SILENCE_S = 30.0


class Vgg16(nn.Module):
    """VGG16 up to relu4_3, with weights that are never trained.

    Attributes:
        features: Convolutions and ReLUs and pools in torchvision's order.
        tap_ends: For each of `TAPS` the number of layers that lead to it.
        sha256: Of the file that the weights are from; empty where they are from none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = ""
        layers: list[nn.Module] = []
        self.tap_ends: list[int] = []
        channels = 3
        for block in _BLOCKS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for out_channels in block:
                layers += [nn.Conv2d(channels, out_channels, kernel_size=3, padding=1), nn.ReLU()]
                channels = out_channels
            self.tap_ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False).eval()

    def forward(self, rgb_norm_B3HW: Tensor, *, num_taps: int = len(TAPS)) -> list[Tensor]:
        """Return the first `num_taps` of `TAPS`, each half the size of the one before; nothing runs past them."""
        found, features, start = [], rgb_norm_B3HW, 0
        for end in self.tap_ends[:num_taps]:
            features = self.features[start:end](features)
            found.append(features)
            start = end
        return found


def normalize(rgb_255_B3HW: Tensor) -> Tensor:
    """Bring a picture of 0-255 to the scale that VGG16's weights expect."""
    mean_3, std_3 = (rgb_255_B3HW.new_tensor(values).mul(255).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (rgb_255_B3HW - mean_3) / std_3


def random_vgg16(seed: int = 0) -> Vgg16:
    """Make a network with He weights from a seed; it knows nothing of pictures, and needs no file.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    vgg, generator = Vgg16(), torch.Generator().manual_seed(seed)
    for layer in vgg.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
    return vgg


def load_vgg16(path: str | os.PathLike[str] | None = None) -> Vgg16:
    """Read torchvision's weights, from a file or through its own download.

    Args:
        path: The file; where its name carries the beginning of its sha256, as torchvision's does, that is checked.
            None takes what torchvision has downloaded before, and else downloads it (553 MB).

    Raises:
        FeaturesError: the file is not there, cannot be had, or is another; one sentence.
    """
    path = _downloaded() if path is None else Path(path)
    try:
        refuse_what_is_no_model(path)
    except WeightsError as err:
        raise FeaturesError(f"{err} (wanted VGG16's weights, {FILE_NAME})") from err
    vgg = Vgg16()
    vgg.sha256 = _checked_sha256(path)
    vgg.load_state_dict(_compared(_unpickled(path), vgg.state_dict(), path))
    return vgg


def _downloaded() -> Path:
    """Return where torchvision keeps its weights, after it has fetched them if need be."""
    from torchvision.models import VGG16_Weights

    url = VGG16_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir(), "checkpoints", FILE_NAME)
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path.parent), _silence_ends():
            if not path.is_file():  # which another may have fetched meanwhile
                torch.hub.download_url_to_file(
                    url, str(path), hash_prefix=_digest_in(path.name), progress=sys.stderr.isatty()
                )
    except (OSError, RuntimeError) as err:  # RuntimeError: other bytes than the name promises
        raise FeaturesError(
            f"VGG16's weights are not here, and {url} could not be fetched ({err}); give {FILE_NAME} "
            f"with --vgg, put it into the bucket as saved_models/{FILE_NAME}, or here at {path}"
        ) from err
    return path


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep the other processes of this machine out of the block, those that torchrun started with this one too.

    By a lock on the folder itself, which leaves nothing behind; where folders cannot be locked, nobody waits.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError):  # Windows has no such locks, some file systems neither
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _silence_ends() -> Iterator[None]:
    """Give up on a server that says nothing: the download itself sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _digest_in(name: str) -> str | None:
    found = _DIGEST_IN_NAME.search(name)
    return found.group(1) if found else None


def _checked_sha256(path: Path) -> str:
    """Return a file's digest, which is what its name promises, if that promises any."""
    found, promised = sha256_of(path), _digest_in(path.name)
    if promised is not None and not found.startswith(promised):
        raise FeaturesError(
            f"{path}: wanted a sha256 that begins with {promised}, as the name says, found {found[: len(promised)]}; "
            "fetch it again, and replace it"
        )
    return found


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # whatever a damaged archive makes torch stumble over: RuntimeError, EOFError, KeyError...
        raise FeaturesError(f"{path}: not a readable weight file; wanted VGG16's weights, {FILE_NAME}") from err
    if not isinstance(state, dict):
        raise FeaturesError(f"{path}: wanted VGG16's weights, found a {type(state).__name__}; wanted {FILE_NAME}")
    return state


def _compared(state: dict[str, Any], expected: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the entries that are wanted, as float32; deeper layers and the classifier are left behind."""
    if missing := [key for key in expected if not isinstance(state.get(key), Tensor)]:
        raise FeaturesError(
            f"{path}: not VGG16: {len(missing)} of {len(expected)} keys missing (first {missing[0]!r}); "
            f"wanted {FILE_NAME}"
        )
    for key, wanted in expected.items():
        if state[key].shape != wanted.shape:
            raise FeaturesError(
                f"{path}: not VGG16: {key!r} has the shape {tuple(state[key].shape)}, wanted {tuple(wanted.shape)}; "
                f"wanted {FILE_NAME}"
            )
    return {key: state[key].float() for key in expected}
