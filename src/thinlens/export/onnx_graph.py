"""An ONNX graph as it comes together: nodes, constants, and the few steps that several ops share."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from thinlens.model.file import Tensors
from thinlens.model.ops import PadMode
from thinlens.model.plan import Node, Plan

ONNX_PAD = {"zero": "constant", "edge": "edge", "mirror": "reflect"}
END = (1 << 63) - 1  # of a slice that goes to the end


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
