"""Sample pictures while a style is trained: one picture, styled by the net as it is by then."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DeviceError, EngineError, OutputError
from .images import load_image, save_image
from .stylize import Stylizer

log = logging.getLogger("neural_style")

_LONGEST_SIDE_PX = 1024
"""To look at, and small beside what a step of training takes."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Which picture is styled on the way, and where the results go.

    Attributes:
        picture: Its file; a larger one is shrunk.
        folder: Where the results go, as ``<picture>.step-0000000500.png``; made when it is missing.
        every_steps: Steps from one to the next.
    """

    picture: Path
    folder: Path
    every_steps: int = 500


class SampleWriter:
    """Makes the samples of a style model, for `SamplesPlugin`.

    Raises:
        PictureError: the file is no picture.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._picture = load_image(samples.picture, max_side=_LONGEST_SIDE_PX)

    def __call__(self, model: Any, step: int) -> None:
        """Write one; a sample that cannot be made is told of, as no run ends for a picture to look at."""
        from .engines.torch_engine import TorchEngine

        path = self._samples.folder / f"{self._samples.picture.stem}.step-{step:010}.png"
        stylizer = Stylizer.of_engine(TorchEngine.of_net(model.transformer, device=str(model.device)))
        try:
            save_image(stylizer.style_picture(self._picture), path)
        except (DeviceError, EngineError, OutputError) as err:
            log.warning("no sample after step %d: %s", step, err)
        else:
            log.info("sample after step %d: %s", step, path)
