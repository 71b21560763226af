"""The published net's forward pass, arranged so that training it is fast; the same numbers, within rounding.

Axes: B batch, C channels, H height, W width. ``_255`` is 0-255.

What is folded is told in `folding`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .engines.rewriting import MERGED_ROWS
from .folding import PLACES, folded_both, four_kernels, mirrored, parts, unfolded, whole
from .transformer_net import ConvLayer, TransformerNet, UpsampleConvLayer

_aten = torch.ops.aten


class TrainingNet(nn.Module):
    """Give the net's own output by a faster road.

    Args:
        net: What is trained. Biases that a later norm takes away again are frozen.
        dtype: Of the arithmetic; weights stay float32.
    """

    def __init__(self, net: TransformerNet, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)
        self._dtype = dtype
        self.register_buffer("_merged_rows", torch.tensor(MERGED_ROWS), persistent=False)
        for name, parameter in net.named_parameters():
            if name.endswith("conv2d.bias") and not name.startswith("deconv3") or name.endswith(".in2.bias"):
                parameter.requires_grad_(False)

    def forward(self, rgb_255_B3HW: Tensor) -> Tensor:
        """Style a batch; see `TransformerNet.forward`. Height and width are multiples of four, 8 or more."""
        if len(rgb_255_B3HW) > 1 and rgb_255_B3HW.device.type == "cpu":  # one picture's features fit into its caches
            return torch.cat([self(each) for each in torch.split(rgb_255_B3HW, 1)])
        net = self.net
        features = self._layer(net.conv1, net.in1, rgb_255_B3HW.to(self._dtype, memory_format=torch.channels_last))
        features = self._layer(net.conv3, net.in3, self._layer(net.conv2, net.in2, features))
        for block in (net.res1, net.res2, net.res3, net.res4, net.res5):
            inner = self._layer(block.conv1, block.in1, features)
            features = self._layer(block.conv2, block.in2, inner, relu=False, plus=features)
        features = unfolded(self._up(net.deconv1, net.in4, features))
        return self._closed(self._up(net.deconv2, net.in5, features))

    def _layer(
        self,
        layer: ConvLayer,
        norm: nn.InstanceNorm2d,
        features: Tensor,
        *,
        relu: bool = True,
        plus: Tensor | None = None,
    ) -> Tensor:
        """Convolve after a reflected border, normalise, then ReLU or add."""
        conv = layer.conv2d
        padded = functional.pad(features, [conv.kernel_size[0] // 2] * 4, mode="reflect")
        return self._normed(norm, self._conv(padded, conv.weight, stride=conv.stride[0]), relu=relu, plus=plus)

    def _up(self, layer: UpsampleConvLayer, norm: nn.InstanceNorm2d, features: Tensor) -> Tensor:
        """Enlarge and convolve; the result is folded."""
        weight = layer.conv2d.weight
        assert isinstance(self._merged_rows, Tensor)
        four = four_kernels(weight, self._merged_rows)
        padded = _repeated_border(features)
        out: Tensor = _Windows.apply(self._conv(padded, four))
        return self._normed(norm, out)

    def _closed(self, features: Tensor) -> Tensor:
        """The last layer; takes folded features, returns a picture."""
        conv = self.net.deconv3.conv2d
        padded: Tensor = _FoldedReflection.apply(features)
        assert conv.bias is not None
        out = self._conv(padded, folded_both(conv.weight), conv.bias.repeat(4))
        return unfolded(out).float()

    def _conv(self, features: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1) -> Tensor:
        weight = weight.to(self._dtype, memory_format=torch.channels_last)
        return functional.conv2d(features, weight, None if bias is None else bias.to(self._dtype), stride=stride)

    def _normed(
        self, norm: nn.InstanceNorm2d, features: Tensor, *, relu: bool = True, plus: Tensor | None = None
    ) -> Tensor:
        """Normalise each picture's channels, then ReLU or add."""
        if len(features) == 1:
            out: Tensor = _Norm.apply(features, norm.weight, norm.bias, norm.eps, relu, plus)
            return out
        weight, bias = norm.weight.to(features.dtype), norm.bias.to(features.dtype)
        flat = functional.group_norm(_flat(features, norm.num_features), norm.num_features, weight, bias, norm.eps)
        out = _unflat(flat, features)
        out = out.relu() if relu else out
        return out if plus is None else out + plus


