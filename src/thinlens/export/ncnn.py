"""A plan as an ncnn network: a text of layers (`.param`) and their weights (`.bin`), float32, height and width free.

Blob ``in0`` takes and ``out0`` gives ``C H W`` float32; luma or RGB in 0..1. Nothing needs to be installed to write it.

Source: the layers' parameters as ncnn's operator reference lists them (github.com/Tencent/ncnn, docs, operators).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from thinlens.errors import UnsupportedOpError
from thinlens.model import ops
from thinlens.model.file import Model, Tensors
from thinlens.model.ops import PadMode, kind_of
from thinlens.model.plan import INPUT, Node, Plan

IN, OUT = "in0", "out0"
MAGIC = 7767517
FLOATS = b"\0\0\0\0"  # before a convolution's weights: they are float32
PAD_TYPES: dict[PadMode, int] = {"zero": 0, "edge": 1, "mirror": 2}
SUM, MAXIMUM, PRODUCT = 0, 4, 2  # of a reduction the first two, of two blobs the last
REST = -233  # of a crop's size: all that is left
Params = Mapping[int, object]


class _Graph:
    """Layers and weights as they come together. A blob of ncnn has one reader, so one that is read twice is split."""

    def __init__(self, plan: Plan, tensors: Tensors) -> None:
        self._lines = [f"Input {IN} 0 1 {IN}"]
        self._blobs = 1
        self._tensors = tensors
        self._readers = Counter([*(name for node in plan.nodes for name in node.inputs), plan.outputs["image"]])
        self._free = {INPUT: self._split(IN, self._readers[INPUT])}
        self.weights = bytearray()

    def add(self, kind: str, inputs: list[str], outputs: list[str], params: Params) -> None:
        """Append a layer; its first output names it."""
        counts = f"{len(inputs)} {len(outputs)}"
        said = (f"{key}={value}" for key, value in params.items())
        self._lines.append(" ".join([kind, outputs[0], counts, *inputs, *outputs, *said]))
        self._blobs += len(outputs)

    def between(self, kind: str, inputs: list[str], params: Params) -> str:
        """Append a layer whose output one later layer reads; returns that blob."""
        blob = f"b{self._blobs}"
        self.add(kind, inputs, [blob], params)
        return blob

    def read(self, value: str) -> str:
        """A blob of a value that no other layer reads."""
        return self._free[value].pop()

    def made(self, node: Node, blob: str) -> None:
        """Say that a blob is the node's value."""
        self._free[node.name] = self._split(blob, self._readers[node.name])

    def tensor(self, node: Node, role: str) -> Any:
        """One of the node's tensors."""
        return self._tensors[node.tensors[role]]

    def store(self, *arrays: Any) -> None:
        """Append weights."""
        for array in arrays:
            self.weights += np.ascontiguousarray(array, "<f4").tobytes()

    def text(self, image: str) -> str:
        """All layers, the last of which gives the image."""
        self.add("Noop", [self.read(image)], [OUT], {})
        return "\n".join([str(MAGIC), f"{len(self._lines)} {self._blobs}", *self._lines]) + "\n"

    def _split(self, blob: str, readers: int) -> list[str]:
        if readers < 2:
            return [blob]
        copies = [f"{blob}_{index}" for index in range(readers)]
        self.add("Split", [blob], copies, {})
        return copies


def to_ncnn(model: Model) -> tuple[str, bytes]:
    """Write a model's main plan, the output `image` of it, for ncnn.

    Args:
        model: checked.

    Returns:
        The text of the ``.param`` file and the bytes of the ``.bin`` file.

    Raises:
        UnsupportedOpError: naming the op for which there is no rule here.
    """
    graph = _Graph(model.plan, model.tensors)
    for node in model.plan.nodes:
        rule = RULES.get(type(node.op))
        if rule is None:
            known = ", ".join(str(op.__struct_config__.tag) for op in RULES)
            raise UnsupportedOpError(
                f"node `{node.name}` ({kind_of(node.op)}): not written for ncnn; accepted: {known}"
            )
        graph.made(node, rule(graph, node, [graph.read(name) for name in node.inputs], node.op))
    return graph.text(model.plan.outputs["image"]), bytes(graph.weights)


