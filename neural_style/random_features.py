"""A judge of styles that needs no download: a VGG-shaped stack of random filters, and distances that suit it.

Axes: B batch, C channels, H height, W width, P positions, K projections. Ranges: ``_01`` is 0-1.

Random filters see texture and colour, not things: a style trained by them is a real one of brush strokes and palette,
and less attentive to content than one that VGG16 judges.

Sources: random features for texture: Ustyuzhaninov et al. 2016, arXiv:1606.00021. Sliced Wasserstein distance of
features: Heitz et al. 2021, arXiv:2006.07229.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from .losses import gram_matrix

_BLOCKS = ((16, 16), (32, 32), (64, 64, 64))
"""Channels of the convolutions of VGG16's first three blocks, at a quarter of its width."""

_LUMINANCE = (0.299, 0.587, 0.114)


class RandomFeatures(nn.Module):
    """VGG16 to conv3_3 at a quarter of the channels, average pools and He weights, made from a seed.

    Args:
        style_01_13HW: the style picture; every layer is scaled and shifted so that each of its channels has mean 0 and
            variance 1 there.
        seed: of the weights; each gives another judge, and so another style.
    """

    def __init__(self, style_01_13HW: Tensor, *, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self._convs: list[nn.Conv2d] = []
        self._ends = [sum(map(len, _BLOCKS[:block])) for block in range(1, len(_BLOCKS))]  # after these comes a pool
        self._starts = {0, *self._ends}
        channels = 3
        for width in (width for block in _BLOCKS for width in block):
            with torch.random.fork_rng(devices=[]):  # its first weights, which torch draws, are not wanted
                conv = nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect")
            with torch.no_grad():
                conv.weight.normal_(std=math.sqrt(2 / (9 * channels)), generator=random)
                _bias_of(conv).zero_()
            self._convs.append(conv)
            channels = width
        self._registered = nn.ModuleList(self._convs)
        self.requires_grad_(False)
        self._standardise(style_01_13HW.float())

    def forward(self, rgb_01_B3HW: Tensor) -> list[Tensor]:
        """Return what comes after every convolution but the first of a block, each ``(B, C, H, W)``, not negative."""
        taps, features = [], rgb_01_B3HW - 0.5
        for number, conv in enumerate(self._convs):
            if number in self._ends:
                features = F.avg_pool2d(features, 2)
            features = F.relu(conv(features))
            if number not in self._starts:
                taps.append(features)
        return taps

    def sizes(self, height_px: int, width_px: int) -> list[tuple[int, int]]:
        """Return channels and number of places of each layer that is looked at, for pictures of that size."""
        found = []
        for number, conv in enumerate(self._convs):
            if number in self._ends:
                height_px, width_px = height_px // 2, width_px // 2
            if number not in self._starts:
                found.append((conv.out_channels, height_px * width_px))
        return found

    @torch.no_grad()
    def _standardise(self, style_01_13HW: Tensor) -> None:
        features = style_01_13HW - 0.5
        for number, conv in enumerate(self._convs):
            if number in self._ends:
                features = F.avg_pool2d(features, 2)
            raw = conv(features)
            mean, deviation = raw.mean(dim=(0, 2, 3)), raw.std(dim=(0, 2, 3)).clamp_min(1e-6)
            conv.weight.div_(deviation[:, None, None, None])
            _bias_of(conv).copy_(-mean / deviation)
            features = F.relu(conv(features))


def _bias_of(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # asked for, by default
    return conv.bias


def relative_gram_error(features_BCHW: Tensor, gram_BCC: Tensor) -> Tensor:
    """Return how far Gram matrices are from the style's, squared, as a share of the style's own size; mean, 0-d."""
    difference_BCC = gram_matrix(features_BCHW) - gram_BCC
    return (difference_BCC.square().sum(dim=(1, 2)) / gram_BCC.square().sum(dim=(1, 2))).mean()


class Draws(NamedTuple):
    """What a sliced Wasserstein distance is taken along, and where; the same for every picture of a batch.

    Attributes:
        directions: ``(C, K)``, each of length 1.
        there: ``(P,)``, places in the style's features, counted row by row.
        here: ``(P,)``, places in the pictures'.
    """

    directions: Tensor
    there: Tensor
    here: Tensor

    @classmethod
    def drawn(
        cls, channels: int, *, num_there: int, num_here: int, num_positions: int, random: torch.Generator
    ) -> Draws:
        """Draw 32 directions and so many of both places; on the CPU, so that every device has the same."""
        return cls(
            F.normalize(torch.randn(channels, 32, generator=random), dim=0),
            torch.randint(num_there, (num_positions,), generator=random),
            torch.randint(num_here, (num_positions,), generator=random),
        )

    def to(self, device: torch.device) -> Draws:
        """Bring it to a device; nothing waits for a GPU, which copies pinned memory by itself."""
        if device.type == "cuda":
            return Draws(*(each.pin_memory().to(device, non_blocking=True) for each in self))
        return Draws(*(each.to(device) for each in self))


def sliced_wasserstein(features_BCHW: Tensor, style_BCHW: Tensor, draws: Draws) -> Tensor:
    """Compare how features are distributed, whatever their places: the mean squared distance of sorted projections.

    Args:
        features_BCHW: of the pictures.
        style_BCHW: of the style of each, of any size; or of one for all.
        draws: for features of these sizes, on their device.

    Returns:
        0-d.
    """
    there_BPK = style_BCHW.flatten(2)[..., draws.there].transpose(1, 2) @ draws.directions
    here_BPK = features_BCHW.flatten(2)[..., draws.here].transpose(1, 2) @ draws.directions
    return (here_BPK.sort(dim=1).values - there_BPK.sort(dim=1).values).square().mean()


def local_correlation(one_01_B3HW: Tensor, other_01_B3HW: Tensor, *, num_scales: int = 4) -> Tensor:
    """Return how well the luminance of two pictures goes together, -1 to 1, over 7x7 boxes, mean over scales; 0-d.

    At the smallest scale, half as large each time, there must be room for a box.
    """
    one, other = _luminance(one_01_B3HW), _luminance(other_01_B3HW)
    found = []
    for scale in range(num_scales):
        if scale:
            one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
        found.append(_correlation(one, other))
    return torch.stack(found).mean()


def _luminance(rgb_01_B3HW: Tensor) -> Tensor:
    """Weigh the colours by plain numbers: a tensor of them would have to be brought to the device in every step."""
    red, green, blue = (rgb_01_B3HW[:, place : place + 1] * weight for place, weight in enumerate(_LUMINANCE))
    return red + green + blue


def _correlation(one_B1HW: Tensor, other_B1HW: Tensor) -> Tensor:
    def box(values_B1HW: Tensor) -> Tensor:
        return F.avg_pool2d(values_B1HW, 7, stride=1)

    mean_one, mean_other = box(one_B1HW), box(other_B1HW)
    covariance = box(one_B1HW * other_B1HW) - mean_one * mean_other
    spread = (box(one_B1HW.square()) - mean_one.square()) * (box(other_B1HW.square()) - mean_other.square())
    return (covariance / (spread.clamp_min(0) + 1e-7).sqrt()).mean()


def out_of_range(rgb_01_B3HW: Tensor) -> Tensor:
    """Return how far values lie outside 0-1, squared, mean; 0-d."""
    return (rgb_01_B3HW - rgb_01_B3HW.clamp(0, 1)).square().mean()
