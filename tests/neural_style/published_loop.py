"""What the published `neural_style.py train` computes in a step, stated again with plain PyTorch and nothing of ours.

After pytorch/examples, ``fast_neural_style`` (BSD-3-Clause), which is eager PyTorch in float32, contiguous tensors, and
a VGG16 of torchvision's that runs on the output and on the picture, both to relu4_3 and both recorded by autograd as
far as they need to be. The tests take its numbers for the truth, `make bench` its time for the peer's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision
from torch import nn
from torch.nn import functional


class Losses(NamedTuple):
    """Weighted, as the script prints and adds them."""

    content: torch.Tensor
    style: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        return self.content + self.style


class _Conv(nn.Module):
    def __init__(self, num_in: int, num_out: int, size: int, stride: int = 1, upsample: int | None = None) -> None:
        super().__init__()
        self.upsample = upsample
        self.reflection_pad = nn.ReflectionPad2d(size // 2)
        self.conv2d = nn.Conv2d(num_in, num_out, size, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.upsample:
            x = functional.interpolate(x, mode="nearest", scale_factor=self.upsample)
        return self.conv2d(self.reflection_pad(x))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.in1 = _Conv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)
        self.conv2, self.in2 = _Conv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.in2(self.conv2(self.relu(self.in1(self.conv1(x))))) + x


class Net(nn.Module):
    """The net that is trained; made in the order that gives the script's first weights for its seed."""

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128)) -> None:
        super().__init__()
        a, b, c = widths
        self.conv1, self.in1 = _Conv(3, a, 9), nn.InstanceNorm2d(a, affine=True)
        self.conv2, self.in2 = _Conv(a, b, 3, stride=2), nn.InstanceNorm2d(b, affine=True)
        self.conv3, self.in3 = _Conv(b, c, 3, stride=2), nn.InstanceNorm2d(c, affine=True)
        self.res1, self.res2, self.res3, self.res4, self.res5 = (_Block(c) for _ in range(5))
        self.deconv1, self.in4 = _Conv(c, b, 3, upsample=2), nn.InstanceNorm2d(b, affine=True)
        self.deconv2, self.in5 = _Conv(b, a, 3, upsample=2), nn.InstanceNorm2d(a, affine=True)
        self.deconv3 = _Conv(a, 3, 9)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.in1(self.conv1(x)))
        y = self.relu(self.in2(self.conv2(y)))
        y = self.relu(self.in3(self.conv3(y)))
        for block in (self.res1, self.res2, self.res3, self.res4, self.res5):
            y = block(y)
        y = self.relu(self.in4(self.deconv1(y)))
        y = self.relu(self.in5(self.deconv2(y)))
        return self.deconv3(y)


class Judge(nn.Module):
    """torchvision's VGG16 in the four slices that the script takes, with weights that get no gradient.

    Args:
        state: ``features.N.weight`` and ``.bias`` of the first 23 layers.
    """

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        with torch.device("meta"):
            layers = torchvision.models.vgg16().features[:23]
        layers.load_state_dict({key.removeprefix("features."): each for key, each in state.items()}, assign=True)
        self.slices = nn.ModuleList(layers[start:end] for start, end in ((0, 4), (4, 9), (9, 16), (16, 23)))
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layers in self.slices:
            x = layers(x)
            found.append(x)
        return found


def normalized(batch: torch.Tensor) -> torch.Tensor:
    """ImageNet's mean and deviation removed; divides its argument in place, as the script does."""
    mean = batch.new_tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
    std = batch.new_tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
    return (batch.div_(255.0) - mean) / std


def gram(y: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = y.size()
    features = y.view(batch, channels, height * width)
    return features.bmm(features.transpose(1, 2)) / (channels * height * width)


class PublishedLoop:
    """The script's state, and one step of it.

    Args:
        vgg_state: See `Judge`.
        style: The style picture, ``(3, H, W)``, 0-255.
        widths: Channels of the net, which are fixed in the script.
        seed: Of the first weights.
        batch_size: As often the style picture is repeated.
        lr: Of Adam.
        content_weight: Of the content loss.
        style_weight: Of the style loss.
        device: Where it computes; batches come from there.
    """

    def __init__(
        self,
        vgg_state: dict[str, torch.Tensor],
        style: torch.Tensor,
        *,
        widths: tuple[int, int, int] = (32, 64, 128),
        seed: int = 42,
        batch_size: int = 4,
        lr: float = 1e-3,
        content_weight: float = 1e5,
        style_weight: float = 1e10,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(seed)
        self.net = Net(widths).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr)
        self.mse = nn.MSELoss()
        self.judge = Judge(vgg_state).to(device)
        self.content_weight, self.style_weight = content_weight, style_weight
        features = self.judge(normalized(style.to(device).repeat(batch_size, 1, 1, 1)))
        self.grams = [gram(each) for each in features]

    def losses(self, batch: torch.Tensor) -> Losses:
        """Of a batch ``(B, 3, H, W)`` of 0-255, which is left as it is."""
        x = batch.clone()
        y = normalized(self.net(x))
        features_y, features_x = self.judge(y), self.judge(normalized(x))
        content = self.content_weight * self.mse(features_y[1], features_x[1])
        style = torch.zeros((), device=batch.device)
        for found, wanted in zip(features_y, self.grams, strict=True):
            style = style + self.mse(gram(found), wanted[: len(batch)])
        return Losses(content, style * self.style_weight)

    def step(self, batch: torch.Tensor) -> Losses:
        """Train on a batch; return the losses from before."""
        self.optimizer.zero_grad()
        losses = self.losses(batch)
        losses.total.backward()
        self.optimizer.step()
        losses.content.item(), losses.style.item()  # the script sums them up for its log, at every step
        return losses
