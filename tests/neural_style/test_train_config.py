"""A configuration holds what changes the weights, and refuses what cannot be meant."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from neural_style import train_config
from neural_style.errors import SettingError
from neural_style.train_config import TrainConfig

# One other value for each field, all of them good.
OTHER = {
    "epochs": 3,
    "steps": 600,
    "batch_size": 8,
    "image_px": 128,
    "style_px": 300,
    "learning_rate": 6e-3,
    "content_weight": 3e5,
    "style_weight": 3e10,
    "total_variation_weight": 0.15,
    "seed": 7,
    "widths": (16, 32, 64),
    "features": "random",
    "precision": "bf16",
    "crop": "random",
}


def test_defaults_are_the_published_scripts():
    config = TrainConfig()
    assert (config.epochs, config.steps, config.batch_size, config.image_px, config.style_px) == (2, None, 4, 256, None)
    assert (config.learning_rate, config.content_weight, config.style_weight) == (1e-3, 1e5, 1e10)
    assert (config.seed, config.widths, config.total_variation_weight) == (42, (32, 64, 128), 0.0)
    assert (config.features, config.precision, config.crop) == ("vgg16", "float32", "center")


def test_steps_stand_in_for_epochs():
    assert TrainConfig(steps=600).epochs is None
    assert TrainConfig(epochs=3).steps is None


BAD: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 0}, "epochs: wanted a whole number 1 or more, found 0"),
    ({"epochs": 1.5}, "epochs: wanted a whole number 1 or more, found 1.5"),
    ({"steps": -1}, "steps: wanted a whole number 1 or more, found -1"),
    ({"steps": 5, "epochs": 2}, "epochs and steps: wanted one of them, found 2 and 5"),
    ({"batch_size": 0}, "batch_size: wanted a whole number 1 or more, found 0"),
    ({"batch_size": True}, "batch_size: wanted a whole number 1 or more, found True"),
    ({"image_px": 15}, "image_px: wanted a whole number 16 or more, found 15"),
    ({"image_px": 250}, "image_px: wanted a multiple of 4, found 250"),
    (
        {"image_px": 52, "features": "random"},
        "image_px: wanted 56 or more where random features judge, found 52",
    ),
    ({"style_px": 4}, "style_px: wanted a whole number 16 or more, found 4"),
    ({"style_px": "300"}, "style_px: wanted a whole number 16 or more, found '300'"),
    ({"learning_rate": 0}, "learning_rate: wanted a finite number above 0, found 0"),
    ({"learning_rate": float("nan")}, "learning_rate: wanted a finite number above 0, found nan"),
    ({"learning_rate": "fast"}, "learning_rate: wanted a number above 0, found 'fast'"),
    ({"content_weight": -1.0}, "content_weight: wanted a finite number 0 or more, found -1.0"),
    ({"style_weight": float("inf")}, "style_weight: wanted a finite number 0 or more, found inf"),
    ({"total_variation_weight": False}, "total_variation_weight: wanted a number 0 or more, found False"),
    ({"content_weight": 0, "style_weight": 0}, "content_weight and style_weight: wanted one above 0, found 0 for both"),
    ({"seed": -1}, f"seed: wanted a whole number from 0 to {2**63 - 1}, found -1"),
    ({"seed": 2**63}, f"seed: wanted a whole number from 0 to {2**63 - 1}, found {2**63}"),
    ({"widths": (32, 64)}, r"widths: wanted three numbers of channels, found \(32, 64\)"),
    ({"widths": 32}, "widths: wanted three numbers of channels, found 32"),
    ({"widths": (32, 0, 128)}, "widths: wanted a whole number from 1 to 4096, found 0"),
    ({"features": "vgg19"}, "features: wanted 'vgg16' or 'random', found 'vgg19'"),
    ({"precision": "fp16"}, "precision: wanted 'float32' or 'bf16', found 'fp16'"),
    ({"crop": ["center"]}, r"crop: wanted 'center' or 'random', found \['center'\]"),
]


@pytest.mark.parametrize(("values", "sentence"), BAD, ids=[f"{v}" for v, _ in BAD])
def test_a_bad_value_is_refused_by_name(values, sentence):
    with pytest.raises(SettingError, match=f"^{sentence}$"):
        TrainConfig(**values)


def test_every_field_has_a_bad_value_above():
    assert {name for values, _ in BAD for name in values} == {field.name for field in fields(TrainConfig)}


def test_no_field_can_be_changed_later():
    with pytest.raises(FrozenInstanceError, match="seed"):
        TrainConfig().seed = 1  # type: ignore[misc]


def changed(name: str) -> TrainConfig:
    steps = {"epochs": None} if name == "steps" else {}
    return replace(TrainConfig(), **{name: OTHER[name]}, **steps)


def test_every_field_changes_the_digest():
    names = [field.name for field in fields(TrainConfig)]
    digests = {TrainConfig().digest(), *(changed(name).digest() for name in names)}
    assert len(digests) == len(names) + 1


def test_the_algorithms_number_changes_the_digest(monkeypatch):
    before = TrainConfig().digest()
    monkeypatch.setattr(train_config, "ALGORITHM", train_config.ALGORITHM + 1)
    assert TrainConfig().digest() != before


def test_the_same_run_has_the_same_digest_however_it_is_written():
    written: dict[str, Any] = {"content_weight": 100000, "widths": [32, 64, 128], "epochs": 2}
    assert TrainConfig(**written).digest() == TrainConfig().digest()
    assert TrainConfig(total_variation_weight=-0.0).digest() == TrainConfig().digest()
    assert len(TrainConfig().digest()) == 64
