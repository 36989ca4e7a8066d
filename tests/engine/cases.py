"""One plan an op and way of using it, for the parity tests and for the vectors that other processors replay."""

import numpy as np

from tests.plans import (
    attention_plan,
    bands_plan,
    branches_plan,
    conv,
    memory_plan,
    plan_of,
    tensors_of,
    whole_image_plan,
)
from thinlens.model import ops

# Around the widths of vectors, of blocks of output channels, and of tiles of columns.
CHANNELS = (1, 3, 15, 16, 17, 48, 63, 64, 65)
SIZES = ((1, 1), (1, 9), (7, 1), (5, 8), (12, 12), (17, 11), (18, 72), (3, 64), (2, 65), (4, 130))
PAD_MODES = ("zero", "edge", "mirror")


def single(op, channels):
    """A plan of one op, which reads the input."""
    return plan_of(("image", op, "input"), input_channels=channels)


def pair(op, channels):
    """A plan of one op that reads the input, and something else of the same size."""
    return plan_of(("other", ops.Tanh(), "input"), ("image", op, "input other"), input_channels=channels)


def deconv(channels, kernel, **fields):
    """A transposed convolution (in, out)."""
    return ops.ConvTranspose2d(in_channels=channels[0], out_channels=channels[1], kernel=(kernel, kernel), **fields)


def _convolutions():
    for i, c in enumerate(CHANNELS):
        yield f"conv_c{c}", single(conv((c, c), pad_mode=PAD_MODES[i % 3], bias=True), c)
    for mode in PAD_MODES:
        for name, kernel, fields in (
            ("tall", (5, 3), {"padding": (2, 1)}),
            ("wide", (2, 7), {"padding": (1, 3)}),
            ("large", (9, 9), {"padding": (4, 4)}),
            ("far", (5, 5), {"padding": (4, 4)}),
            ("stride2", (3, 3), {"padding": (1, 1), "stride": 2}),
            ("stride3", (5, 5), {"padding": (2, 2), "stride": 3}),
            ("even", (4, 4), {"padding": (2, 1), "stride": 2}),
            ("gaps", (2, 1), {"stride": 5, "padding": (1, 0)}),
        ):
            op = ops.Conv2d(in_channels=2, out_channels=3, kernel=kernel, pad_mode=mode, **fields)
            yield f"conv_{name}_{mode}", single(op, 2)
    yield "conv_valid", single(conv((3, 4), padding=(0, 0)), 3)
    yield "conv_point", single(conv((17, 5), 1, bias=True), 17)
    yield "conv_groups", single(conv((6, 9), groups=3, bias=True), 6)
    yield "conv_depthwise", single(conv((16, 16), 5, groups=16, pad_mode="mirror"), 16)
    yield "conv_depthwise_many", single(conv((3, 6), groups=3, stride=2, pad_mode="edge"), 3)
    for i, activation in enumerate(_activations(7)):
        head = conv((2, 7), pad_mode=PAD_MODES[i % 3], bias=True)
        yield f"conv_then_{i}", plan_of(("head", head, "input"), ("image", activation, "head"), input_channels=2)


def _transposed():
    for mode in ("zero", "edge"):
        yield (
            f"deconv_9s2_{mode}",
            single(deconv((3, 2), 9, stride=2, padding=(4, 4), output_padding=1, pad_mode=mode), 3),
        )
        yield f"deconv_9s3_{mode}", single(deconv((2, 7), 9, stride=3, padding=(3, 3), bias=True, pad_mode=mode), 2)
        yield f"deconv_4s2_{mode}", single(deconv((16, 3), 4, stride=2, padding=(1, 1), pad_mode=mode), 16)
    yield "deconv_9s4", single(deconv((3, 1), 9, stride=4, padding=(3, 3), output_padding=1), 3)
    yield "deconv_2s3", single(deconv((2, 2), 2, stride=3), 2)  # leaves gaps
    yield "deconv_3s1", single(deconv((2, 3), 3, padding=(1, 1), bias=True), 2)
    yield "deconv_far", single(deconv((2, 3), 3, stride=2, padding=(4, 0)), 2)
    yield (
        "deconv_then",
        plan_of(("up", deconv((1, 4), 5, stride=2, padding=(2, 2)), "input"), ("image", ops.Tanh(), "up")),
    )


