"""The published net as an ONNX graph, made from plain arrays, with less work than the published one.

As in `openvino_graph`, no convolution before a norm has a bias.
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


def onnx_model(weights: Weights) -> bytes:
    """Return the net for pictures ``(1, 3, H, W)``, 0-255, as the content of an ``.onnx`` file.

    The same weights give the same bytes. Input and output are called ``input`` and ``output``.
    """
    graph = _Graph()
    out = _net(graph, weights)
    graph.node("Identity", out, output="output")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "net",
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, (1, 3, "height", "width"))],
            [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, (1, 3, "out_height", "out_width"))],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, numbers: NDArray[Any]) -> str:
        """Add numbers; return their name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(numbers), name))
        return name


def _net(graph: _Graph, weights: Weights) -> str:
    features = "input"
    for name, norm, stride in (("conv1", "in1", 1), ("conv2", "in2", 2), ("conv3", "in3", 2)):
        features = _normed(graph, _convolved(graph, features, weights, name, stride=stride), weights, norm)
    for name in ("res1", "res2", "res3", "res4", "res5"):
        inner = _normed(graph, _convolved(graph, features, weights, f"{name}.conv1"), weights, f"{name}.in1")
        inner = _convolved(graph, inner, weights, f"{name}.conv2")
        features = graph.node("Add", _normed(graph, inner, weights, f"{name}.in2", has_relu=False), features)
    for name, norm in (("deconv1", "in4"), ("deconv2", "in5")):
        kernel = graph.constant(enlarging_kernel(weights[f"{name}.conv2d.weight"]))
        large = graph.node(
            "ConvTranspose", _bordered(graph, features, 1, mode="edge"), kernel, strides=[2, 2], pads=[3, 3, 3, 3]
        )
        features = _normed(graph, large, weights, norm)
    return _last(graph, features, weights)


def _bordered(graph: _Graph, features: str, border_px: int, *, mode: str = "reflect") -> str:
    borders = graph.constant(np.array([0, 0, border_px, border_px] * 2))
    return graph.node("Pad", features, borders, mode=mode)


def _convolved(graph: _Graph, features: str, weights: Weights, name: str, *, stride: int = 1) -> str:
    kernel = weights[f"{name}.conv2d.weight"]
    bordered = _bordered(graph, features, kernel.shape[-1] // 2)
    return graph.node("Conv", bordered, graph.constant(kernel), strides=[stride, stride])


def _normed(graph: _Graph, features: str, weights: Weights, name: str, *, has_relu: bool = True) -> str:
    gain, offset = graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])
    normed = graph.node("InstanceNormalization", features, gain, offset, epsilon=_EPSILON)
    return graph.node("Relu", normed) if has_relu else normed


def _last(graph: _Graph, features: str, weights: Weights) -> str:
    weight, bias = weights["deconv3.conv2d.weight"], weights["deconv3.conv2d.bias"]
    bordered = _bordered(graph, features, weight.shape[-1] // 2)
    kernel, offset = graph.constant(doubled_kernel(weight)), graph.constant(np.repeat(bias, 4))
    out = graph.node("Conv", bordered, kernel, offset, strides=[2, 2])
    return graph.node("DepthToSpace", out, blocksize=2, mode="CRD")
