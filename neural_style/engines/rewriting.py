"""Layers written another way: the same numbers from less work.

Axes of kernels: O output channels, I input channels, then height and width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REWRITING = 2
"""Raise this when a graph made from these kernels changes: proofs of the graphs before it no longer hold."""

MERGED_ROWS = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
"""Which of three neighbouring rows of an enlarged picture come from which of two rows of the small one.

By parity of the row asked for (even, odd), then row of the small picture, then row of the kernel.
"""


def enlarging_kernel(weight_OI33: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make nearest-neighbour enlargement by two and a 3x3 convolution one transposed convolution.

    It is to run with stride 2 over the small map with a border of one repeated pixel (a reflected border of the large
    map is that), and loses 3 pixels at each side. The products are 4/9 of those of the two steps.

    Returns:
        Shape ``(I, O, 4, 4)``, as ONNX and OpenVINO want it.
    """
    weight = weight_OI33.astype(np.float64)
    # a, b: parity of the row and the column; u, v: row and column of the small map.
    from_small = np.array(MERGED_ROWS)
    parts_abOIuv = np.einsum("aur,bvs,oirs->aboiuv", from_small, from_small, weight, optimize=True)
    kernel_IO44 = np.zeros((weight.shape[1], weight.shape[0], 4, 4))
    for a, b, u, v in np.ndindex(2, 2, 2, 2):
        kernel_IO44[:, :, 3 - a - 2 * u, 3 - b - 2 * v] = parts_abOIuv[a, b, :, :, u, v].T
    return kernel_IO44.astype(np.float32)


def doubled_kernel(weight_OIkk: NDArray[np.float32]) -> NDArray[np.float32]:
    """Let a convolution give two rows and two columns at once, in four times the channels.

    To run with stride 2. Three output channels fill few of a processor's lanes; twelve fill most.

    Returns:
        Shape ``(4 * O, I, k + 1, k + 1)``; the outputs are ordered by channel, then row, then column.
    """
    outputs, inputs, size, _ = weight_OIkk.shape
    kernel = np.zeros((outputs, 2, 2, inputs, size + 1, size + 1), np.float32)
    for row, column in np.ndindex(2, 2):
        kernel[:, row, column, :, row : row + size, column : column + size] = weight_OIkk
    return kernel.reshape(4 * outputs, inputs, size + 1, size + 1)
