"""`python -m bench.styling_inputs_program FOLDER [--channels C] [--sides N ...] [--many N]`: write what is styled."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.published_script import styled
from bench.styling_inputs import StylingInputs
from neural_style.drawn import draw_scene
from neural_style.transformer_net import TransformerNet
from neural_style.weights import save_weights

_DEVIATION = 55.0
"""Of the levels of a result, about: two of them to each side of the middle are 0-255."""

_TRIED_PX = 256


def main() -> None:
    """Write weights, and, if there are sides, the graph, scenes and what plain torch makes of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--sides", type=int, nargs="*", default=[])
    parser.add_argument("--many", type=int, default=0)
    options = parser.parse_args()
    inputs = StylingInputs(folder=options.folder)
    with torch.no_grad():
        net = random_net(options.channels)
        save_weights(net.state_dict(), inputs.weights)
        for side_px in options.sides:
            scene = draw_scene(width_px=side_px, height_px=side_px)
            np.save(inputs.picture(side_px), scene)
            answer = styled(as_input(scene), net.state_dict())
            np.save(inputs.answer(side_px), answer[0].permute(1, 2, 0).numpy())
    if options.sides:
        export(net, inputs.graph)
    if options.many:
        side_px = options.sides[0]
        drawn = [draw_scene(number, width_px=side_px, height_px=side_px) for number in range(1, 1 + options.many)]
        np.save(inputs.many, np.stack(drawn))


def random_net(channels: int) -> TransformerNet:
    """Make a net of the published shape whose results are about as bright and as lively as pictures."""
    torch.manual_seed(1)
    net = TransformerNet((channels, 2 * channels, 4 * channels)).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.2)
    levels = net(as_input(draw_scene(width_px=_TRIED_PX, height_px=_TRIED_PX)))
    last, scale = net.deconv3.conv2d, _DEVIATION / levels.std(dim=(0, 2, 3))
    assert last.bias is not None  # the published net has one
    last.weight.mul_(scale[:, None, None, None])
    last.bias.sub_(levels.mean(dim=(0, 2, 3))).mul_(scale).add_(127.5)
    return net


def as_input(scene: np.ndarray) -> torch.Tensor:
    """Return what the net takes."""
    return torch.from_numpy(scene).permute(2, 0, 1)[None].float()


def export(net: TransformerNet, path: Path) -> None:
    """Export as PyTorch's own documentation says, so that the graph owes nothing to this project."""
    sides = {2: torch.export.Dim("height", min=8), 3: torch.export.Dim("width", min=8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            (torch.zeros(1, 3, 61, 67),),
            dynamo=True,
            dynamic_shapes=(sides,),
            input_names=["input"],
            verbose=False,
        )
    assert program is not None
    program.save(str(path))


if __name__ == "__main__":
    main()
