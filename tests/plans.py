"""Plans for tests, as short as a table, made without torch."""

import numpy as np

from thinlens.model import ops
from thinlens.model.plan import Node, Plan


def plan_of(*rows, input_channels=1):
    """A plan of rows (name, op, inputs as one string); the last one makes the image."""
    nodes = tuple(
        Node(name=name, op=op, inputs=tuple(inputs.split()), tensors={r: f"{name}.{r}" for r in op.tensor_shapes()})
        for name, op, inputs in rows
    )
    return Plan(input_channels=input_channels, nodes=nodes, outputs={"image": nodes[-1].name})


def rows_of(plan, source="input"):
    """The rows of a plan, to be put into another: it then reads ``source``."""
    return [(n.name, n.op, " ".join(source if i == "input" else i for i in n.inputs)) for n in plan.nodes]


def tensors_of(plan, seed=0):
    """Random tensors for a plan."""
    rng = np.random.default_rng(seed)
    made_by = {node.name: node for node in plan.nodes}
    tensors = {}
    for node in plan.nodes:
        for role, shape in node.op.tensor_shapes().items():
            tensor = rng.normal(0, 0.3, shape).astype(np.float32)
            tensors[node.tensors[role]] = in_low_precision(node, role, made_by, tensor)
    return tensors


