"""The published image transformation net, at any width.

Axes: B batch, C channels, H height, W width. Ranges: ``_255`` is 0-255.

The attribute names are the format of every published weight file: renaming one breaks those files. Architecture and
names: pytorch/examples ``fast_neural_style/neural_style/transformer_net.py`` (BSD-3-Clause), after Johnson et al. 2016,
arXiv:1603.08155, with instance norm after Ulyanov et al. 2016, arXiv:1607.08022.
"""

from __future__ import annotations

import torch
from torch import nn

PUBLISHED_WIDTHS = (32, 64, 128)


class ConvLayer(nn.Module):
    """Convolve after a reflected border, so that no edge is darkened by zeros."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.reflection_pad = nn.ReflectionPad2d(kernel_size // 2)
        self.conv2d = nn.Conv2d(in_channels, out_channels, kernel_size, stride)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the same height and width divided by the stride, rounded up."""
        out: torch.Tensor = self.conv2d(self.reflection_pad(features_BCHW))
        return out


class ResidualBlock(nn.Module):
    """Two convolutions added to their input; no ReLU after the addition (unlike He et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(channels, channels, kernel_size=3)
        self.in1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = ConvLayer(channels, channels, kernel_size=3)
        self.in2 = nn.InstanceNorm2d(channels, affine=True)
        self.relu = nn.ReLU()

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the shape that came in."""
        inner_BCHW = self.relu(self.in1(self.conv1(features_BCHW)))
        out: torch.Tensor = self.in2(self.conv2(inner_BCHW)) + features_BCHW
        return out


class UpsampleConvLayer(nn.Module):
    """Enlarge by repeating pixels, then convolve: no checkerboard, unlike a transposed convolution.

    Source: Odena et al. 2016, distill.pub/2016/deconv-checkerboard.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int, upsample: int) -> None:
        super().__init__()
        self.upsample = upsample
        self.reflection_pad = nn.ReflectionPad2d(kernel_size // 2)
        self.conv2d = nn.Conv2d(in_channels, out_channels, kernel_size)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the height and width multiplied by ``upsample``."""
        large_BCHW = nn.functional.interpolate(features_BCHW, mode="nearest", scale_factor=self.upsample)
        out: torch.Tensor = self.conv2d(self.reflection_pad(large_BCHW))
        return out


class TransformerNet(nn.Module):
    """Turn a picture into the same picture in the style the weights were trained for.

    Args:
        widths: channels at full, half and quarter size.
    """

    def __init__(self, widths: tuple[int, int, int] = PUBLISHED_WIDTHS) -> None:
        super().__init__()
        full, half, quarter = widths
        self.conv1 = ConvLayer(3, full, kernel_size=9)
        self.in1 = nn.InstanceNorm2d(full, affine=True)
        self.conv2 = ConvLayer(full, half, kernel_size=3, stride=2)
        self.in2 = nn.InstanceNorm2d(half, affine=True)
        self.conv3 = ConvLayer(half, quarter, kernel_size=3, stride=2)
        self.in3 = nn.InstanceNorm2d(quarter, affine=True)
        self.res1 = ResidualBlock(quarter)
        self.res2 = ResidualBlock(quarter)
        self.res3 = ResidualBlock(quarter)
        self.res4 = ResidualBlock(quarter)
        self.res5 = ResidualBlock(quarter)
        self.deconv1 = UpsampleConvLayer(quarter, half, kernel_size=3, upsample=2)
        self.in4 = nn.InstanceNorm2d(half, affine=True)
        self.deconv2 = UpsampleConvLayer(half, full, kernel_size=3, upsample=2)
        self.in5 = nn.InstanceNorm2d(full, affine=True)
        self.deconv3 = ConvLayer(full, 3, kernel_size=9)
        self.relu = nn.ReLU()

    def forward(self, rgb_255_B3HW: torch.Tensor) -> torch.Tensor:
        """Style a batch.

        Args:
            rgb_255_B3HW: floating point, 0-255, at least 5 pixels a side (the reflected borders need them).

        Returns:
            Height and width rounded up to a multiple of four; about 0-255, not clamped.
        """
        features = self.relu(self.in1(self.conv1(rgb_255_B3HW)))
        features = self.relu(self.in2(self.conv2(features)))
        features = self.relu(self.in3(self.conv3(features)))
        for block in (self.res1, self.res2, self.res3, self.res4, self.res5):
            features = block(features)
        features = self.relu(self.in4(self.deconv1(features)))
        features = self.relu(self.in5(self.deconv2(features)))
        out: torch.Tensor = self.deconv3(features)
        return out
