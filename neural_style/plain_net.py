"""The published net just as it is, in float32 on the CPU: what every engine is compared with.

Axes: H height, W width; 3 is red, green, blue. Range: 0-255.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from .reproducible import full_float32
from .weights import load_network

Style = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def read_with_torch(model_path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[np.float32]], Style]:
    """Read a weight file.

    Returns:
        Its arrays, and a function that styles a picture ``(1, 3, H, W)``, 0-255, and returns what the net gives.

    Raises:
        WeightsError: it does not hold the weights of the published net.
    """
    net = load_network(model_path)

    def style(picture_13HW: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), full_float32():
            styled: NDArray[np.float32] = net(torch.from_numpy(picture_13HW)).numpy()
        return styled

    return {key: tensor.numpy() for key, tensor in net.state_dict().items()}, style