def _activations(channels):
    return (
        ops.Relu(),
        ops.LeakyRelu(slope=0.2),
        ops.LeakyRelu(slope=-3.5),
        ops.PRelu(),
        ops.PRelu(slopes=channels),
        ops.Tanh(),
        ops.Sigmoid(),
    )


def _pixelwise():
    for i, activation in enumerate(_activations(17)):
        yield f"activation_{i}", single(activation, 17)
    for c in CHANNELS:
        yield f"affine_c{c}", single(ops.Affine(channels=c), c)
        yield f"add_c{c}", pair(ops.Add(a=2.0, b=-0.5), c)
        yield f"multiply_c{c}", pair(ops.Multiply(), c)
        yield f"max_c{c}", single(ops.ChannelMax(), c)
        yield f"softmax_c{c}", pair(ops.SoftmaxSum(), c)
        yield f"concat_c{c}", pair(ops.Concat(count=2), c)
    yield "affine_weight", single(ops.Affine(channels=3, bias=False), 3)
    yield "affine_bias", single(ops.Affine(channels=3, weight=False), 3)
    yield "clamp", single(ops.Clamp(low=-0.5, high=0.25), 3)
    yield "slice", single(ops.ChannelSlice(start=1, stop=4), 5)
    yield "gather", single(ops.ChannelGather(channels=(2, 0, 0, 1, 2)), 3)
    yield "same_twice", plan_of(("image", ops.Multiply(), "input input"), input_channels=3)
    one = ("one", ops.ChannelMax(), "input")
    for name, op in (("add", ops.Add(a=-1.0)), ("multiply", ops.Multiply())):
        yield f"{name}_one_left", plan_of(one, ("image", op, "one input"), input_channels=5)
        yield f"{name}_one_right", plan_of(one, ("image", op, "input one"), input_channels=5)
    yield "concat_three", plan_of(one, ("image", ops.Concat(count=3), "one input one"), input_channels=4)


def _spatial():
    for scale in (1, 2, 3, 4):
        yield f"shuffle_{scale}", single(ops.PixelShuffle(scale=scale), 3 * scale**2)
        yield f"unshuffle_{scale}", single(ops.PixelUnshuffle(scale=scale), 2)
    for name, kernel, fields in (
        ("esa", (7, 7), {"stride": 3}),
        ("padded", (3, 3), {"stride": 2, "padding": (1, 1)}),
        ("wide", (2, 3), {"padding": (0, 1)}),
        ("sparse", (2, 2), {"stride": 4, "padding": (1, 1)}),
    ):
        yield f"pool_{name}", single(ops.MaxPool(kernel=kernel, **fields), 3)
    for mode in ("nearest", "bilinear", "bicubic"):
        for border in ("edge", "symmetric"):
            for factor in (1, 2, 3, 4):
                op = ops.Resize(mode=mode, factor=factor, border=border, coefficient=-0.5)
                yield f"{mode}_{border}_x{factor}", single(op, 2)
        for stride in (2, 3):
            yield f"{mode}_to_larger_{stride}", _resized(ops.MaxPool(kernel=(1, 1), stride=stride), mode, "input")
        yield f"{mode}_to_smaller", _resized(ops.PixelShuffle(scale=3), mode, "input", 9)
        yield f"{mode}_to_unread", _resized(ops.PixelShuffle(scale=2), mode, "small", 4)
    for mode in PAD_MODES:
        yield f"pad_{mode}", single(ops.Pad(top=3, bottom=6, left=2, right=7, mode=mode), 2)
        yield f"pad_far_{mode}", single(ops.Pad(top=23, bottom=40, left=31, right=19, mode=mode), 1)
    yield "crop", single(ops.Crop(top=1, bottom=2, left=1), 2)
    yield "crop_rows", single(ops.Crop(bottom=4), 3)
    yield "crop_columns", single(ops.Crop(left=3, right=1), 3)