def in_low_precision(node, role, made_by, tensor):
    """Binary weights, and those behind `quantize` or `bfloat16`, as those want them; what brings sums near 1."""
    before = made_by.get(node.inputs[0])
    if isinstance(node.op, ops.BinaryConv2d) and role == "weight":
        return np.where(tensor < 0, np.float32(-1), np.float32(1))
    if isinstance(node.op, ops.BinaryConv2d) and role == "scale":
        return tensor / np.float32((node.op.in_channels * node.op.kernel[0] * node.op.kernel[1]) ** 0.5)
    if role != "weight" or before is None:
        return tensor
    if isinstance(node.op, ops.Conv2d) and isinstance(before.op, ops.Quantize):
        return np.clip(np.rint(tensor * 150), -127, 127)
    if isinstance(node.op, ops.Conv2d) and isinstance(before.op, ops.Bfloat16):
        return (tensor.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    if isinstance(node.op, ops.Affine) and isinstance(before.op, ops.Conv2d):
        source = made_by.get(before.inputs[0])
        if source is not None and isinstance(source.op, ops.Quantize):
            return tensor / np.float32(2000 * before.op.in_channels**0.5)
    return tensor


def conv(channels, kernel=3, **fields):
    """A convolution (in, out) that keeps the size unless told otherwise."""
    side = kernel // 2
    return ops.Conv2d(
        **{"in_channels": channels[0], "out_channels": channels[1], "kernel": (kernel, kernel), "padding": (side, side)}
        | fields
    )


def attention_plan():
    """As in RFDN's ESA: a branch at a sixth of the size, brought back to the features' own; needs 15 rows."""
    return plan_of(
        ("head", conv((1, 4)), "input"),
        ("down", conv((4, 3), stride=2, padding=(0, 0)), "head"),
        ("pool", ops.MaxPool(kernel=(7, 7), stride=3), "down"),
        ("mix", conv((3, 3)), "pool"),
        ("up", ops.Resize(mode="bilinear"), "mix head"),
        ("out", conv((3, 4), kernel=1), "up"),
        ("gate", ops.Sigmoid(), "out"),
        ("gated", ops.Multiply(), "gate head"),
        ("tail", conv((4, 1)), "gated"),
    )


def whole_image_plan():
    """Contrast-aware channel attention, as in IMDN."""
    return plan_of(
        ("head", conv((1, 4), pad_mode="mirror"), "input"),
        ("mean", ops.GlobalMean(), "head"),
        ("std", ops.GlobalStd(), "head"),
        ("sum", ops.Add(), "mean std"),
        ("mix", conv((4, 4), kernel=1, bias=True), "sum"),
        ("gate", ops.Sigmoid(), "mix"),
        ("gated", ops.Multiply(), "head gate"),
        ("tail", conv((4, 1)), "gated"),
    )


def bands_plan(rows=4, warm_up=1, scale=2):
    """Convolutions with every padding between bands and their end, enlarged there, and two values in bands at once."""
    return plan_of(
        ("bands", ops.Bands(rows=rows, warm_up=warm_up), "input"),
        ("zero", conv((1, 3)), "bands"),
        ("edge", conv((3, 3), pad_mode="edge"), "zero"),
        ("both", ops.Concat(count=2), "edge bands"),
        ("mirror", conv((4, scale**2), kernel=5, pad_mode="mirror"), "both"),
        ("shuffle", ops.PixelShuffle(scale=scale), "mirror"),
        ("image", ops.Unbands(rows=rows, warm_up=warm_up, scale=scale), "shuffle input"),
        ("tail", conv((1, 1)), "image"),
    )


def memory_plan(rows=4, warm_up=1, channels=5, scale=1, **fields):
    """A memory between convolutions in bands; fields are those of `ops.LineMemory`."""
    memory = ops.LineMemory(channels=channels, **fields)
    gates = [f"gate{i}" for i in range(memory.gates)]
    return plan_of(
        ("bands", ops.Bands(rows=rows, warm_up=warm_up), "input"),
        ("head", conv((1, channels), bias=True), "bands"),
        *((name, conv((channels, channels)), "head") for name in gates),
        ("memory", memory, " ".join([*gates, "input"])),
        ("both", ops.Concat(count=2), "head memory"),
        ("tail", conv((2 * channels, scale**2)), "both"),
        ("shuffle", ops.PixelShuffle(scale=scale), "tail"),
        ("image", ops.Unbands(rows=rows, warm_up=warm_up, scale=scale), "shuffle input"),
    )


def branches_plan():
    """Every way of moving rows, x2: strides, padding and its opposite, resizing, sums repeated over channels."""
    return plan_of(
        ("padded", ops.Pad(top=3, bottom=4, left=2, right=3, mode="mirror"), "input"),
        ("head", conv((1, 4), stride=2, kernel=4, padding=(1, 1), pad_mode="mirror"), "padded"),
        ("norm", ops.Affine(channels=4), "head"),
        ("leak", ops.LeakyRelu(slope=0.2), "norm"),
        ("cubic", ops.Resize(mode="bicubic", factor=2, coefficient=-0.5, border="symmetric"), "leak"),
        ("frame", ops.Pad(top=4, left=1, mode="edge"), "cubic"),
        ("unframe", ops.Crop(top=1, bottom=2, right=1), "frame"),
        ("back", ops.Resize(mode="bicubic"), "unframe input"),
        ("near", ops.Resize(mode="nearest"), "leak input"),
        ("all", ops.Concat(count=2), "back near"),
        ("pool", ops.MaxPool(kernel=(3, 3), padding=(1, 1)), "all"),
        ("some", ops.ChannelGather(channels=(7, 0, 0, 3)), "pool"),
        ("relu", ops.Relu(), "some"),
        ("sum", ops.Add(a=0.5, b=-1.0), "relu input"),
        ("up", ops.PixelShuffle(scale=2), "sum"),
        ("down", ops.PixelUnshuffle(scale=2), "up"),
        (
            "deconv",
            ops.ConvTranspose2d(in_channels=4, out_channels=1, kernel=(3, 3), stride=2, output_padding=1),
            "down",
        ),
        ("cut", ops.Crop(bottom=2, right=2), "deconv"),
        ("wide", ops.Resize(mode="bilinear", factor=2), "input"),
        ("last", ops.Add(), "cut wide"),
        ("clamp", ops.Clamp(low=-1.0, high=1.0), "last"),
    )
