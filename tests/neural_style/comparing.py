"""Nested data, compared bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def assert_equal(found: Any, expected: Any, *, at: str = "") -> None:
    """Compare tensors, containers and plain data, and say at which place they differ."""
    assert type(found) is type(expected), at
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype, at
        assert torch.equal(found, expected), at
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected), at
        for key in expected:
            assert_equal(found[key], expected[key], at=f"{at}[{key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), at
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_equal(one, other, at=f"{at}[{number}]")
    else:
        assert found == expected, at