def _resized(op, mode, to, channels=2):
    """A value resized to the size of ``to``, of which nothing else is read if it is `small`."""
    small = ("small", conv((channels, 1), padding=(0, 0)), "input")
    rows = [("other", op, "input"), ("image", ops.Resize(mode=mode), f"other {to}")]
    return plan_of(*([small] if to == "small" else []), *rows, input_channels=channels)


def _global():
    for c in (1, 3, 17):
        yield f"mean_c{c}", single(ops.GlobalMean(), c)
        yield f"std_c{c}", single(ops.GlobalStd(), c)
    mean = ("mean", ops.GlobalMean(), "input")
    yield "add_mean", plan_of(mean, ("image", ops.Add(b=-1.0), "input mean"), input_channels=3)
    yield "multiply_mean_left", plan_of(mean, ("image", ops.Multiply(), "mean input"), input_channels=3)
    yield (
        "one_number",
        plan_of(mean, ("one", ops.ChannelMax(), "mean"), ("image", ops.Add(), "one input"), input_channels=3),
    )
    yield (
        "both_repeated",
        plan_of(mean, ("one", ops.ChannelMax(), "input"), ("image", ops.Add(), "one mean"), input_channels=3),
    )


def _bands():
    for rows, warm_up in ((4, 0), (4, 1), (3, 2), (1, 1), (2, 3), (8, 2)):
        yield f"bands_{rows}_{warm_up}", bands_plan(rows, warm_up)
    opened = ("bands", ops.Bands(rows=6, warm_up=1), "input")
    closed = ("image", ops.Unbands(rows=6, warm_up=1), "same input")
    for name, op in (
        ("deconv", deconv((2, 2), 3, padding=(1, 1), pad_mode="edge")),
        ("pool", ops.MaxPool(kernel=(3, 3), padding=(1, 1))),
        ("stride_and_back", None),
        ("resize", ops.Resize(mode="bicubic", factor=1)),
    ):
        middle = [("same", op, "bands")]
        if op is None:
            middle = [("half", conv((2, 8), stride=2), "bands"), ("same", ops.PixelShuffle(scale=2), "half")]
        yield f"bands_{name}", plan_of(opened, *middle, closed, input_channels=2)


def _memory():
    for align in ("same", "flip", "last"):
        yield f"memory_{align}", memory_plan(3, 1, 2, align=align)
        yield f"memory_sum_{align}", memory_plan(2, 0, 2, cell="sum", align=align)
    yield "memory_lines", memory_plan(1, 2, kernel=(1, 5))
    yield "memory_wide", memory_plan(4, 0, channels=17, kernel=(5, 3), align="flip")
    yield "memory_x2", memory_plan(2, 1, scale=2)
    gates = [("bands", ops.Bands(rows=2), "input"), ("tanh", ops.Tanh(), "bands")]
    gates += [("memory", ops.LineMemory(channels=3, kernel=(1, 1)), "bands tanh bands tanh input")]
    gates += [("again", ops.LineMemory(channels=3, cell="sum"), "memory input")]
    yield "memory_twice", plan_of(*gates, ("image", ops.Unbands(rows=2), "again input"), input_channels=3)


