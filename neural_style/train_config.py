"""What a training run is made from, besides its pictures: exactly what changes the weights, and nothing else.

Where it runs (device, workers, threads, compiled or not) and what is written on the way are no part of it. It costs
nothing to import, since planning needs no more.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .errors import SettingError

ALGORITHM = 3
"""Raise this when the same configuration gives other weights: styles with a lower number are then trained again."""

PUBLISHED_EPOCHS = 2
"""How often the published script shows every picture."""

FEATURES = ("vgg16", "random")
PRECISIONS = ("float32", "bf16")
CROPS = ("center", "random")

LEAST_PAINTED_PX = 56
"""Side of the smallest picture that random features can be trained on (`neural_style.painted_model`)."""

_MAX_SEED = 2**63 - 1
_MAX_WIDTH = 4096


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Checked where it is made; the defaults are the published script's.

    Attributes:
        epochs: How often every picture is shown; the published number where neither this nor `steps` is given.
        steps: Batches to train on, instead of epochs.
        batch_size: Pictures a step, over all processes together.
        image_px: Height and width of a training picture: a multiple of 4, since the net rounds its output up to one,
            and 16 or more, which VGG16's pools need; 56 or more where random features judge, which look for the
            content in boxes of 7 pixels of the picture at an eighth of its size.
        style_px: Height and width that the style picture is brought to; None leaves it as it is.
        learning_rate: Of Adam.
        content_weight: Of the squared difference at relu2_2.
        style_weight: Of the squared difference of the Gram matrices.
        total_variation_weight: Of the mean difference between neighbouring pixels, on the scale 0-255.
        seed: Of the first weights, the order of the pictures and their crops.
        widths: Channels of the net at full, half and quarter size.
        features: The network that judges: ``vgg16``, or ``random``, which needs no file.
        precision: Of the arithmetic in the step: ``float32``, or ``bf16`` where the device has it.
        crop: ``center`` cuts out of the middle, ``random`` anywhere, and flips.

    Raises:
        SettingError: a value is outside what it may be; the sentence names field and value.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 4
    image_px: int = 256
    style_px: int | None = None
    learning_rate: float = 1e-3
    content_weight: float = 1e5
    style_weight: float = 1e10
    total_variation_weight: float = 0.0
    seed: int = 42
    widths: tuple[int, int, int] = (32, 64, 128)
    features: str = "vgg16"
    precision: str = "float32"
    crop: str = "center"

    def __post_init__(self) -> None:
        self._settle_length()
        _check_integer("batch_size", self.batch_size, least=1)
        _check_integer("image_px", self.image_px, least=16)
        if self.image_px % 4:
            raise SettingError(f"image_px: wanted a multiple of 4, found {self.image_px!r}")
        if self.style_px is not None:
            _check_integer("style_px", self.style_px, least=16)
        _check_integer("seed", self.seed, least=0, most=_MAX_SEED)
        self._settle_number("learning_rate", zero=False)
        for name in ("content_weight", "style_weight", "total_variation_weight"):
            self._settle_number(name, zero=True)
        if not (self.content_weight or self.style_weight):
            raise SettingError("content_weight and style_weight: wanted one above 0, found 0 for both")
        self._settle_widths()
        for name, choices in (("features", FEATURES), ("precision", PRECISIONS), ("crop", CROPS)):
            _check_choice(name, getattr(self, name), choices)
        if self.features == "random" and self.image_px < LEAST_PAINTED_PX:
            raise SettingError(
                f"image_px: wanted {LEAST_PAINTED_PX} or more where random features judge, found {self.image_px!r}"
            )

    def digest(self) -> str:
        """Return 64 hexadecimal digits that change when a field does, or `ALGORITHM`."""
        said = json.dumps({"algorithm": ALGORITHM, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def _settle_length(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise SettingError(f"epochs and steps: wanted one of them, found {self.epochs!r} and {self.steps!r}")
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", PUBLISHED_EPOCHS)
        name = "steps" if self.epochs is None else "epochs"
        _check_integer(name, getattr(self, name), least=1)

    def _settle_number(self, name: str, *, zero: bool) -> None:
        """Check a number, and make it a float: 100000 and 1e5 are the same run."""
        value = getattr(self, name)
        wanted = "0 or more" if zero else "above 0"
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise SettingError(f"{name}: wanted a number {wanted}, found {value!r}")
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise SettingError(f"{name}: wanted a finite number {wanted}, found {value!r}")
        object.__setattr__(self, name, abs(float(value)))  # no -0.0

    def _settle_widths(self) -> None:
        if not isinstance(self.widths, (tuple, list)) or len(self.widths) != 3:
            raise SettingError(f"widths: wanted three numbers of channels, found {self.widths!r}")
        for width in self.widths:
            _check_integer("widths", width, least=1, most=_MAX_WIDTH)
        object.__setattr__(self, "widths", tuple(self.widths))


PAINTED: Mapping[str, Any] = {
    "steps": 600,
    "batch_size": 2,
    "image_px": 128,
    "learning_rate": 6e-3,
    "content_weight": 0.45,
    "style_weight": 3.0,
    "total_variation_weight": 0.03,
    "widths": (16, 32, 64),
    "crop": "random",
}
"""The defaults where random features judge, whose losses are on another scale (`neural_style.painted_model`)."""


def config_for(given: Mapping[str, Any]) -> TrainConfig:
    """Make a configuration of the fields that are given, the others being the defaults of its features.

    Raises:
        SettingError: as in `TrainConfig`.
    """
    defaults = dict(PAINTED) if given.get("features") == "random" else {}
    if "epochs" in given:
        defaults.pop("steps", None)
    return TrainConfig(**{**defaults, **given})


def _check_integer(name: str, value: object, *, least: int, most: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]  # it is whole
        wanted = f"{least} or more" if most is None else f"from {least} to {most}"
        raise SettingError(f"{name}: wanted a whole number {wanted}, found {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{name}: wanted {' or '.join(map(repr, choices))}, found {value!r}")
