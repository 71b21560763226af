"""The picture and the weights that are styled: published ones where they lie beside the checkout, else made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
REAL = REPO.parent / "shared" / "real"
SIDE_PX = 1080


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A picture and weights on this machine.

    Attributes:
        image: A JPEG.
        model: A state dict of the published net.
        described: What they are, for the report.
    """

    image: Path
    model: Path
    described: str


def find_inputs(folder: Path) -> Inputs:
    """The published picture and weights, or a noise picture and random weights written to `folder`."""
    image, model = REAL / "images" / "amber.jpg", REAL / "saved_models" / "mosaic_nc16.pth"
    if image.is_file() and model.is_file():
        return Inputs(image=image, model=model, described="amber.jpg 1080x1080, mosaic_nc16 (published)")
    return _made(folder)


def _made(folder: Path) -> Inputs:
    import numpy as np
    import torch
    from PIL import Image

    from neural_style.transformer_net import TransformerNet
    from neural_style.weights import save_weights

    torch.manual_seed(1)
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE_PX // 8, SIDE_PX // 8, 3), dtype=np.uint8)
    image, model = folder / "noise.jpg", folder / "random_nc16.pth"
    Image.fromarray(pixels).resize((SIDE_PX, SIDE_PX)).save(image)
    save_weights(TransformerNet(widths=(16, 32, 64)).state_dict(), model)
    return Inputs(image=image, model=model, described=f"noise {SIDE_PX}x{SIDE_PX}, random weights of 16 channels")
