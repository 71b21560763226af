"""Settings of torch are put back, by whoever leaves last."""

from __future__ import annotations

import torch

from neural_style.reproducible import full_float32


def test_float32_is_full_until_the_last_of_several_threads_leaves():
    setting = torch.backends.cuda.matmul
    before = setting.fp32_precision
    setting.fp32_precision = "tf32"
    try:
        one, other = full_float32(), full_float32()
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert setting.fp32_precision == "ieee"
        other.__exit__(None, None, None)
        assert setting.fp32_precision == "tf32"
    finally:
        setting.fp32_precision = before
