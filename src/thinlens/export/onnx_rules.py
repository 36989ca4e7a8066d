"""How each op is said in ONNX: one small rule each, height and width free.

``mirror`` padding becomes ONNX's ``reflect``, which is defined only for padding smaller than the image: smaller images
are then an error of the runtime. `Bands`, `Unbands` and `LineMemory` cannot be said.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from thinlens.errors import UnsupportedOpError
from thinlens.export.onnx_graph import END, Graph
from thinlens.model.ops import (
    Add,
    Affine,
    Bands,
    Bfloat16,
    BinaryConv2d,
    ChannelGather,
    ChannelMax,
    ChannelSlice,
    Clamp,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    GlobalMean,
    GlobalStd,
    LeakyRelu,
    LineMemory,
    MaxPool,
    Multiply,
    Op,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    PRelu,
    Quantize,
    Relu,
    Resize,
    Sigmoid,
    SoftmaxSum,
    Tanh,
    Unbands,
    kind_of,
)
from thinlens.model.plan import Node

CHANNELS, HEIGHT, WIDTH = 1, 2, 3  # axes


def _conv2d(graph: Graph, node: Node, op: Conv2d) -> None:
    """On bytes in the form that runtimes know: what is padded is rounded last, so that nothing stands between."""
    byte = graph.byte_convs.get(node.name)
    value, padding = node.inputs[0] if byte is None else byte.source, op.padding
    if op.pad_mode != "zero" and any(padding):
        sides = padding[0], padding[0], padding[1], padding[1]
        value, padding = graph.padded(value, node, sides, op.pad_mode), (0, 0)
    attributes = {
        "kernel_shape": op.kernel,
        "strides": [op.stride] * 2,
        "pads": [*padding, *padding],
        "group": op.groups,
    }
    if byte is None:
        graph.add("Conv", [value, *graph.weights(node)], node.name, **attributes)
    else:
        value = graph.rounded(value, f"{node.name}:rounded", byte.levels, byte.levels.scale)
        graph.add("Conv", [value, *graph.byte_weights(node, byte)], byte.affine.name, **attributes)


def _binary_conv2d(graph: Graph, node: Node, op: BinaryConv2d) -> None:
    """Signs as floats: runtimes know no binary convolution."""
    shifted = graph.add("Add", [node.inputs[0], graph.per_channel(node, "threshold")], f"{node.name}:shifted")
    positive = graph.add("GreaterOrEqual", [shifted, graph.number(0.0)], f"{node.name}:positive")
    value = graph.add("Where", [positive, graph.number(1.0), graph.number(-1.0)], f"{node.name}:signs")
    padding: tuple[int, int] = op.padding
    if op.pad_value and any(padding):
        pads = graph.integers(0, 0, *padding, 0, 0, *padding)
        value = graph.add("Pad", [value, pads, graph.number(float(op.pad_value))], f"{node.name}:padded")
        padding = (0, 0)
    weight = node.tensors["weight"]
    inputs = [value, graph.constant(weight, graph.tensors[weight])]
    sums = graph.add("Conv", inputs, f"{node.name}:sums", kernel_shape=op.kernel, pads=[*padding, *padding])
    graph.add("Mul", [sums, graph.per_channel(node, "scale")], node.name)


def _conv_transpose2d(graph: Graph, node: Node, op: ConvTranspose2d) -> None:
    value, padding = node.inputs[0], op.padding
    if op.pad_mode == "edge":
        reach = -(-(op.kernel[0] - 1) // op.stride), -(-(op.kernel[1] - 1) // op.stride)
        value = graph.padded(value, node, (reach[0], reach[0], reach[1], reach[1]), "edge")
        padding = padding[0] + reach[0] * op.stride, padding[1] + reach[1] * op.stride
    attributes = {
        "kernel_shape": op.kernel,
        "strides": [op.stride] * 2,
        "pads": [*padding, *padding],
        "output_padding": [op.output_padding] * 2,
    }
    graph.add("ConvTranspose", [value, *graph.weights(node)], node.name, **attributes)


def _prelu(graph: Graph, node: Node, op: PRelu) -> None:
    graph.add("PRelu", [node.inputs[0], graph.per_channel(node, "weight")], node.name)


def _affine(graph: Graph, node: Node, op: Affine) -> None:
    value = node.inputs[0]
    if op.weight:
        output = f"{node.name}:weighted" if op.bias else node.name
        value = graph.add("Mul", [value, graph.per_channel(node, "weight")], output)
    if op.bias:
        graph.add("Add", [value, graph.per_channel(node, "bias")], node.name)


def _leaky_relu(graph: Graph, node: Node, op: LeakyRelu) -> None:
    graph.add("LeakyRelu", [node.inputs[0]], node.name, alpha=op.slope)


def _quantize(graph: Graph, node: Node, op: Quantize) -> None:
    graph.rounded(node.inputs[0], node.name, op, 1.0)


def _bfloat16(graph: Graph, node: Node, op: Bfloat16) -> None:
    half = graph.add("Cast", [node.inputs[0]], f"{node.name}:half", to=TensorProto.BFLOAT16)
    graph.add("Cast", [half], node.name, to=TensorProto.FLOAT)


def _clamp(graph: Graph, node: Node, op: Clamp) -> None:
    graph.add("Clip", [node.inputs[0], graph.number(op.low), graph.number(op.high)], node.name)


def _add(graph: Graph, node: Node, op: Add) -> None:
    values = [
        value if factor == 1 else graph.add("Mul", [value, graph.number(factor)], f"{node.name}:{which}")
        for which, factor, value in zip("ab", (op.a, op.b), node.inputs, strict=True)
    ]
    graph.add("Add", values, node.name)


def _concat(graph: Graph, node: Node, op: Concat) -> None:
    graph.add("Concat", list(node.inputs), node.name, axis=CHANNELS)


def _channel_gather(graph: Graph, node: Node, op: ChannelGather) -> None:
    graph.add("Gather", [node.inputs[0], graph.integers(*op.channels)], node.name, axis=CHANNELS)


def _pixel_shuffle(graph: Graph, node: Node, op: PixelShuffle) -> None:
    graph.add("DepthToSpace", [node.inputs[0]], node.name, blocksize=op.scale, mode="CRD")


def _channel_slice(graph: Graph, node: Node, op: ChannelSlice) -> None:
    ends = graph.integers(op.start), graph.integers(op.stop), graph.integers(CHANNELS)
    graph.add("Slice", [node.inputs[0], *ends], node.name)


def _channel_max(graph: Graph, node: Node, op: ChannelMax) -> None:
    graph.add("ReduceMax", [node.inputs[0], graph.integers(CHANNELS)], node.name, keepdims=1)


def _softmax_sum(graph: Graph, node: Node, op: SoftmaxSum) -> None:
    values, logits = node.inputs
    weights = graph.add("Softmax", [logits], f"{node.name}:weights", axis=CHANNELS)
    weighted = graph.add("Mul", [values, weights], f"{node.name}:weighted")
    graph.add("ReduceSum", [weighted, graph.integers(CHANNELS)], node.name, keepdims=1)


def _pixel_unshuffle(graph: Graph, node: Node, op: PixelUnshuffle) -> None:
    """ONNX has the phases outside and the channels inside: they are put in order afterwards."""
    deep = graph.add("SpaceToDepth", [node.inputs[0]], f"{node.name}:deep", blocksize=op.scale)
    channels = graph.channels[node.inputs[0]]
    order = [phase * channels + channel for channel in range(channels) for phase in range(op.scale**2)]
    graph.add(
        "Gather", [deep, graph.constant(f"{node.name}:order", np.array(order, np.int64))], node.name, axis=CHANNELS
    )


def _max_pool(graph: Graph, node: Node, op: MaxPool) -> None:
    attributes = {"kernel_shape": op.kernel, "strides": [op.stride] * 2, "pads": [*op.padding, *op.padding]}
    graph.add("MaxPool", [node.inputs[0]], node.name, **attributes)


def _resize(graph: Graph, node: Node, op: Resize) -> None:
    symmetric = op.mode == "bicubic" and op.border == "symmetric"  # of the others no tap reaches further than the edge
    if op.factor is not None:
        scales = graph.constant(f"scales:{op.factor}", np.array([1, 1, op.factor, op.factor], np.float32))
        if symmetric:
            _resize_symmetric(graph, node, op, scales)
        else:
            graph.add("Resize", [node.inputs[0], "", scales], node.name, **_resize_attributes(op))
    elif symmetric:
        raise UnsupportedOpError(
            f"node `{node.name}` (resize): ONNX has no symmetric border for bicubic to another value's size; "
            'accepted: a factor, or `border = "edge"`'
        )
    elif op.mode == "nearest":
        _resize_nearest(graph, node)
    else:
        value, like = node.inputs
        kept = graph.add("Shape", [value], f"{node.name}:kept", start=0, end=HEIGHT)
        size = graph.add("Shape", [like], f"{node.name}:size", start=HEIGHT, end=WIDTH + 1)
        shape = graph.add("Concat", [kept, size], f"{node.name}:shape", axis=0)
        graph.add("Resize", [value, "", "", shape], node.name, **_resize_attributes(op))


def _resize_attributes(op: Resize) -> dict[str, Any]:
    if op.mode == "nearest":
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if op.mode == "bilinear":
        return {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": op.coefficient}


def _resize_nearest(graph: Graph, node: Node) -> None:
    """Pixel ``floor(x in / out)`` in integers: Resize rounds the ratio before it divides."""
    value, like = node.inputs
    for axis, letter in ((HEIGHT, "y"), (WIDTH, "x")):
        name = f"{node.name}:{letter}"
        size, out_size = graph.length(value, axis, f"{name}:in"), graph.length(like, axis, f"{name}:out")
        steps = graph.add("Range", [graph.integer(0), out_size, graph.integer(1)], f"{name}:steps")
        product = graph.add("Mul", [steps, size], f"{name}:product")
        index = graph.add("Div", [product, out_size], f"{name}:index")
        value = graph.add("Gather", [value, index], node.name if axis == WIDTH else f"{name}:taken", axis=axis)


def _resize_symmetric(graph: Graph, node: Node, op: Resize, scales: str) -> None:
    """Two pixels are reflected at each side before, and what becomes of them is cut off afterwards."""
    value, cut = node.inputs[0], 2 * (op.factor or 1)
    for axis, letter in ((HEIGHT, "y"), (WIDTH, "x")):
        name = f"{node.name}:{letter}"
        size = graph.length(value, axis, name)
        end = graph.add("Add", [size, graph.integer(2)], f"{name}:end")
        positions = graph.add("Range", [graph.integer(-2), end, graph.integer(1)], f"{name}:positions")
        period = graph.add("Add", [size, size], f"{name}:period")
        within = graph.add("Mod", [positions, period], f"{name}:within")
        last = graph.add("Sub", [period, graph.integer(1)], f"{name}:last")
        turned = graph.add("Sub", [last, within], f"{name}:turned")
        index = graph.add("Min", [within, turned], f"{name}:index")
        value = graph.add("Gather", [value, index], f"{name}:taken", axis=axis)
    value = graph.add("Resize", [value, "", scales], f"{node.name}:wide", **_resize_attributes(op))
    ends = graph.integers(cut, cut), graph.integers(-cut, -cut), graph.integers(HEIGHT, WIDTH)
    graph.add("Slice", [value, *ends], node.name)


def _pad(graph: Graph, node: Node, op: Pad) -> None:
    padded = graph.padded(node.inputs[0], node, (op.top, op.bottom, op.left, op.right), op.mode)
    graph.add("Identity", [padded], node.name)


def _crop(graph: Graph, node: Node, op: Crop) -> None:
    ends = graph.integers(-op.bottom or END, -op.right or END)
    graph.add(
        "Slice", [node.inputs[0], graph.integers(op.top, op.left), ends, graph.integers(HEIGHT, WIDTH)], node.name
    )


def _global_mean(graph: Graph, node: Node, op: GlobalMean) -> None:
    graph.add("ReduceMean", [node.inputs[0], graph.integers(HEIGHT, WIDTH)], node.name, keepdims=1)


def _global_std(graph: Graph, node: Node, op: GlobalStd) -> None:
    value, axes = node.inputs[0], graph.integers(HEIGHT, WIDTH)
    mean = graph.add("ReduceMean", [value, axes], f"{node.name}:mean", keepdims=1)
    distance = graph.add("Sub", [value, mean], f"{node.name}:distance")
    square = graph.add("Mul", [distance, distance], f"{node.name}:square")
    variance = graph.add("ReduceMean", [square, axes], f"{node.name}:variance", keepdims=1)
    graph.add("Sqrt", [variance], node.name)


def _unsupported(graph: Graph, node: Node, op: Op) -> None:
    raise UnsupportedOpError(
        f"node `{node.name}` ({kind_of(op)}): ONNX has no bands of an image, nor memory between them; "
        "this model runs in thinlens only"
    )


def _same(kind: str) -> Callable[[Graph, Node, Any], None]:
    """The rule of an op that ONNX has under another name."""

    def rule(graph: Graph, node: Node, op: Op) -> None:
        graph.add(kind, list(node.inputs), node.name)

    return rule


RULES: dict[type[Op], Callable[[Graph, Node, Any], None]] = {
    Add: _add,
    Affine: _affine,
    Bands: _unsupported,
    Bfloat16: _bfloat16,
    ChannelGather: _channel_gather,
    ChannelMax: _channel_max,
    ChannelSlice: _channel_slice,
    Clamp: _clamp,
    Concat: _concat,
    BinaryConv2d: _binary_conv2d,
    Conv2d: _conv2d,
    ConvTranspose2d: _conv_transpose2d,
    Crop: _crop,
    GlobalMean: _global_mean,
    GlobalStd: _global_std,
    LeakyRelu: _leaky_relu,
    LineMemory: _unsupported,
    MaxPool: _max_pool,
    Multiply: _same("Mul"),
    PRelu: _prelu,
    Pad: _pad,
    PixelShuffle: _pixel_shuffle,
    PixelUnshuffle: _pixel_unshuffle,
    Quantize: _quantize,
    Relu: _same("Relu"),
    Resize: _resize,
    Sigmoid: _same("Sigmoid"),
    SoftmaxSum: _softmax_sum,
    Tanh: _same("Tanh"),
    Unbands: _unsupported,
}