def _repeated_border(features: Tensor) -> Tensor:
    """Repeat the outermost pixels once at each edge.

    Inductor takes the gradient of `functional.pad` for one that lies in another order in memory (torch 2.15 on the
    CPU), so it is put together by hand where it is compiled.
    """
    if not torch.compiler.is_compiling():
        return functional.pad(features, [1, 1, 1, 1], mode="replicate")
    wide = torch.cat([features[..., :1], features, features[..., -1:]], dim=3)
    return torch.cat([wide[:, :, :1], wide, wide[:, :, -1:]], dim=2)


class _Norm(torch.autograd.Function):
    """The norm of one picture, which is what batch norm does, with what follows it.

    Written out, since what autograd makes of a ReLU in place on a view takes longer than all of this.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool, plus: Tensor | None
    ) -> Tensor:
        flat, *stats = _aten.native_batch_norm(_flat(features, len(weight)), weight, bias, None, None, True, 0.0, eps)
        if relu:
            flat.relu_()
        out = _unflat(flat, features)
        if plus is not None:
            out += plus
        ctx.save_for_backward(features, weight, *stats, *([out] if relu else []))
        ctx.eps, ctx.has_plus = eps, plus is not None
        return out

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        features, weight, mean, scale, *outs = ctx.saved_tensors
        inner = _aten.threshold_backward(slope, outs[0], 0) if outs else slope
        flat, weight_slope, bias_slope = _aten.native_batch_norm_backward(
            _flat(inner, len(weight)),
            _flat(features, len(weight)),
            weight,
            None,
            None,
            mean,
            scale,
            True,
            ctx.eps,
            ctx.needs_input_grad[:3],
        )
        return _unflat(flat, features), weight_slope, bias_slope, None, None, slope if ctx.has_plus else None


def _flat(features_BCHW: Tensor, num_channels: int) -> Tensor:
    """View a map as ``(B, num_channels, positions, 1)``: folded channels are the same channels at more positions."""
    return features_BCHW.permute(0, 2, 3, 1).reshape(len(features_BCHW), -1, 1, num_channels).permute(0, 3, 1, 2)


def _unflat(flat: Tensor, like_BCHW: Tensor) -> Tensor:
    batch, channels, height, width = like_BCHW.shape
    return flat.permute(0, 2, 3, 1).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class _Windows(torch.autograd.Function):
    """Of the results of the four 2x2 convolutions take what belongs together: odd rows see one row further on."""

    @staticmethod
    def forward(ctx: Any, four_BCHW: Tensor) -> Tensor:
        four = parts(four_BCHW)
        height, width = four.shape[1] - 1, four.shape[2] - 1
        out = four.new_empty(len(four), height, width, *four.shape[3:])
        for row, column in PLACES:
            out[:, :, :, row, column] = four[:, row : row + height, column : column + width, row, column]
        return whole(out)

    @staticmethod
    def backward(ctx: Any, slope_BCHW: Tensor) -> Tensor:
        slope = parts(slope_BCHW)
        height, width = slope.shape[1:3]
        out = slope.new_zeros(len(slope), height + 1, width + 1, *slope.shape[3:])
        for row, column in PLACES:
            out[:, row : row + height, column : column + width, row, column] = slope[:, :, :, row, column]
        return whole(out)


class _FoldedReflection(torch.autograd.Function):
    """Reflect a border of four pixels, which are two folded positions, at each edge of a folded map."""

    @staticmethod
    def forward(ctx: Any, features_BCHW: Tensor) -> Tensor:
        inner = parts(features_BCHW)
        batch, height, width = inner.shape[:3]
        out = inner.new_empty(batch, height + 4, width + 4, *inner.shape[3:])
        out[:, 2:-2, 2:-2] = inner
        for at, row, source, source_row in mirrored(height):
            out[:, at, 2:-2, row] = inner[:, source, :, source_row]
        for at, column, source, source_column in mirrored(width):
            out[:, :, at, :, column] = out[:, :, source + 2, :, source_column]
        return whole(out)

    @staticmethod
    def backward(ctx: Any, slope_BCHW: Tensor) -> Tensor:
        slope = parts(slope_BCHW)
        height, width = slope.shape[1] - 4, slope.shape[2] - 4
        tall = slope[:, :, 2:-2].clone()
        for at, column, source, source_column in mirrored(width):
            tall[:, :, source, :, source_column] += slope[:, :, at, :, column]
        out = tall[:, 2:-2]
        for at, row, source, source_row in mirrored(height):
            out[:, source, :, source_row] += tall[:, at, :, row]
        return whole(out.contiguous())