def _conv2d(graph: _Graph, node: Node, inputs: list[str], op: ops.Conv2d) -> str:
    padding = op.padding
    if op.pad_mode != "zero" and any(padding):
        inputs, padding = _padded(graph, inputs, padding, op.pad_mode), (0, 0)
    params = _sides(graph, node, op, padding, graph.tensor(node, "weight"))
    if op.groups == 1:
        return graph.between("Convolution", inputs, params)
    return graph.between("ConvolutionDepthWise", inputs, {**params, 7: op.groups})


def _conv_transpose2d(graph: _Graph, node: Node, inputs: list[str], op: ops.ConvTranspose2d) -> str:
    padding = op.padding
    if op.pad_mode == "edge":
        reach = -(-(op.kernel[0] - 1) // op.stride), -(-(op.kernel[1] - 1) // op.stride)
        inputs = _padded(graph, inputs, reach, "edge")
        padding = padding[0] + reach[0] * op.stride, padding[1] + reach[1] * op.stride
    params = _sides(graph, node, op, padding, graph.tensor(node, "weight").swapaxes(0, 1))
    return graph.between("Deconvolution", inputs, {**params, 18: op.output_padding, 19: op.output_padding})


def _padded(graph: _Graph, inputs: list[str], sides: tuple[int, int], mode: PadMode) -> list[str]:
    (rows, columns) = sides
    return [graph.between("Padding", inputs, {0: rows, 1: rows, 2: columns, 3: columns, 4: PAD_TYPES[mode]})]


def _sides(graph: _Graph, node: Node, op: Any, padding: tuple[int, int], weight: Any) -> dict[int, object]:
    """Parameters of both convolutions; stores their tensors."""
    graph.weights += FLOATS
    graph.store(weight, *([graph.tensor(node, "bias")] if op.bias else []))
    (height, width), (rows, columns) = op.kernel, padding
    sizes = {0: op.out_channels, 1: width, 11: height, 3: op.stride, 4: columns, 14: rows}
    return {**sizes, 5: int(op.bias), 6: weight.size}


def _prelu(graph: _Graph, node: Node, inputs: list[str], op: ops.PRelu) -> str:
    graph.store(graph.tensor(node, "weight"))
    return graph.between("PReLU", inputs, {0: op.slopes})


def _softmax_sum(graph: _Graph, node: Node, inputs: list[str], op: ops.SoftmaxSum) -> str:
    values, logits = inputs
    weights = graph.between("Softmax", [logits], {0: 0, 1: 1})
    weighted = graph.between("BinaryOp", [values, weights], {0: PRODUCT})
    return graph.between("Reduction", [weighted], _over_channels(SUM))


def _over_channels(operation: int) -> Params:
    """Parameters of a reduction of all channels to one."""
    return {0: operation, 1: 0, -23303: "1,0", 4: 1, 5: 1}


def _layer(kind: str, params: Callable[[Any], Params] = lambda op: {}) -> Callable[..., str]:
    """The rule of an op that is one layer without weights."""
    return lambda graph, node, inputs, op: graph.between(kind, inputs, params(op))


RULES: dict[type[ops.Op], Callable[[_Graph, Node, list[str], Any], str]] = {
    ops.Conv2d: _conv2d,
    ops.ConvTranspose2d: _conv_transpose2d,
    ops.Relu: _layer("ReLU"),
    ops.LeakyRelu: _layer("ReLU", lambda op: {0: op.slope}),
    ops.PRelu: _prelu,
    ops.Tanh: _layer("TanH"),
    ops.Sigmoid: _layer("Sigmoid"),
    ops.Add: _layer("Eltwise", lambda op: {0: 1, -23301: f"2,{op.a:e},{op.b:e}"}),
    ops.Multiply: _layer("BinaryOp", lambda op: {0: PRODUCT}),
    ops.Concat: _layer("Concat", lambda op: {0: 0}),
    ops.ChannelSlice: _layer("Crop", lambda op: {2: op.start, 3: REST, 4: REST, 5: op.stop - op.start}),
    ops.ChannelMax: _layer("Reduction", lambda op: _over_channels(MAXIMUM)),
    ops.PixelShuffle: _layer("PixelShuffle", lambda op: {0: op.scale}),
    ops.SoftmaxSum: _softmax_sum,
}
