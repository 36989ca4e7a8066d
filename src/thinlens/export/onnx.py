"""A plan as an ONNX model: one small rule an op, batch, height and width free.

Input ``input`` and outputs (``image`` first) are ``N C H W`` float32; luma or RGB in 0..1. Needs the extra ``onnx``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from thinlens.model.file import Model
from thinlens.model.ops import (
    ChannelMax,
    ChannelSlice,
    Conv2d,
    ConvTranspose2d,
    Multiply,
    Op,
    PixelShuffle,
    PRelu,
    Sigmoid,
    SoftmaxSum,
    Tanh,
)
from thinlens.model.plan import INPUT, Node

OPSET = 18  # the first in which ReduceMax takes its axes as an input; runtimes of 2023 and later read it
IR_VERSION = 9
CHANNELS = 1  # axis


class _Graph:
    """ONNX nodes and constants as they come together; values keep the plan's names."""

    def __init__(self, model: Model) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.tensors = model.tensors

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant("integers:" + ",".join(map(str, values)), np.array(values, np.int64))

    def weights(self, node: Node) -> list[str]:
        """Names of the node's tensors: weight, and bias if it has one."""
        return [self.constant(node.tensors[r], self.tensors[node.tensors[r]]) for r in node.op.tensor_shapes()]

    def edge_padded(self, value: str, node: Node, sides: tuple[int, int]) -> str:
        """The value with its edge pixels repeated, ``sides`` (rows, columns) on each side."""
        pads = self.integers(0, 0, *sides, 0, 0, *sides)
        return self.add("Pad", [value, pads], f"{node.name}:padded", mode="edge")


def _conv2d(graph: _Graph, node: Node, op: Conv2d) -> None:
    value, padding = node.inputs[0], op.padding
    if op.pad_mode == "edge" and any(padding):
        value, padding = graph.edge_padded(value, node, padding), (0, 0)
    attributes = {
        "kernel_shape": op.kernel,
        "strides": [op.stride] * 2,
        "pads": [*padding, *padding],
        "group": op.groups,
    }
    graph.add("Conv", [value, *graph.weights(node)], node.name, **attributes)


def _conv_transpose2d(graph: _Graph, node: Node, op: ConvTranspose2d) -> None:
    value, padding = node.inputs[0], op.padding
    if op.pad_mode == "edge":
        reach = -(-(op.kernel[0] - 1) // op.stride), -(-(op.kernel[1] - 1) // op.stride)
        value = graph.edge_padded(value, node, reach)
        padding = padding[0] + reach[0] * op.stride, padding[1] + reach[1] * op.stride
    attributes = {
        "kernel_shape": op.kernel,
        "strides": [op.stride] * 2,
        "pads": [*padding, *padding],
        "output_padding": [op.output_padding] * 2,
    }
    graph.add("ConvTranspose", [value, *graph.weights(node)], node.name, **attributes)


def _prelu(graph: _Graph, node: Node, op: PRelu) -> None:
    slopes = graph.tensors[node.tensors["weight"]].reshape(-1, 1, 1)
    graph.add("PRelu", [node.inputs[0], graph.constant(f"{node.tensors['weight']}:slopes", slopes)], node.name)


def _pixel_shuffle(graph: _Graph, node: Node, op: PixelShuffle) -> None:
    graph.add("DepthToSpace", [node.inputs[0]], node.name, blocksize=op.scale, mode="CRD")


def _channel_slice(graph: _Graph, node: Node, op: ChannelSlice) -> None:
    ends = graph.integers(op.start), graph.integers(op.stop), graph.integers(CHANNELS)
    graph.add("Slice", [node.inputs[0], *ends], node.name)


def _channel_max(graph: _Graph, node: Node, op: ChannelMax) -> None:
    graph.add("ReduceMax", [node.inputs[0], graph.integers(CHANNELS)], node.name, keepdims=1)


def _softmax_sum(graph: _Graph, node: Node, op: SoftmaxSum) -> None:
    values, logits = node.inputs
    weights = graph.add("Softmax", [logits], f"{node.name}:weights", axis=CHANNELS)
    weighted = graph.add("Mul", [values, weights], f"{node.name}:weighted")
    graph.add("ReduceSum", [weighted, graph.integers(CHANNELS)], node.name, keepdims=1)


def _same(kind: str) -> Callable[[_Graph, Node, Any], None]:
    """The rule of an op that ONNX has under another name."""

    def rule(graph: _Graph, node: Node, op: Op) -> None:
        graph.add(kind, list(node.inputs), node.name)

    return rule


RULES: dict[type[Op], Callable[[_Graph, Node, Any], None]] = {
    ChannelMax: _channel_max,
    ChannelSlice: _channel_slice,
    Conv2d: _conv2d,
    ConvTranspose2d: _conv_transpose2d,
    Multiply: _same("Mul"),
    PRelu: _prelu,
    PixelShuffle: _pixel_shuffle,
    Sigmoid: _same("Sigmoid"),
    SoftmaxSum: _softmax_sum,
    Tanh: _same("Tanh"),
}


def to_onnx(model: Model) -> bytes:
    """Write a model's main plan as ONNX.

    Args:
        model: checked.

    Returns:
        The bytes of an ``.onnx`` file: float32, batch, height and width free; the card's name, task, scale, colour and
        luma stand in its metadata.

    Raises:
        onnx.checker.ValidationError: if the result is no valid ONNX model, which would be a fault of this module.
    """
    graph, plan = _Graph(model), model.plan
    for node in plan.nodes:
        RULES[type(node.op)](graph, node, node.op)
    for output, value in plan.outputs.items():
        graph.add("Identity", [value], output)
    channels = plan.channels()
    inputs = [_value(INPUT, channels[INPUT], "")]
    outputs = [_value(name, channels[value], f"{name}_") for name, value in plan.outputs.items()]
    body = helper.make_graph(graph.nodes, model.card.name, inputs, outputs, list(graph.constants.values()))
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(body, producer_name="thinlens", opset_imports=[opset], ir_version=IR_VERSION)
    card = model.card
    facts = {"name": card.name, "task": card.task, "scale": str(card.scale), "colour": card.colour, "luma": card.luma}
    helper.set_model_props(proto, facts)
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _value(name: str, channels: int, prefix: str) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["batch", channels, f"{prefix}height", f"{prefix}width"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
