"""From a plan and a kind of image to the binary plan that the native engine loads.

The network stands between pixels in and pixels out: 8 and 16 bits become floats, luma networks get the luma of a colour
image while its chroma is resampled, alpha is resampled, gray is repeated into an RGB network and its luma taken after
it. So a compiled plan takes and gives raw rows, and all of that streams with the network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thinlens.errors import UnsupportedOpError
from thinlens.model import ops
from thinlens.model.ops import kind_of
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.runtime.binary import (
    BORDERS,
    PAD_MODES,
    RESIZE_MODES,
    Activation,
    Array,
    Kind,
    Number,
    PixelsIn,
    PixelsOut,
    Precision,
    Program,
)
from thinlens.runtime.fuse import OneLayer, absorbed, find_one_layer, live_nodes
from thinlens.runtime.low import LowConv, find_low, precision_of
from thinlens.runtime.memory import add_memory
from thinlens.runtime.signs import BinaryChain, find_binary

Tensors = Mapping[str, Array]
LARGEST_SUM = 1e15
BICUBIC = -0.5  # the coefficient with which chroma and alpha are resampled, MATLAB's


@dataclass(frozen=True)
class ImageKind:
    """What is restored.

    Args:
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        dtype: ``uint8``, ``uint16`` or ``float32``.
    """

    channels: int
    dtype: str

    @property
    def colours(self) -> int:
        """1 or 3: channels without alpha."""
        return 1 if self.channels < 3 else 3

    @property
    def alpha(self) -> bool:
        """Whether there is an alpha channel, the last one."""
        return self.channels in (2, 4)


@dataclass(frozen=True)
class Compiled:
    """A binary plan.

    Args:
        data: its bytes.
        nodes: what each of its nodes stands for, such as ``pool (global_mean)``, for messages.
    """

    data: bytes
    nodes: tuple[str, ...]


def compile_plan(plan: Plan, tensors: Tensors, kind: ImageKind, scale: int) -> Compiled:
    """Compile the output `image` of a network.

    Args:
        plan: a checked plan that maps 1 or 3 channels to as many.
        tensors: its tensors, float32.
        kind: of the images.
        scale: of the network, by which chroma and alpha are resampled.

    Raises:
        UnsupportedOpError: naming the op, if the engine has none like it.
    """
    program = Program(kind.channels, kind.dtype)
    nodes, image = live_nodes(plan), plan.outputs["image"]
    layer = find_one_layer(nodes, image)
    if layer is not None and not _is_tame(tensors[layer.weight]):
        layer = None
    if layer is not None and kind == ImageKind(1, "uint8"):
        levels = program.add(Kind.PIXELS_IN, [0], [PixelsIn.LEVELS])
        _add_one_layer(program, layer, tensors, levels, raw=True)
    else:
        network = _Network(nodes, image, tensors, layer)
        _surround(program, plan.input_channels, kind, scale, network)
    names = (f"`{item.name or 'pixels'}` ({item.kind.name.lower()})" for item in program.items)
    return Compiled(program.to_bytes(), tuple(names))


def _is_tame(weight: Array) -> bool:
    """Whether no sum of a filter, nor a product of two, can overflow; fused kernels do not look for it."""
    with np.errstate(over="ignore"):
        return bool(np.abs(weight).sum(axis=(1, 2, 3)).max() < LARGEST_SUM)


@dataclass(frozen=True)
class _Network:
    """The nodes of a network, to be added to a program."""

    nodes: tuple[Node, ...]
    image: str
    tensors: Tensors
    layer: OneLayer | None

    def add(self, program: Program, lq: int) -> int:
        """Add all nodes behind the value ``lq``; return the value of the result."""
        if self.layer is not None:
            return _add_one_layer(program, self.layer, self.tensors, lq, raw=False)
        low = find_low(self.nodes, self.image, self.tensors, tuple(ACTIVATIONS))
        fused = absorbed(self.nodes, self.image, tuple(ACTIVATIONS))
        inside = {activation.name for activation in fused.values()}
        inside |= {node.name for conv in low.convs.values() for node in conv.nodes[1:]}
        binary = find_binary(self.nodes, self.image, tuple(ACTIVATIONS))
        inside |= {node.name for chain in binary.values() for node in chain.nodes[:-1]}
        values = {INPUT: lq}
        for node in self.nodes:
            if node.name in inside:
                continue
            if node.name in binary:
                values[node.name] = _add_binary(program, binary[node.name], values, self.tensors)
                continue
            own = {role: self.tensors[name] for role, name in node.tensors.items()}
            inputs = [values[name] for name in node.inputs]
            if node.name in low.convs:
                conv = low.convs[node.name]
                values[conv.nodes[-1].name] = _add_low_conv(program, conv, inputs, self.tensors)
                continue
            if precision_of(node):
                values[node.name] = _add_rounding(program, node, inputs, stored=node.name in low.stored)
                continue
            after = fused.get(node.name)
            values[node.name] = _add_node(program, node, inputs, own, _activation(after, self.tensors))
            if after is not None:
                values[after.name] = values[node.name]
        return values[self.image]


def _surround(program: Program, channels: int, kind: ImageKind, scale: int, network: _Network) -> None:
    """Add pixels in, the network with what goes past it, and pixels out."""
    by_luma = channels == 1 and kind.colours == 3
    pixels = program.add(Kind.PIXELS_IN, [0], [PixelsIn.YCBCR if by_luma else PixelsIn.PLANES])
    past = list(range(1 if by_luma else kind.colours, kind.channels))  # channels that the network does not see
    lq = pixels
    if channels == 3 and kind.colours == 1:
        lq = program.add(Kind.GATHER, [pixels], [0, 0, 0])
    elif past:
        lq = program.add(Kind.GATHER, [pixels], range(channels))
    result = network.add(program, lq)
    if past:
        beside = program.add(Kind.GATHER, [pixels], past)
        if scale != 1:
            bicubic = (RESIZE_MODES["bicubic"], scale, BICUBIC, BORDERS["symmetric"])
            beside = program.add(Kind.RESIZE, [beside], bicubic)
        result = program.add(Kind.CONCAT, [result, beside])
    out = PixelsOut.YCBCR if by_luma else PixelsOut.LUMA if channels > kind.colours else PixelsOut.CLAMPED
    program.add(Kind.PIXELS_OUT, [result], [out, 0])


def _add_one_layer(program: Program, layer: OneLayer, tensors: Tensors, lq: int, *, raw: bool) -> int:
    op = layer.op
    params = (layer.family, op.kernel[0], layer.candidates, layer.scale, PAD_MODES[op.pad_mode], int(raw))
    return program.add(Kind.EDGE_SR, [lq], params, [tensors[layer.weight]], layer.name)


Act = tuple[Activation, float, list[Array]]  # which, its slope, its slopes
NO_ACTIVATION: Act = (Activation.NONE, 0.0, [])

# Each record's kind in the engine and its parameters; tensors follow in the order that `_add_node` knows.
ACTIVATIONS: dict[type[ops.Op], Callable[[Any], tuple[Activation, float]]] = {
    ops.Relu: lambda op: (Activation.RELU, 0.0),
    ops.LeakyRelu: lambda op: (Activation.LEAKY_RELU, float(op.slope)),
    ops.PRelu: lambda op: (Activation.PRELU, 0.0),
    ops.Tanh: lambda op: (Activation.TANH, 0.0),
    ops.Sigmoid: lambda op: (Activation.SIGMOID, 0.0),
}
CONVOLUTIONS: dict[type[ops.Op], Callable[[Any], tuple[Kind, list[int]]]] = {
    ops.Conv2d: lambda op: (
        Kind.CONV2D,
        [*_sides(op), PAD_MODES[op.pad_mode], op.groups, int(op.bias)],
    ),
    ops.ConvTranspose2d: lambda op: (
        Kind.CONV_TRANSPOSE2D,
        [*_sides(op), op.output_padding, PAD_MODES[op.pad_mode], int(op.bias)],
    ),
}
OTHERS: dict[type[ops.Op], Callable[[Any], tuple[Kind, list[Number]]]] = {
    ops.Affine: lambda op: (Kind.AFFINE, [op.channels, int(op.weight), int(op.bias)]),
    ops.Clamp: lambda op: (Kind.CLAMP, [float(op.low), float(op.high)]),
    ops.Add: lambda op: (Kind.ADD, [float(op.a), float(op.b)]),
    ops.Multiply: lambda op: (Kind.MULTIPLY, []),
    ops.Concat: lambda op: (Kind.CONCAT, []),
    ops.ChannelSlice: lambda op: (Kind.GATHER, list(range(op.start, op.stop))),
    ops.ChannelGather: lambda op: (Kind.GATHER, list(op.channels)),
    ops.ChannelMax: lambda op: (Kind.CHANNEL_MAX, []),
    ops.SoftmaxSum: lambda op: (Kind.SOFTMAX_SUM, []),
    ops.PixelShuffle: lambda op: (Kind.PIXEL_SHUFFLE, [op.scale]),
    ops.PixelUnshuffle: lambda op: (Kind.PIXEL_UNSHUFFLE, [op.scale]),
    ops.MaxPool: lambda op: (Kind.MAX_POOL, [*op.kernel, op.stride, *op.padding]),
    ops.Resize: lambda op: (
        Kind.RESIZE,
        [RESIZE_MODES[op.mode], op.factor or 0, float(op.coefficient), BORDERS[op.border]],
    ),
    ops.Pad: lambda op: (Kind.PAD, [*_margins(op), PAD_MODES[op.mode]]),
    ops.Crop: lambda op: (Kind.CROP, _margins(op)),
    ops.GlobalMean: lambda op: (Kind.GLOBAL_MEAN, []),
    ops.GlobalStd: lambda op: (Kind.GLOBAL_STD, []),
    ops.Bands: lambda op: (Kind.BANDS, [op.rows, op.warm_up]),
    ops.Unbands: lambda op: (Kind.UNBANDS, [op.rows, op.warm_up, op.scale]),
}


def _levels(node: Node | None) -> tuple[float, int]:
    """What a step of a `quantize` is worth, and which byte stands for 0."""
    op = None if node is None else node.op
    return (float(op.scale), op.zero) if isinstance(op, ops.Quantize) else (1.0, 0)


def _add_rounding(program: Program, node: Node, inputs: Sequence[int], *, stored: bool) -> int:
    return program.add(Kind.QUANTIZE, inputs, [precision_of(node), int(stored), *_levels(node)], [], node.name)


def _add_low_conv(program: Program, low: LowConv, inputs: Sequence[int], tensors: Tensors) -> int:
    """Add a convolution in low precision with all that is computed at its end."""
    op: Any = low.conv.op
    parts = [tensors[low.conv.tensors["weight"]]]
    bias = low.affine if low.affine is not None and "bias" in low.affine.tensors else None
    if low.precision is Precision.INT8:
        ones = np.ones(op.out_channels, np.float32)
        parts.append(tensors[low.affine.tensors["weight"]] if low.affine and "weight" in low.affine.tensors else ones)
    elif op.bias:
        bias = low.conv
    parts += [tensors[bias.tensors["bias"]]] if bias is not None else []
    which, slope, slopes = _activation(low.activation, tensors)
    kind = low.precision, precision_of(low.rounding), *_levels(low.rounding)
    params = [*kind, *_sides(op), PAD_MODES[op.pad_mode], 1, int(bias is not None), which, slope]
    return program.add(Kind.LOW_CONV2D, inputs, params, [*parts, *slopes], low.conv.name)


def _add_binary(program: Program, chain: BinaryChain, values: Mapping[str, int], tensors: Tensors) -> int:
    """Add a binary convolution with all that is computed at its end, and before it the signs that it reads."""
    conv = chain.conv
    op: Any = conv.op
    own = {role: tensors[name] for role, name in conv.tensors.items()}
    signs = program.add(Kind.SIGN, [values[conv.inputs[0]]], [], [own["threshold"]], conv.name)
    bias, shift = ([] if node is None else [tensors[node.tensors["bias"]]] for node in (chain.bias, chain.shift))
    which, slope, slopes = _activation(chain.activation, tensors)
    inputs = [signs, values[chain.shortcut]] if chain.repeat else [signs]
    sides = op.in_channels, op.out_channels, *op.kernel, *op.padding, op.pad_value
    params = [*sides, len(bias), len(shift), chain.repeat, which, slope]
    parts = [own["weight"], own["scale"], *bias, *slopes, *shift]
    return program.add(Kind.BINARY_CONV2D, inputs, params, parts, conv.name)


def _margins(op: Any) -> list[Number]:
    return [op.top, op.bottom, op.left, op.right]


def _sides(op: Any) -> tuple[int, ...]:
    """What all convolutions begin with: channels, kernel, stride, padding."""
    return op.in_channels, op.out_channels, *op.kernel, op.stride, *op.padding


def _activation(node: Node | None, tensors: Tensors) -> Act:
    """An activation's record as the engine takes it."""
    if node is None:
        return NO_ACTIVATION
    which, slope = ACTIVATIONS[type(node.op)](node.op)
    return which, slope, [tensors[name] for name in node.tensors.values()]


def _add_node(program: Program, node: Node, inputs: Sequence[int], own: Tensors, after: Act) -> int:
    """Add one node.

    Args:
        program: to add it to.
        node: the node.
        inputs: the values that it reads.
        own: its tensors by their role.
        after: for a convolution: the activation at its end.

    Raises:
        UnsupportedOpError: naming the op, if the engine has none like it.
    """
    op, tensors = node.op, [own[role] for role in ("weight", "bias") if role in own]
    if type(op) in CONVOLUTIONS:
        kind, params = CONVOLUTIONS[type(op)](op)
        return program.add(kind, inputs, [*params, *after[:2]], [*tensors, *after[2]], node.name)
    if type(op) in ACTIVATIONS:
        return program.add(Kind.ACTIVATION, inputs, ACTIVATIONS[type(op)](op), tensors, node.name)
    if isinstance(op, ops.LineMemory):
        return add_memory(program, op, inputs[:-1], own, node.name)
    if type(op) not in OTHERS:
        raise UnsupportedOpError(f"node `{node.name}`: the native engine has no op `{kind_of(op)}`")
    other, numbers = OTHERS[type(op)](op)
    return program.add(other, inputs, numbers, tensors, node.name)