def _low():
    """Convolutions on bytes and bfloat16: alone, one behind the other, in bands, and where some reader wants floats."""
    byte, half = ops.Quantize(scale=0.021, zero=119), ops.Bfloat16()
    yield "quantize", single(byte, 5)
    yield "bfloat16", single(half, 5)
    for i, c in enumerate(CHANNELS):
        mode, kernel = PAD_MODES[i % 3], (1, 3, 5)[i // 3]
        head = conv((c, c), kernel, pad_mode=mode)
        after = ("value", ops.Affine(channels=c), "sum"), ("image", _activations(c)[i % 7], "value")
        yield f"int8_c{c}", plan_of(("byte", byte, "input"), ("sum", head, "byte"), *after, input_channels=c)
        head = conv((c, c), kernel, pad_mode=mode, bias=True)
        rows = ("half", half, "input"), ("sum", head, "half"), ("image", _activations(c)[i % 7], "sum")
        yield f"bfloat16_c{c}", plan_of(*rows, input_channels=c)
    yield "int8_chain", _chain(byte, ops.Quantize(scale=0.013))
    yield "bfloat16_chain", _chain(half, half)
    yield "int8_to_bfloat16", _chain(byte, half)
    yield "bfloat16_to_int8", _chain(half, ops.Quantize(scale=0.013, zero=3))
    two = (
        ("one", conv((3, 7)), "byte"),
        ("two", conv((3, 7), 1, stride=2), "byte"),
        ("one_small", ops.MaxPool(kernel=(1, 1), stride=2), "one"),
    )
    yield "int8_mixed", plan_of(("byte", byte, "input"), *two, ("image", ops.Add(), "one_small two"), input_channels=3)
    bands = ("bands", ops.Bands(rows=3, warm_up=1), "byte"), ("conv", conv((3, 4), pad_mode="edge"), "bands")
    yield (
        "int8_bands",
        plan_of(
            ("byte", byte, "input"), *bands, ("image", ops.Unbands(rows=3, warm_up=1), "conv input"), input_channels=3
        ),
    )


def binary(channels, kernel=3, **fields):
    """A binary convolution (in, out) that keeps the size."""
    sides = {"kernel": (kernel, kernel), "padding": (kernel // 2, kernel // 2)}
    return ops.BinaryConv2d(in_channels=channels[0], out_channels=channels[1], **sides | fields)


def binary_unit(name, channels, source, shortcut, **fields):
    """As in BBCU: a binary convolution, shifts and slopes, and the shortcut around them."""
    bias = ops.Affine(channels=channels[1], weight=False)
    yield f"{name}_sum", binary(channels, **fields), source
    yield f"{name}_in", bias, f"{name}_sum"
    yield f"{name}_act", ops.PRelu(slopes=channels[1]), f"{name}_in"
    yield f"{name}_out", bias, f"{name}_act"
    yield name, ops.Add(), f"{name}_out {shortcut}"


def _binary():
    """Binary convolutions of every width, padding and size; what is computed at their end; and where it is not."""
    for i, c in enumerate((*CHANNELS, 31, 32, 33, 130)):
        for pad in (-1, 0, 1):
            kernel = (1, 3, 5, 7)[(i + pad) % 4]
            yield f"binary_c{c}_pad{pad}", single(binary((c, 17), kernel, pad_value=pad), c)
        yield f"binary_to_c{c}", single(binary((3, c)), 3)
        yield f"binary_unit_c{c}", plan_of(*binary_unit("image", (c, c), "input", "input"), input_channels=c)
    yield "binary_valid", single(binary((4, 5), padding=(0, 0)), 4)
    yield "binary_far", single(ops.BinaryConv2d(in_channels=4, out_channels=5, kernel=(5, 3), padding=(4, 0)), 4)
    yield "binary_wide", single(ops.BinaryConv2d(in_channels=70, out_channels=5, kernel=(1, 15), padding=(0, 7)), 70)
    repeated = ("many", ops.ChannelGather(channels=tuple(i // 4 for i in range(12))), "input")
    up = ("image", ops.PixelShuffle(scale=2), "up")
    yield "binary_up", plan_of(repeated, *binary_unit("up", (3, 12), "input", "many"), up, input_channels=3)
    rows = [*binary_unit("a", (5, 5), "input", "input"), *binary_unit("b", (5, 5), "a", "a", pad_value=-1)]
    yield "binary_two", plan_of(*rows, ("image", ops.Add(), "b input"), input_channels=5)
    for i, activation in enumerate(_activations(7)):
        norm = ("norm", ops.Affine(channels=7), "sum")
        rows = [("sum", binary((7, 7)), "input"), norm, ("both", ops.Add(b=2.0), "norm input")]
        yield f"binary_then_{i}", plan_of(*rows, ("image", activation, "both"), input_channels=7)
    one, mean = ("other", ops.ChannelMax(), "input"), ("other", ops.GlobalMean(), "input")
    yield "binary_plus_one_channel", plan_of(one, *binary_unit("image", (5, 5), "input", "other"), input_channels=5)
    yield "binary_plus_one_pixel", plan_of(mean, *binary_unit("image", (5, 5), "input", "other"), input_channels=5)
    yield "binary_of_one_plus_many", plan_of(*binary_unit("image", (5, 1), "input", "input"), input_channels=5)
    odd = ("many", ops.ChannelGather(channels=(0, 1, 0, 1)), "input")
    yield "binary_plus_others", plan_of(odd, *binary_unit("image", (2, 4), "input", "many"), input_channels=2)
    bands = ("bands", ops.Bands(rows=3, warm_up=1), "input"), *binary_unit("unit", (3, 3), "bands", "bands")
    yield "binary_bands", plan_of(*bands, ("image", ops.Unbands(rows=3, warm_up=1), "unit input"), input_channels=3)


def _chain(first, second):
    """Rounded, convolved, rounded, convolved."""
    scaled = isinstance(first, ops.Quantize)
    rows = [("first", first, "input"), ("sum", conv((4, 18), bias=not scaled), "first")]
    rows += [("value", ops.Affine(channels=18) if scaled else ops.Tanh(), "sum"), ("act", ops.Relu(), "value")]
    rows += [("second", second, "act"), ("image", conv((18, 5), pad_mode="edge"), "second")]
    return plan_of(*rows, input_channels=4)


def _networks():
    yield "attention", attention_plan()
    yield "whole_image", whole_image_plan()
    yield "branches", branches_plan()
    yield (
        "skip_over_depth",
        plan_of(
            ("a", conv((1, 5), pad_mode="edge"), "input"),
            ("b", conv((5, 5)), "a"),
            ("c", conv((5, 5), 5, pad_mode="mirror"), "b"),
            ("sum", ops.Add(), "c a"),
            ("up", conv((5, 4)), "sum"),
            ("image", ops.PixelShuffle(scale=2), "up"),
        ),
    )


CASES = {
    name: plan
    for part in (_convolutions, _transposed, _pixelwise, _spatial, _global, _bands, _memory, _low, _binary, _networks)
    for name, plan in part()
}


def tensors_for(name, plan):
    """Random tensors of a case, sums of which stay near 1."""
    tensors = tensors_of(plan, seed=len(name))
    rounded = {node.name for node in plan.nodes if isinstance(node.op, ops.Quantize | ops.Bfloat16)}
    for node in plan.nodes:
        if isinstance(node.op, ops.Conv2d | ops.ConvTranspose2d) and node.inputs[0] not in rounded:
            weight = tensors[node.tensors["weight"]]
            weight *= np.float32(2 / np.sqrt(weight[0].size))
        if isinstance(node.op, ops.LineMemory):
            for name in node.tensors.values():
                tensors[name] *= np.float32(2 / np.sqrt(tensors[name][0].size))
    return tensors


def image_for(channels, size, seed=0):
    """Random floats ``H W C`` around 0."""
    return np.random.default_rng(seed).standard_normal((*size, channels), np.float32)
