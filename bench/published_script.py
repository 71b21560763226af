"""The peer: what the published `neural_style.py eval` does, step by step, with plain eager PyTorch.

It reads the picture with Pillow, turns it into a tensor with torchvision, runs the published net in float32 on the CPU
and writes the result; no S3, no check, no record. The net is written here anew, functionally, and imports nothing of
this project, so that the peer owes its speed to nobody.
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F  # noqa: N812 -- the field's name for it
from PIL import Image
from torchvision import transforms


def _conv(x: torch.Tensor, state: dict[str, torch.Tensor], name: str, *, stride: int = 1) -> torch.Tensor:
    weight = state[f"{name}.conv2d.weight"]
    padded = F.pad(x, [weight.shape[-1] // 2] * 4, mode="reflect")
    return F.conv2d(padded, weight, state[f"{name}.conv2d.bias"], stride=stride)


def _norm(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return F.instance_norm(x, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])


def styled(x: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Run the published net on pictures of 0-255."""
    for number, stride in ((1, 1), (2, 2), (3, 2)):
        x = F.relu(_norm(_conv(x, state, f"conv{number}", stride=stride), state, f"in{number}"))
    for number in range(1, 6):
        block = f"res{number}"
        inner = F.relu(_norm(_conv(x, state, f"{block}.conv1"), state, f"{block}.in1"))
        x = _norm(_conv(inner, state, f"{block}.conv2"), state, f"{block}.in2") + x
    for number in (1, 2):
        x = F.interpolate(x, mode="nearest", scale_factor=2)
        x = F.relu(_norm(_conv(x, state, f"deconv{number}"), state, f"in{number + 3}"))
    return _conv(x, state, "deconv3")


def main() -> None:
    """Style argv[1] with the weights argv[2] into argv[3]."""
    content, weights, output = sys.argv[1:]
    to_255 = transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda x: x.mul(255))])
    image = to_255(Image.open(content).convert("RGB")).unsqueeze(0)
    with torch.no_grad():
        state = torch.load(weights, map_location="cpu", weights_only=True)
        made = styled(image, state)[0]
    pixels = made.clamp(0, 255).numpy().transpose(1, 2, 0).astype("uint8")
    Image.fromarray(pixels).save(output)


if __name__ == "__main__":
    main()
