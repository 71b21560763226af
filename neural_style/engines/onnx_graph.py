"""The published net as an ONNX graph, made from plain arrays, with less work than the published one.

As in `openvino_graph`, no convolution before a norm has a bias, and there is a plain kind for pictures of one colour.
It is for large pictures, too: onnxruntime's norm comes to 80 dB at 2000 x 3000 pixels and 59 at 4000 x 6000.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .rewriting import doubled_kernel, enlarging_kernel

Weights = Mapping[str, NDArray[np.float32]]

_OPSET = 18
_IR_VERSION = 10
_EPSILON = 1e-5


def onnx_model(weights: Weights, *, is_plain: bool = False) -> bytes:
    """Return the net for pictures ``(1, 3, H, W)``, 0-255, as the content of an ``.onnx`` file.

    The same weights give the same bytes. Input and output are called ``input`` and ``output``.

    Args:
        weights: the 62 arrays of the published net, at any width.
        is_plain: builds the net as it was published, see `openvino_graph.GraphBuilder`.
    """
    builder = _GraphBuilder(weights, is_plain=is_plain)
    builder.build()
    model = helper.make_model(
        helper.make_graph(
            builder.nodes,
            "net",
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, (1, 3, "height", "width"))],
            [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, (1, 3, "out_height", "out_width"))],
            builder.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


class _GraphBuilder:
    """Puts the net's layers together; a map is named by the output of its node."""

    def __init__(self, weights: Weights, *, is_plain: bool) -> None:
        self._weights, self._is_plain = weights, is_plain
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def build(self) -> None:
        """Add all layers."""
        features = "input"
        for name, norm, stride in (("conv1", "in1", 1), ("conv2", "in2", 2), ("conv3", "in3", 2)):
            features = self._node("Relu", self._normed(self._convolved(features, name, stride=stride), norm))
        for name in ("res1", "res2", "res3", "res4", "res5"):
            inner = self._node("Relu", self._normed(self._convolved(features, f"{name}.conv1"), f"{name}.in1"))
            inner = self._normed(self._convolved(inner, f"{name}.conv2"), f"{name}.in2")
            features = self._node("Add", inner, features)
        for name, norm in (("deconv1", "in4"), ("deconv2", "in5")):
            features = self._node("Relu", self._normed(self._enlarged(features, name), norm))
        self._node("Identity", self._last(features), output="output")

    def _node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _constant(self, numbers: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(numbers), name))
        return name

    def _bordered(self, features: str, border_px: int, *, mode: str = "reflect") -> str:
        borders = self._constant(np.array([0, 0, border_px, border_px] * 2))
        return self._node("Pad", features, borders, mode=mode)

    def _convolved(self, features: str, name: str, *, stride: int = 1) -> str:
        kernel = self._weights[f"{name}.conv2d.weight"]
        bordered = self._bordered(features, kernel.shape[-1] // 2)
        return self._node("Conv", bordered, self._constant(kernel), strides=[stride, stride])

    def _enlarged(self, features: str, name: str) -> str:
        if self._is_plain:
            return self._convolved(self._twice_as_large(features), name)
        kernel = self._constant(enlarging_kernel(self._weights[f"{name}.conv2d.weight"]))
        bordered = self._bordered(features, 1, mode="edge")
        return self._node("ConvTranspose", bordered, kernel, strides=[2, 2], pads=[3, 3, 3, 3])

    def _twice_as_large(self, features: str) -> str:
        scales = self._constant(np.array([1, 1, 2, 2], np.float32))
        modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._node("Resize", features, "", scales, mode="nearest", **modes)

    def _last(self, features: str) -> str:
        weight, bias = self._weights["deconv3.conv2d.weight"], self._weights["deconv3.conv2d.bias"]
        bordered = self._bordered(features, weight.shape[-1] // 2)
        if self._is_plain:
            return self._node("Conv", bordered, self._constant(weight), self._constant(bias))
        kernel, offset = self._constant(doubled_kernel(weight)), self._constant(np.repeat(bias, 4))
        out = self._node("Conv", bordered, kernel, offset, strides=[2, 2])
        return self._node("DepthToSpace", out, blocksize=2, mode="CRD")

    def _normed(self, features: str, name: str) -> str:
        gain, offset = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        if self._is_plain:
            return self._plainly_normed(features, gain.reshape(1, -1, 1, 1), offset.reshape(1, -1, 1, 1))
        numbers = self._constant(gain), self._constant(offset)
        # It adds up in float32: of two near colours (128 and 133) that leaves 54 dB, and 83 once the mean is taken out.
        features = self._node("Sub", features, self._mean(features))
        return self._node("InstanceNormalization", features, *numbers, epsilon=_EPSILON)

    def _plainly_normed(self, features: str, gain: NDArray[np.float32], offset: NDArray[np.float32]) -> str:
        start, stop, axes = (self._constant(np.array(each)) for each in ([0, 0], [1, 1], [2, 3]))
        features = self._node("Sub", features, self._node("Slice", features, start, stop, axes))
        centred = self._node("Sub", features, self._mean(features))
        variance = self._mean(self._node("Mul", centred, centred))
        deviation = self._node("Sqrt", self._node("Add", variance, self._constant(np.float32(_EPSILON))))
        factor = self._node("Div", self._constant(gain), deviation)
        return self._node("Add", self._node("Mul", centred, factor), self._constant(offset))

    def _mean(self, features: str) -> str:
        """Add the mean of each channel, row by row: a sum of millions of numbers in one go would not be exact."""
        for axis in (3, 2):
            features = self._node("ReduceMean", features, self._constant(np.array([axis])))
        return features
