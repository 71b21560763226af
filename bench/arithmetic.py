"""How much arithmetic a training step is, and how much of it a card could do."""

from __future__ import annotations

from collections.abc import Sequence

VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
"""Channels of VGG16 to relu4_3: Simonyan and Zisserman 2014, arXiv:1409.1556."""

_CONTENT_BLOCKS = 2  # to relu2_2

BF16_PEAK_TFLOPS = {
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "H200 NVL": 835,
    "H200": 989,
    "A100": 312,
}
"""Dense bfloat16 products, by NVIDIA's data sheets, 10^12 a second; of the names that fit a card the first counts."""


def peak_tflops(card: str) -> float | None:
    """Return what a card of that name can do; None where it is not known."""
    return next((float(peak) for name, peak in BF16_PEAK_TFLOPS.items() if name in card), None)


def step_flops(*, num_pictures: int, image_px: int, widths: Sequence[int] = (32, 64, 128)) -> float:
    """Count multiplications and additions that a step of the published losses needs, however it is computed.

    Enlarging and convolving 3x3 counts as the four 2x2 convolutions that it is; so nothing counts twice. Norms, ReLUs
    and pools are left out: they are memory's work.
    """
    of_picture = _net_macs(image_px, widths) + _judge_macs(image_px)
    return 2.0 * num_pictures * of_picture


def _net_macs(image_px: int, widths: Sequence[int]) -> float:
    """Forward, and backward to weights and to maps; the picture itself wants no gradient."""
    a, b, c = widths
    positions = image_px**2
    first = 81 * 3 * a * positions
    down = (9 * a * b / 4 + 9 * b * c / 16) * positions
    blocks = 10 * 9 * c * c * positions / 16
    up = 16 * (c * b / 16 + b * a / 4) * positions
    last = 81 * a * 3 * positions
    return 3 * (first + down + blocks + up + last) - first


def _judge_macs(image_px: int) -> float:
    """VGG16 there and back at the styled picture, its Gram matrices too, and there to relu2_2 at the content."""
    of_blocks, grams, channels = [], 0.0, 3
    for pools, block in enumerate(VGG_BLOCKS):
        positions, of_block = (image_px >> pools) ** 2, 0
        for width in block:
            of_block += 9 * channels * width * positions
            channels = width
        of_blocks.append(of_block)
        grams += channels * channels * positions
    return 2 * sum(of_blocks) + sum(of_blocks[:_CONTENT_BLOCKS]) + 2 * grams
