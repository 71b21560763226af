"""The colours of a painting, for pictures that are to be painted like it.

Axes: B batch, H height, W width, P pixels. Ranges: ``_01`` is 0-1.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NATURAL_MEAN = (0.485, 0.456, 0.406)
_NATURAL_DEVIATION = (0.229, 0.224, 0.225)
_NATURAL_CORRELATION = ((1.0, 0.894, 0.771), (0.894, 1.0, 0.902), (0.771, 0.902, 1.0))
"""Red, green and blue of photographs: mean and deviation as torchvision states ImageNet's, correlations after the
principal components of Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks"."""

_LEAST_VARIANCE = 1e-4


class Palette:
    """Moves the colours of photographs to those of a painting, by the linear map that moves colours least.

    The map is one for all pictures: what is bright, dark or blue is so afterwards, and a flat sky stays flat, while a
    map made for each picture would stretch every sky over all colours of the painting.

    Args:
        painting_01_13HW: whose mean and covariance of colours are those that photographs get, all together.

    Source: Pitié and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour
    transfer".
    """

    def __init__(self, painting_01_13HW: Tensor) -> None:
        flat_3P = painting_01_13HW[0].float().flatten(1)
        deviation_3 = torch.tensor(_NATURAL_DEVIATION)
        natural_33 = torch.tensor(_NATURAL_CORRELATION) * deviation_3[:, None] * deviation_3
        least_33 = _LEAST_VARIANCE * torch.eye(3)  # a grey painting has a direction, too
        root_33, inverse_33 = _roots(natural_33)
        middle_33, _ = _roots(root_33 @ (torch.cov(flat_3P.cpu(), correction=0) + least_33) @ root_33)
        self._map_33 = (inverse_33 @ middle_33 @ inverse_33).to(flat_3P.device)
        self._natural_131 = torch.tensor(_NATURAL_MEAN, device=flat_3P.device)[None, :, None]
        self.mean_3 = flat_3P.mean(dim=1)

    @torch.no_grad()
    def recoloured(self, rgb_01_B3HW: Tensor) -> Tensor:
        """Return the pictures in the painting's colours, ``(B, 3, H, W)``, 0-1."""
        moved_B3P = self._map_33 @ (rgb_01_B3HW.flatten(2) - self._natural_131) + self.mean_3[:, None]
        return moved_B3P.reshape(rgb_01_B3HW.shape).clamp(0, 1)


def _roots(matrix_33: Tensor) -> tuple[Tensor, Tensor]:
    """Return the root of a symmetric matrix and its inverse."""
    values_3, vectors_33 = torch.linalg.eigh(matrix_33)
    root_3 = values_3.clamp_min(1e-8).sqrt()
    return vectors_33 * root_3 @ vectors_33.T, vectors_33 / root_3 @ vectors_33.T
