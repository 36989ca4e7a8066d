"""An ONNX graph as it comes together: nodes, constants, and the few steps that several ops share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from thinlens.model.file import Tensors
from thinlens.model.graph import readers_of
from thinlens.model.ops import Affine, Conv2d, PadMode, Quantize
from thinlens.model.plan import Node, Plan

ONNX_PAD = {"zero": "constant", "edge": "edge", "mirror": "reflect"}
END = (1 << 63) - 1  # of a slice that goes to the end


@dataclass(frozen=True)
class ByteConv:
    """A convolution of whole numbers, between the `quantize` before it and the `affine` that alone reads it."""

    source: str
    levels: Quantize
    affine: Node


def byte_convs(plan: Plan, tensors: Tensors) -> dict[str, ByteConv]:
    """The convolutions that ONNX can say on bytes, by name: weights are -127 to 127, and steps are above 0."""
    made_by, readers, found = {node.name: node for node in plan.nodes}, readers_of(plan.nodes), {}
    for node in plan.nodes:
        source, after = made_by.get(node.inputs[0]), readers.get(node.name, [])
        if source is None or not isinstance(source.op, Quantize) or not isinstance(node.op, Conv2d) or node.op.bias:
            continue
        weight = tensors[node.tensors["weight"]]
        if node.name in plan.outputs.values() or np.abs(weight).max() > 127 or (weight != np.rint(weight)).any():
            continue
        if len(after) == 1 and isinstance(after[0].op, Affine) and after[0].op.weight:
            steps = tensors[after[0].tensors["weight"]] / np.float32(source.op.scale)
            if np.isfinite(steps).all() and (steps > 0).all():
                found[node.name] = ByteConv(source.inputs[0], source.op, after[0])
    return found


class Graph:
    """ONNX nodes and constants; values keep the plan's names, what lies between them is called ``node:step``.

    Args:
        plan: that is written.
        tensors: its tensors.
    """

    def __init__(self, plan: Plan, tensors: Tensors) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.tensors = tensors
        self.channels = plan.channels()
        self.byte_convs = byte_convs(plan, tensors)
        readers, shown = readers_of(plan.nodes), plan.outputs.values()
        self.inside = {conv.affine.name for conv in self.byte_convs.values()}  # what those convolutions say too
        self.inside |= {
            node.name
            for node in plan.nodes
            if isinstance(node.op, Quantize) and node.name not in shown
            if all(reader.name in self.byte_convs for reader in readers.get(node.name, []))
        }

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append an ONNX node; returns the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Store an array under a name, once; returns the name."""
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        """A constant list of integers."""
        return self.constant("integers:" + ",".join(map(str, values)), np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """A constant integer without axes."""
        return self.constant(f"integer:{value}", np.array(value, np.int64))

    def number(self, value: float) -> str:
        """A constant float without axes."""
        return self.constant(f"number:{value!r}", np.array(value, np.float32))

    def weights(self, node: Node) -> list[str]:
        """Names of the node's tensors: weight, and bias if it has one."""
        return [self.constant(node.tensors[r], self.tensors[node.tensors[r]]) for r in node.op.tensor_shapes()]

    def rounded(self, value: str, name: str, op: Quantize, worth: float) -> str:
        """The value as bytes, and as numbers again, a step being ``worth``."""
        zero = self.constant(f"zero:{op.zero}", np.array(op.zero, np.uint8))
        levels = self.add("QuantizeLinear", [value, self.number(op.scale), zero], f"{name}:levels")
        return self.add("DequantizeLinear", [levels, self.number(worth), zero], name)

    def byte_weights(self, node: Node, conv: ByteConv) -> list[str]:
        """Weights as bytes with a step a channel, and the bias of the `affine` if it has one."""
        name, affine = node.tensors["weight"], conv.affine
        steps = self.tensors[affine.tensors["weight"]] / np.float32(conv.levels.scale)
        levels = self.constant(f"{node.name}:bytes", self.tensors[name].astype(np.int8))
        scale = self.constant(f"{node.name}:steps", steps)
        zero = self.constant(f"zeros:{len(steps)}", np.zeros(len(steps), np.int8))
        weight = self.add("DequantizeLinear", [levels, scale, zero], f"{node.name}:weights", axis=0)
        bias = affine.tensors.get("bias")
        return [weight] if bias is None else [weight, self.constant(bias, self.tensors[bias])]

    def per_channel(self, node: Node, role: str) -> str:
        """One of the node's tensors, a number a channel, shaped to meet ``N C H W``."""
        name = node.tensors[role]
        return self.constant(f"{name}:channels", self.tensors[name].reshape(-1, 1, 1))

    def padded(self, value: str, node: Node, sides: tuple[int, int, int, int], mode: PadMode) -> str:
        """The value with pixels added at ``sides``: top, bottom, left, right."""
        top, bottom, left, right = sides
        pads = self.integers(0, 0, top, left, 0, 0, bottom, right)
        return self.add("Pad", [value, pads], f"{node.name}:padded", mode=ONNX_PAD[mode])

    def length(self, value: str, axis: int, name: str) -> str:
        """How long an axis is, as an integer without axes."""
        shape = self.add("Shape", [value], f"{name}:shape", start=axis, end=axis + 1)
        return self.add("Squeeze", [shape], f"{name}:length")
